"""Reference outputs: what of a real run is stored in solution.ipynb, and how nbval compares a later run with it.

nbval compares, cell by cell, streams and each MIME type of what is displayed, after the replacements of
labs/sanitize.cfg on both sides; it leaves out pictures and widget views, and cells that were not run for reference.
A verdict panel is thus compared by its text twin alone. The paths and the host name of a machine cannot be in a file
that all machines share: they are replaced by stand-ins when outputs are stored, and both by one word when compared.
"""

from __future__ import annotations

import platform
import re
from pathlib import Path
from typing import Any

from lab_helpers.core.settings import Place

WIDGET = "application/vnd.jupyter.widget-view+json"
STAND_IN = "/home/you/vm-to-kubernetes"
COLOURS = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
"""Colours and cursor moves of a terminal."""


def stored(outputs: list[Any], place: Place) -> list[Any]:
    """The outputs of one cell as solution.ipynb keeps them: without widgets, which are nothing without their kernel."""
    kept = []
    for output in (dict(one) for one in outputs):
        if "data" in output:
            output["data"] = {k: _stand_in(v, place) for k, v in output["data"].items() if k != WIDGET}
            if not output["data"]:
                continue
        if "text" in output:
            output["text"] = _stand_in(output["text"], place)
        kept.append(output)
    return kept


def _stand_in(value: Any, place: Place) -> Any:
    """A text without colours, in plain lines (a terminal ends them with a carriage return too), with stand-ins."""
    if not isinstance(value, str):
        return value
    value = COLOURS.sub("", value).replace("\r\n", "\n")
    for found, stand_in, _ in _facts(place):
        value = re.sub(found, stand_in, value)
    return value


def _facts(place: Place) -> list[tuple[str, str, str]]:
    """What only this machine knows: pattern, its stand-in in a stored output, its word in a comparison."""
    paths = [
        (place.work, f"{STAND_IN}/work", "WORK"),
        (place.state, f"{STAND_IN}/.lab", "STATE"),
        (place.home, "/home/you/.cache/vm-to-kubernetes", "CACHE"),
        (place.root, STAND_IN, "CHECKOUT"),
    ]
    facts = []
    for path, stand_in, word in paths:
        for spelling in sorted({str(path), str(path.resolve())}, key=len, reverse=True):
            facts.append((_whole(spelling), stand_in, word))
    host = platform.node()
    if len(host) > 3 and host != "localhost":
        facts.append((rf"\b{re.escape(host)}\b", "laptop", "HOST"))
    return facts


def _whole(path: str) -> str:
    """A pattern for that path and what lies in it, not for a longer name that begins or ends alike."""
    return rf"(?<![\w.-]){re.escape(path)}(?![\w-])"


def write_sanitizer(place: Place, path: Path) -> Path:
    """labs/sanitize.cfg with what only this machine knows, and what a terminal adds, in front of it, for nbval."""
    lines = [f"regex: {COLOURS.pattern}\nreplace: \n", "regex: \\r(?=\\n)\nreplace: \n"]
    for found, stand_in, word in _facts(place):
        for pattern in (found, _whole(stand_in)):
            lines.append(f"regex: {pattern}\nreplace: {word}\n")
    shared = place.labs / "sanitize.cfg"
    path.write_text("\n".join(lines) + "\n" + (shared.read_text(encoding="utf-8") if shared.is_file() else ""))
    return path
