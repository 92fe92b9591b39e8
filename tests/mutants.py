"""Every field of every room's settings, set to what a rendered object may not hold.

`mutants(model)` walks the pydantic models by reflection, through nested ones, lists and mappings,
so that a room that is added tomorrow is tried, too.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

Path = tuple[str | int, ...]
NAMES = ["a" * length for length in (1, 3, 20, 21, 40, 41, 63, 64, 200, 253, 254, 5000)]
LONG = [".".join(["a" * 63] * 4), ".".join(["a" * 49] * 4)]
SPACES = ["", " ", "a b", " abc", "abc ", "abc\n", "abc\nb: c", "\n", "\t", "- a", "a: b", "a b:1"]
UNSEEN = ["abc\x00", "\x1b[0m", "\u202eabc", "\ufeffabc", "a\u2028b", "a\u0085b"]
CODE = ["{{ .Release.Name }}", "{{ fail }}", '{"a": 1}', "!!str abc", "-Dabc=d e", "-XX:OnError=a b"]
# Shapes of names; what YAML reads as no text; what a shell reads; paths; addresses; what is taken.
WORDS = r"""
ABC äöü 日本語 - -a abc- a--b . .. a..b abc.def a_b _ {} [] #abc &abc *abc | ' " \ %s a"b a'b
null ~ true yes no off n 1 0 1e3 0x10 1.5 1_0 2024-01-01
$(id) `id` $HOME $(POD_NAME) a;b a|b a&b a>b * a=b a,b -rf
/ // /abc /abc/ /abc/../def ../abc a/b a/b/c /a a/ /.
abc:1 abc:0 abc:65536 abc:01 abc: :1 abc http://abc:1 u@abc:1 abc:1,def:2 [::1]:1 ::1 10.0.0.1:1
10.0.0.256:1 10.0.0.0/8 10.0.0.1/8 10.0.0.0/33 ::/0 0.0.0.0/0
kube-system default kube system-abc root admin postgres kubernetes.io/hostname apadana.io/pool
https://abc https://abc/def/ http://abc:1/def?g=h https://u:p@abc ftp://abc https://[::1]
-Xmx9g -XX:MaxRAMPercentage=99 -XX:+UseSerialGC
"""
WHOLE = [0, 1, -1, 2, 3, 7, 13, 255, 256, 1000, 65535, 65536, 99_999, 100_000, 10**6, 10**7]
HUGE = [2**31, 2**32, 2**63, 10**30]
BROKEN = [0.5, -0.5, 1e-9, 1e300, float("inf"), float("nan")]
OTHERS: list[Any] = [None, True, False, [], {}, [""], {"": ""}, [[]], ["abc", "abc"]]
TEXTS = [*NAMES, *LONG, *SPACES, *UNSEEN, *CODE, *WORDS.split()]
HOSTILE: list[Any] = [*TEXTS, *WHOLE, *HUGE, *BROKEN, *OTHERS]
SAMPLES: list[Any] = ["abc", "abc:1", "/abc", "10.0.0.0/8", "-Xabc", "https://abc", 1, 20, 100, 1.0, True]


@dataclass(frozen=True)
class Mutant:
    """Settings of a room with one value that may be wrong."""

    path: Path
    value: Any
    config: Any


def mutants(model: type[BaseModel], leave_out: Collection[str] = ()) -> Iterator[Mutant]:
    """Each field of the model, and of all models inside it, with each of the values."""
    for path in places(model):
        for value in HOSTILE if path[0] not in leave_out else ():
            yield Mutant(path, value, changed(model, path, value))


def inherited(model: type[BaseModel], base: type[BaseModel]) -> set[str]:
    """Fields that a model has as its base has them: these are tried once and not for each."""
    fields = base.model_fields.items()
    return {n for n, f in fields if model.model_fields[n].annotation == f.annotation}


def free_texts(model: type[BaseModel]) -> Iterator[Path]:
    """Fields that take a text of any kind: all of these at once have no business in settings."""
    for path in places(model):
        probes = [changed(model, path, value) for value in ("a b", "x\n\x00", "$(id)")]
        if all(_takes(model, probe) for probe in probes):
            yield path


def _takes(model: type[BaseModel], config: dict[str, Any]) -> bool:
    try:
        model.model_validate(config)
    except ValidationError:
        return False
    return True


def places(model: type[BaseModel]) -> Iterator[Path]:
    """The keys of all fields; a list's item is 0, a mapping's key is "", its value the sample's."""
    for name, field in model.model_fields.items():
        key = field.alias or name
        yield (key,)
        yield from ((key, *rest) for rest in _inside(whole(field)))


