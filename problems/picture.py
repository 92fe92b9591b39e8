"""Where a version comes from and what became of it, as a graph: in words, and as a picture. Pure."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from problems.lineage import Lineage
from problems.reproducing import Version

SHORT = 12  # letters of a digest
#: Of the picture, in pixels; of its text, in letters.
WIDTH, GAP, LINE, PAD, LETTERS = 250, 40, 17, 12, 34
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#1b1f24}.name{font-weight:600}"
    "rect{fill:#f6f8fa;stroke:#57606a;rx:6px}path{stroke:#57606a;fill:none}"
)


@dataclass(frozen=True)
class Node:
    """One thing, and those that it was made of."""

    name: str
    facts: tuple[str, ...]
    of: tuple[str, ...] = ()


def graph(version: Version) -> list[Node]:
    """What was first comes first."""
    found = version.lineage
    passed = tuple(f"{each.name} {each.value:.3f} >= {each.least:g}" for each in found.gates)
    stages = tuple(version.aliases) or ("nobody calls it by an alias",)
    return [
        Node("data", _data(found)),
        Node("features", _features(found), ("data",)),
        Node("code", _code(found)),
        Node("parameters", _parameters(found), ("features",)),
        Node("ground", _ground(found)),
        Node("training", (f"run {found.run}",), ("features", "code", "parameters", "ground")),
        Node("model", tuple(f"{name} {_short(sha)}" for name, sha in sorted(found.files.items())), ("training",)),
        Node("gates", passed, ("model",)),
        Node("version", (str(version), f"lineage {_short(version.digest)}"), ("gates",)),
        Node("stages", stages, ("version",)),
    ]


def _short(digest: str) -> str:
    return f"sha256:{digest[:SHORT]}"


def _data(found: Lineage) -> tuple[str, ...]:
    data = found.data
    return (f"{data.records} records, {_short(data.sha256)}", f"arrived {data.arrived}", data.source)


def _features(found: Lineage) -> tuple[str, ...]:
    features = found.features
    return (
        f"{_short(features.sha256)} from {features.source}",
        f"known at {features.known_at}",
        f"definition {_short(features.definition)}",
        ", ".join(features.names),
    )


def _code(found: Lineage) -> tuple[str, ...]:
    code = found.code
    commit = f"commit {code.commit[:SHORT]}" if code.commit else "of no commit that is known"
    return (_short(code.sha256), commit + (", and changes that are not in it" if code.changed else ""))


def _parameters(found: Lineage) -> tuple[str, ...]:
    training = found.training
    return tuple(f"{key} {_told(value)}" for key, value in [*_sorted(training.parameters), *_sorted(training.seeds)])


def _told(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _ground(found: Lineage) -> tuple[str, ...]:
    ground = found.ground
    libraries = ", ".join(f"{name} {version}" for name, version in _sorted(ground.libraries))
    return (f"Python {ground.python}, {ground.machine}", f"image {ground.image or 'none'}", libraries)


def _sorted(told: Mapping[str, object]) -> list[tuple[str, object]]:
    return sorted(told.items())


def text(nodes: Sequence[Node]) -> str:
    """One paragraph for each; what it was made of stands behind the arrow."""
    return "\n".join(_paragraph(node) for node in nodes)


def _paragraph(node: Node) -> str:
    head = f"{node.name} <- {', '.join(node.of)}" if node.of else node.name
    return "\n".join([head, *(f"    {fact}" for fact in node.facts)])


@dataclass(frozen=True)
class Box:
    """Where a node is drawn."""

    node: Node
    lines: tuple[str, ...]
    x: int
    y: int

    @property
    def height(self) -> int:
        """With its name above its lines."""
        return 2 * PAD + LINE * (1 + len(self.lines))


def svg(nodes: Sequence[Node], title: str) -> str:
    """A picture that needs nothing but itself: each thing in the column behind the last one that it was made of."""
    boxes = _placed(nodes)
    width = max(box.x for box in boxes.values()) + WIDTH + GAP
    height = max(box.y + box.height for box in boxes.values()) + GAP
    arrows = [_arrow(boxes[source], box) for box in boxes.values() for source in box.node.of]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img"><title>{escape(f"Lineage of {title}")}</title><style>{STYLE}</style><defs><marker id="tip" '
        'viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto"><path d="M0 0 8 4 0 8z" '
        'style="fill:#57606a"/></marker></defs>'
    )
    return "\n".join([head, *arrows, *map(_drawn, boxes.values()), "</svg>", ""])


def _placed(nodes: Sequence[Node]) -> dict[str, Box]:
    column: dict[str, int] = {}
    bottom: dict[int, int] = {}
    boxes: dict[str, Box] = {}
    for node in nodes:
        at = column[node.name] = 1 + max((column[source] for source in node.of), default=-1)
        lines = tuple(line for fact in node.facts for line in textwrap.wrap(fact, LETTERS))
        box = boxes[node.name] = Box(node, lines, GAP + at * (WIDTH + GAP), bottom.get(at, GAP))
        bottom[at] = box.y + box.height + GAP
    return boxes


def _arrow(source: Box, target: Box) -> str:
    x, y = source.x + WIDTH, source.y + PAD + LINE // 2
    to_x, to_y = target.x, target.y + PAD + LINE // 2
    bend = GAP // 2
    path = f"M{x} {y} C{x + bend} {y} {to_x - bend} {to_y} {to_x} {to_y}"
    return f'<path d="{path}" marker-end="url(#tip)"/>'


def _drawn(box: Box) -> str:
    x, y = box.x + PAD, box.y + PAD + LINE - 4
    lines = [f'<text class="name" x="{x}" y="{y}">{escape(box.node.name)}</text>']
    lines += [f'<text x="{x}" y="{y + LINE * at}">{escape(line)}</text>' for at, line in enumerate(box.lines, 1)]
    return f'<g><rect x="{box.x}" y="{box.y}" width="{WIDTH}" height="{box.height}"/>{"".join(lines)}</g>'
