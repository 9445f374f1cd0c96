"""Time limits for code of lessons, which may wait for something that never comes."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

from lab_helpers.core.errors import LabError


class OvertimeError(LabError):
    """Something took longer than it may."""


class _Rang(BaseException):
    """Not an Exception: what runs must not take it for an error of its own."""


@contextlib.contextmanager
def time_limit(seconds: float, what: str) -> Iterator[None]:
    """Interrupt what runs inside after `seconds`, wherever it waits, and raise OvertimeError. Main thread only.

    Its `finally` blocks run. Who swallows the first signal gets another one ten seconds later.
    """
    over = False

    def ring(number: int, frame: FrameType | None) -> None:
        del number, frame
        if not over:
            raise _Rang

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, 10)
    try:
        yield
    except _Rang:
        raise OvertimeError(f"{what} took more than {seconds:g} s and was stopped") from None
    finally:
        over = True
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
