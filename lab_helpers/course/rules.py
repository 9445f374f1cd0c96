"""What running a lesson for real depends on, in one value: the world, the kernel, the time limits."""

from __future__ import annotations

from dataclasses import dataclass

from lab_helpers.course import engine
from lab_helpers.course.engine import WorldFor


@dataclass(frozen=True)
class Rules:
    """The defaults are the course's; tests put a small world of their own in."""

    world_for: WorldFor = engine.world_for
    kernel: str = "lab_helpers.ui.kernel"
    """The module that is the notebooks' kernel."""
    cell_s: float = 600
    """How long one cell may run, in seconds."""
    check_s: float = 120
    """How long one check may take, in seconds."""
    near_miss_s: float = 300
    """How long one near miss may take to apply, and to undo, in seconds."""
    near_misses: int = 3
    """How many near misses a task has at least."""
