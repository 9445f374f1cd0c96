"""What a pin is, and what may become one."""

from dataclasses import dataclass
from typing import Any

from pinboard.problem import InvalidPin

MAX_TEXT = 500
"""Characters (Unicode code points) of a pin's text, counted without the blanks around it."""

MAX_AUTHOR = 80
"""Characters of an author's name, counted in the same way."""

MAX_ID = 2**63 - 1
"""The largest ID that either database can hold."""


@dataclass(frozen=True)
class NewPin:
    """A pin that is not stored yet."""

    text: str
    author: str | None


@dataclass(frozen=True)
class Pin:
    """A stored pin; `created_at` is UTC in ISO 8601 with microseconds, such as 2025-01-31T09:30:00.000001Z."""

    id: int
    text: str
    author: str | None
    created_at: str


def parse_new_pin(document: Any) -> NewPin:
    """Turn decoded JSON into a new pin. Raises InvalidPin."""
    if not isinstance(document, dict):
        raise InvalidPin("this is not a pin", "the JSON is not an object", 'send an object such as {"text": "hello"}')
    text = _clean(document.get("text"), "text", MAX_TEXT)
    if not text:
        raise InvalidPin("the pin has no text", '"text" is missing or blank', f"send 1 to {MAX_TEXT} characters")
    return NewPin(text=text, author=_clean(document.get("author"), "author", MAX_AUTHOR) or None)


def _clean(value: Any, name: str, limit: int) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidPin(f'"{name}" is not text', f"it is of another JSON type than {name} has", "send it as a string")
    text: str = value.strip()
    if len(text) > limit:
        raise InvalidPin(f'"{name}" is too long', f"it has {len(text)} characters", f"send at most {limit}")
    # JSON can spell these two (as \u0000 and as half of a pair), PostgreSQL and UTF-8 cannot.
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise InvalidPin(
            f'"{name}" cannot be stored', "it holds a NUL or half of a surrogate pair", "leave this character out"
        )
    return text
