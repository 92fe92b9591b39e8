"""JUnit: one suite per component; INVALID is an error, because no JUnit reader knows the word."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

from components.kit.probing import Verdict
from validate.core.model import Run

# XML 1.0 has no way to write these, and a client library's message may hold them.
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def render(run: Run) -> str:
    root = ET.Element("testsuites", name=_clean(f"apadana {run.title}"))
    for component in dict.fromkeys(r.component for r in run.results):
        results = [r for r in run.results if r.component == component]
        suite = ET.SubElement(
            root,
            "testsuite",
            name=_clean(component),
            tests=str(len(results)),
            failures=str(sum(r.verdict is Verdict.FAIL for r in results)),
            errors=str(sum(r.verdict is Verdict.INVALID for r in results)),
            time=f"{sum(r.seconds for r in results):.3f}",
            timestamp=datetime.fromtimestamp(run.started, UTC).isoformat(timespec="seconds"),
        )
        for result in results:
            case = ET.SubElement(
                suite,
                "testcase",
                classname=_clean(f"{result.suite}.{component}"),
                name=_clean(result.name),
                time=f"{result.seconds:.3f}",
            )
            if result.verdict is not Verdict.PASS:
                kind = "failure" if result.verdict is Verdict.FAIL else "error"
                ET.SubElement(case, kind, type=result.verdict, message=_clean(result.detail))
            else:
                ET.SubElement(case, "system-out").text = _clean(result.detail)
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, "unicode") + "\n"


def _clean(text: str) -> str:
    return _UNPRINTABLE.sub("\ufffd", text)
