"""Waits on conditions. A wait that ends without its condition tells the last state that it saw."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from lab_helpers.core.errors import LabError, WaitTimeoutError

T = TypeVar("T")


def pace(waited_s: float) -> float:
    """How long to pause, in seconds, after having waited for `waited_s` seconds: short at first, then 0.2 s.

    For whoever is asked it is work to answer, and a guest that starts has one slow processor: what ends soon is seen
    soon, and what takes long is not asked all the time.
    """
    return min(max(0.15 * waited_s, 0.01), 0.2)


def wait_for(
    probe: Callable[[], T | None],
    what: str,
    *,
    timeout_s: float,
    interval_s: float | Callable[[float], float] = 0.05,
    hint: str = "",
    log: Callable[[], str] | None = None,
) -> T:
    """Call `probe` until it returns something other than None or False, and return that.

    `interval_s` is the pause between two calls, or tells the pause after so many seconds of waiting, as `pace` does.
    A LabError out of `probe` counts as "not yet": its text is the last state. Raises WaitTimeoutError after `timeout_s`
    seconds with the last state, the end of `log()` and `hint`.
    """
    began = time.monotonic()
    deadline = began + timeout_s
    last = "nothing yet"
    while True:
        try:
            result = probe()
            if result is not None and result is not False:
                return result
        except LabError as error:
            last = error.what
        if time.monotonic() >= deadline:
            tail = "\n".join(log().splitlines()[-15:]) if log else ""
            why = f"last state: {last}" + (f"\nthe end of its log:\n{tail}" if tail.strip() else "")
            raise WaitTimeoutError(f"Waited {timeout_s:.0f} s for {what}, and it did not happen.", why=why, do=hint)
        time.sleep(interval_s if isinstance(interval_s, int | float) else interval_s(time.monotonic() - began))
