"""Questions beside each other: nobody waits longer than they want to."""

from __future__ import annotations

import threading
import time

import pytest

from lab_helpers.core.asking import Asked
from lab_helpers.core.errors import LabError

SOON_S = 60


def test_an_answer_is_waited_for() -> None:
    gate = threading.Event()
    asked = Asked(lambda: gate.wait(SOON_S))
    assert asked.pending
    gate.set()
    assert asked.answer(time.monotonic() + SOON_S) is True
    assert not asked.pending


def test_what_does_not_answer_in_time_is_none_and_holds_nobody_up() -> None:
    gate = threading.Event()
    asked = Asked(lambda: gate.wait(SOON_S))
    assert asked.answer(time.monotonic()) is None
    assert asked.pending
    gate.set()


def test_trouble_that_has_a_name_is_no_answer_and_a_bug_is_a_bug() -> None:
    def trouble() -> str:
        raise LabError("nobody is there")

    assert Asked(trouble).answer(time.monotonic() + SOON_S) is None
    with pytest.raises(ZeroDivisionError):
        Asked(lambda: 1 / 0).answer(time.monotonic() + SOON_S)
