"""ipywidgets, which has no types, and which only a notebook needs."""

from __future__ import annotations

from importlib import import_module
from typing import Any


def ipywidgets() -> Any:
    """The library, imported when a panel is made: it takes a moment."""
    return import_module("ipywidgets")
