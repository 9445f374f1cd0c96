"""From VM to Kubernetes: the helper package of the course. Importing it has no side effect and loads nothing heavy.

In a notebook: `from lab_helpers import check, hint`, or whatever else `__all__` names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lab_helpers.ui.notebook import (
        board,
        boundary_map,
        carry_pin,
        check,
        compare,
        goto,
        hint,
        passport,
        predict,
        questions,
        recall,
        watch,
    )

__all__ = [
    "board",
    "boundary_map",
    "carry_pin",
    "check",
    "compare",
    "goto",
    "hint",
    "passport",
    "predict",
    "questions",
    "recall",
    "watch",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from lab_helpers.ui import notebook

        return getattr(notebook, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
