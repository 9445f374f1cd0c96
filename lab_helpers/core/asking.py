"""Questions that run beside each other, for whose answers nobody waits longer than they want to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from lab_helpers.core.errors import LabError

T = TypeVar("T")


class Asked(Generic[T]):
    """A question that is being answered in a thread of its own.

    The thread is never joined: one that hangs (a guest that boots, a cluster that is silent) delays neither its asker
    nor the end of the program.
    """

    def __init__(self, question: Callable[[], T]) -> None:
        self._question = question
        self._result: list[T] = []
        self._failure: Exception | None = None
        self._done = threading.Event()
        threading.Thread(target=self._run, name="asked", daemon=True).start()

    def _run(self) -> None:
        try:
            self._result.append(self._question())
        except Exception as error:  # noqa: BLE001 - it is raised in the asker's thread
            self._failure = error
        finally:
            self._done.set()

    @property
    def pending(self) -> bool:
        """Nobody has answered yet, in whichever way."""
        return not self._done.is_set()

    def answer(self, until: float) -> T | None:
        """The answer; None when there is none at that time (of time.monotonic) yet, or a LabError came instead of it.

        Any other error is raised here.
        """
        if not self._done.wait(max(until - time.monotonic(), 0)):
            return None
        if self._failure is None:
            return self._result[0]
        if isinstance(self._failure, LabError):
            return None
        raise self._failure
