"""Single keys on a terminal, without Enter."""

from __future__ import annotations

import contextlib
import os
import select
import sys
from collections.abc import Iterator

END = "\x04"
"""The key that stands for the end of the input: Ctrl-D, or a terminal that went away."""


def has_keys() -> bool:
    """True with a terminal on both sides: somebody can press keys and see what they do."""
    return sys.stdin.isatty() and sys.stdout.isatty()


@contextlib.contextmanager
def single_keys() -> Iterator[None]:
    """Within the block keys need no Enter and do not show. The terminal is given back as it was."""
    import termios
    import tty

    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    try:
        tty.setcbreak(terminal)
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)


def key(timeout_s: float | None = None) -> str:
    """The next key; empty when none comes within that many seconds. Keys of several bytes, as arrows, are ignored."""
    terminal = sys.stdin.fileno()  # and not sys.stdin, whose buffer would swallow what `select` waits for
    if not select.select([terminal], [], [], timeout_s)[0]:
        return ""
    try:
        pressed = os.read(terminal, 64)
    except OSError:
        return END
    if not pressed:
        return END
    return "" if pressed.startswith(b"\x1b") and len(pressed) > 1 else pressed[:1].decode("ascii", errors="ignore")
