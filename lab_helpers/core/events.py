"""What long work says about itself. The terminal and the notebook render the same events.

A function that takes long takes `tell: Tell = silent` and calls it; it never prints.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """One step of long work. `done` and `total` are in `unit`; total is None while it is not known.

    `typical_s` is how long this step takes on a plain laptop, in seconds, where that is known and total is not.
    """

    what: str
    done: float = 0
    total: float | None = None
    unit: str = ""
    typical_s: float | None = None


@dataclass(frozen=True)
class Note:
    """Something worth telling that is not progress: which way was taken, and why."""

    text: str


Event = Progress | Note
Tell = Callable[[Event], None]


def silent(event: Event) -> None:
    """Tell nobody."""
    del event