def _inside(annotation: Any) -> Iterator[Path]:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _inside(arguments[0])
    elif origin in (Union, UnionType):
        for each in arguments:
            yield from _inside(each)
    elif origin in (tuple, list):
        yield (0,)
        yield from ((0, *rest) for rest in _inside(arguments[0]))
    elif origin is dict:
        key = sample(arguments[0])
        yield from (("",), (key,))
        yield from ((key, *rest) for rest in _inside(arguments[1]))
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield from places(annotation)


def whole(field: FieldInfo) -> Any:
    """The annotation with what Field() says of it."""
    return Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation


@cache
def _adapter(annotation: Any) -> TypeAdapter[Any]:
    return TypeAdapter(annotation)


def sample(annotation: Any) -> Any:
    """Some value that is allowed."""
    for value in _candidates(annotation):
        try:
            _adapter(annotation).validate_python(value)
        except ValidationError:
            continue
        return value
    raise TypeError(f"no sample of {annotation} is known; add one to tests/mutants.py")


def _candidates(annotation: Any) -> Iterator[Any]:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        yield from _candidates(arguments[0])
    elif origin in (Union, UnionType):
        for each in arguments:
            if each is not NoneType:
                yield from _candidates(each)
    elif origin is Literal:
        yield from arguments
    elif origin in (tuple, list):
        yield [sample(arguments[0])]
        yield []
    elif origin is dict:
        yield {sample(arguments[0]): sample(arguments[1])}
    elif isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield full(annotation)
    elif isinstance(annotation, type) and issubclass(annotation, Enum):
        yield from (member.value for member in annotation)
    else:
        yield from SAMPLES


def full(model: type[BaseModel]) -> dict[str, Any]:
    """Defaults as a file would say them, samples where there is none. Change nothing inside it."""
    return dict(_full(model))


@cache  # asked for again for each of thousands of mutants
def _full(model: type[BaseModel]) -> dict[str, Any]:
    found = {}
    for name, field in model.model_fields.items():
        default = field.get_default(call_default_factory=True)
        if default is PydanticUndefined:
            found[field.alias or name] = sample(whole(field))
        else:
            found[field.alias or name] = _plain(default)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value.value if isinstance(value, Enum) else value


def changed(model: type[BaseModel], path: Path, value: Any) -> dict[str, Any]:
    """The settings with that value at that place."""
    config = full(model)
    if path[0] == "external":
        config |= {"mode": "external", "external": sample(whole(model.model_fields["external"]))}
    if path[0] == "off_because":
        config |= {"mode": "off"}
    name = next(n for n, f in model.model_fields.items() if path[0] in (n, f.alias))
    config[str(path[0])] = _put(whole(model.model_fields[name]), config[str(path[0])], path[1:], value)
    return config


def _put(annotation: Any, here: Any, path: Path, value: Any) -> Any:
    if not path:
        return copy.deepcopy(value)
    if here is None or here in ([], {}):
        here = sample(annotation)
    step, rest = path[0], path[1:]
    if isinstance(here, list):
        return [_put(_of(annotation, list, 0), here[0], rest, value), *here[1:]]
    if step == "":
        if not isinstance(value, str):
            return {**here, "": next(iter(here.values()))}
        return {value: next(iter(here.values()))}
    nested = _model(annotation)
    if nested is not None:
        field = next(f for n, f in nested.model_fields.items() if step in (n, f.alias))
        return {**here, step: _put(whole(field), here.get(step), rest, value)}
    inner = _of(annotation, dict, 1)
    current = here.get(step, sample(inner))
    return {step: _put(inner, current, rest, value)}


def _of(annotation: Any, kind: type, index: int) -> Any:
    """The annotation of a list's items or a mapping's values."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if (origin in (tuple, list) and kind is list) or (origin is dict and kind is dict):
        return arguments[index]
    for each in arguments if origin in (Annotated, Union, UnionType) else ():
        found = _of(each, kind, index)
        if found is not None:
            return found
    return None


def _model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for each in get_args(annotation) if get_origin(annotation) in (Annotated, Union, UnionType) else ():
        found = _model(each)
        if found is not None:
            return found
    return None
