"""Progress: pure over its records, and whole after a kill."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lab_helpers.core.settings import CHECKOUT
from lab_helpers.core.store import AppendLog, Record
from lab_helpers.core.waiting import wait_for
from lab_helpers.course.engine import load_lab
from lab_helpers.course.progress import (
    BREAK_S,
    lab_totals,
    lock_prediction,
    prediction,
    read,
    record_hint,
    summarize,
)
from tests.course.toy import place_at
from tests.course.toy_labs import checkout


def verdict(time: float, task: str, outcome: str, points: int, lab: str = "01-toy") -> Record:
    facts: Record = {"kind": "verdict", "time": time, "lab": lab, "task": task, "outcome": outcome}
    return {**facts, "points": points, "total": 3, "seconds": 0.1}


def test_progress_means_passed_once() -> None:
    records = [
        verdict(100, "greet", "NOT_YET", 1),
        verdict(110, "greet", "PASSED", 3),
        verdict(120, "greet", "NOT_YET", 0),
        verdict(130, "greet", "PASSED", 3),
        verdict(140, "count", "NOT_YET", 2),
        verdict(150, "count", "BLOCKED", 1),
        verdict(160, "gone-from-the-lab", "PASSED", 3),
    ]
    lab = summarize(records).lab("01-toy")
    assert (lab.task("greet").passed_at, lab.task("greet").best, lab.task("greet").tries) == (110, 3, 4)
    assert (lab.task("count").passed_at, lab.task("count").best) == (None, 2)
    assert not lab.task("never-tried").passed
    assert summarize(records).lab("no-such-lab").tasks == {}


def test_totals_count_the_tasks_that_the_lab_has_today(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy = load_lab(checkout(tmp_path, monkeypatch), "01")
    lab = summarize([verdict(1, "greet", "PASSED", 3), verdict(2, "gone", "PASSED", 3)]).lab("01-toy")
    totals = lab_totals(toy, lab)
    assert (totals.passed, totals.tasks, totals.points, totals.total) == (1, 2, 3, 6)


def test_time_spent_leaves_breaks_out_and_labs_apart() -> None:
    records = [
        {"kind": "opened", "time": 1000, "lab": "a"},
        {"kind": "opened", "time": 1030, "lab": "b"},
        verdict(1100, "x", "NOT_YET", 0, "a"),
        verdict(1100 + BREAK_S + 1, "x", "NOT_YET", 0, "a"),
        verdict(1100 + BREAK_S + 61, "x", "PASSED", 3, "a"),
        verdict(500, "x", "PASSED", 3, "a"),  # a clock that was set back
    ]
    progress = summarize(records)
    assert progress.lab("a").spent_s == 100 + 60
    assert progress.lab("a").opened_at == 1000
    assert progress.lab("b").spent_s == 0


def test_records_that_are_not_understood_are_left_out() -> None:
    records: list[Record] = [
        {"kind": "from-the-future", "time": 1, "lab": "a"},
        {"kind": "verdict", "lab": "a"},
        {"kind": "verdict", "time": "soon", "lab": 5},
        {},
        {**verdict(5, "x", "PASSED", 3, "a"), "unknown": "field"},
        verdict(6, "y", "PERHAPS", 3, "a"),
    ]
    assert list(summarize(records).lab("a").tasks) == ["x"]


def test_the_first_prediction_counts(tmp_path: Path) -> None:
    place = place_at(tmp_path)
    assert prediction(place, "a", "swappiness") is None
    assert lock_prediction(place, "a", "swappiness", "7 on both") == "7 on both"
    assert lock_prediction(place, "a", "swappiness", "7 in the guest") == "7 on both"
    assert prediction(place, "a", "swappiness") == "7 on both"
    assert read(place).lab("a").predictions == {"swappiness": "7 on both"}


def test_damaged_lines_are_set_aside_and_the_rest_is_kept(tmp_path: Path) -> None:
    place = place_at(tmp_path)
    log = AppendLog(place.progress)
    log.append(verdict(1, "greet", "PASSED", 3))
    with place.progress.open("ab") as file:
        file.write(b'{"kind":"verdict","ti\xff\x00\n[1]\nnonsense\n{"half')
    record_hint(place, "01-toy", "greet", "", 1)
    for _ in range(2):
        lab = read(place).lab("01-toy")
        assert lab.task("greet").passed
        assert lab.task("greet").hints == 1
    assert place.progress.with_name("progress.jsonl.damaged").read_bytes().count(b"\n") == 4


WRITER = """
import sys
from tests.course import toy
from pathlib import Path
from lab_helpers.course.progress import record_hint
place = toy.place_at(Path(sys.argv[1]))
for number in range(1, 100_000):
    record_hint(place, "a", "t", "", number)
    print(number, flush=True)
"""


def test_what_was_stored_survives_a_kill(tmp_path: Path) -> None:
    place = place_at(tmp_path)
    said = tmp_path / "said"
    with said.open("w") as sink:
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=sink, env={"PYTHONPATH": str(CHECKOUT)}
        )
        wait_for(lambda: len(said.read_text().splitlines()) > 20, "some records", timeout_s=20, interval_s=0.001)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    acknowledged = int(said.read_text().split()[-1]) if said.read_text().endswith("\n") else 20
    assert read(place).lab("a").task("t").hints >= acknowledged
    assert lock_prediction(place, "a", "still", "writable") == "writable"
    assert read(place).lab("a").predictions == {"still": "writable"}
