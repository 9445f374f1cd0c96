"""How the checks of this lab look into the learner's containers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from lab_helpers.boundaries.container import Container
from lab_helpers.course.verdict import Evidence

INSIDE = (Path(__file__).parent / "inside.py").read_text(encoding="utf-8")
START_HINTS = {
    "not-running": (
        "Your container is there, but its process has ended. It often says why before it goes.",
        "`!docker ps -a` shows what ended, and `!docker logs NAME` what it said. Then `!docker rm NAME`, and anew.",
    ),
    "paused": (
        "Your container is paused: its processes are held still.",
        "`!docker unpause NAME` lets them go on.",
    ),
}


def inside(container: Container, what: str, *words: str, timeout_s: int = 20) -> Any:
    """What `inside.py` finds out in the container; None when it cannot be run there, or is killed."""
    said = container.exec(["python3", "-c", INSIDE, what, *words], timeout_s=timeout_s)
    try:
        return json.loads(said.out) if said.ok else None
    except ValueError:
        return None


def best(containers: Iterable[Container], look: Callable[[Container], list[Evidence]]) -> list[Evidence]:
    """The evidence about that container which meets the earlier criteria, and the most of them.

    A learner may have several: the one that does it counts, whatever it is called.
    """
    return max(map(look, containers), key=lambda seen: [evidence.ok for evidence in seen], default=[])


def idle(containers: Iterable[Container]) -> tuple[str, str]:
    """What is to be said of containers of which none runs: what was seen, and the state."""
    for one in containers:
        if one.status == "paused":
            return f"{one.name} is paused", "paused"
        said = one.logs(1)
        ended = f"{one.name} has ended with exit code {one.exit_code}" + (f" and said: {said}" if said else "")
        return (ended if one.status == "exited" else f"{one.name} is {one.status}"), "not-running"
    return "no container", ""


def hashes(folder: Path) -> dict[str, str]:
    """The SHA-256 of each file of a package in the learner's folder; hidden files and compiled ones left out."""
    paths = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    return {
        path.as_posix(): hashlib.sha256((folder / path).read_bytes()).hexdigest()
        for path in paths
        if not any(part.startswith(".") or part == "__pycache__" for part in path.parts)
    }
