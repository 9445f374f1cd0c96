"""`solve`, the runner beneath it, and time limits: real kernels."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from lab_helpers.core.errors import LabError, UsageError
from lab_helpers.core.events import Event, Progress
from lab_helpers.core.settings import Place
from lab_helpers.course import progress
from lab_helpers.course.build import build
from lab_helpers.course.engine import check_task
from lab_helpers.course.limits import OvertimeError, time_limit
from lab_helpers.course.runner import CellError
from lab_helpers.course.solve import solve
from tests.course.toy import RULES
from tests.course.toy_labs import GOOD_LESSON, GOOD_TASKS, checkout


def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, greeting: str = "!echo hello > greeting.txt") -> Place:
    lesson = GOOD_LESSON.replace("!echo hello > greeting.txt", greeting)
    place = checkout(tmp_path, monkeypatch, {"01-toy": (GOOD_TASKS, lesson)})
    build(place, rules=RULES)
    return place


def test_it_runs_up_to_the_task_and_leaves_the_notebook_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = make(tmp_path, monkeypatch)
    before = dict(os.environ)
    told: list[Event] = []
    verdicts = solve(place, "01", "greet", told.append, rules=RULES)
    assert [(v.task, v.passed) for v in verdicts] == [("greet", True)]
    work = place.work / "01-toy"
    assert (work / "greeting.txt").read_text() == "hello\n"
    assert not (work / "count.txt").exists()
    assert (work / "lab.ipynb").read_bytes() == (place.labs / "01-toy" / "lab.ipynb").read_bytes()
    assert progress.read(place).lab("01-toy").task("greet").passed
    assert not check_task(place, "01", "count", world_for=RULES.world_for).passed
    assert dict(os.environ) == before
    steps = [event for event in told if isinstance(event, Progress)]
    assert [(step.done, step.total) for step in steps] == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert steps[1].what == "01-toy: !echo hello > greeting.txt"

    assert [v.task for v in solve(place, "01", rules=RULES) if v.passed] == ["greet", "count"], "it can be run again"


def test_a_task_is_judged_where_its_check_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a later task rightly undoes was done all the same."""
    lesson = GOOD_LESSON.replace("!wc -l < lines.txt > count.txt", "!rm greeting.txt; wc -l < lines.txt > count.txt")
    assert lesson != GOOD_LESSON
    place = checkout(tmp_path, monkeypatch, {"01-toy": (GOOD_TASKS, lesson)})
    build(place, rules=RULES)
    verdicts = solve(place, "01", rules=RULES)
    assert [(v.task, v.passed) for v in verdicts] == [("greet", True), ("count", True)]
    assert not check_task(place, "01", "greet", world_for=RULES.world_for).passed


@pytest.mark.parametrize(
    ("greeting", "said"),
    [
        ("print('so far')\nraise ValueError('no')", "so far\n    ValueError: no"),
        ("print('so far', flush=True)\nimport os\nos._exit(1)", "(the kernel died)"),
        ("print('so far', flush=True)\nimport time\ntime.sleep(600)", "so far\n    (not finished after 2 s)"),
    ],
)
def test_it_stops_at_the_first_cell_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], greeting: str, said: str
) -> None:
    place = make(tmp_path, monkeypatch, greeting)
    began = time.monotonic()
    with pytest.raises(CellError) as caught:
        solve(place, "01", rules=replace(RULES, cell_s=2))
    assert said in str(caught.value)
    assert greeting.splitlines()[0] in str(caught.value)
    assert "Traceback" not in str(caught.value)
    assert not (place.work / "01-toy" / "count.txt").exists()
    assert time.monotonic() - began < 20
    assert "Task was destroyed" not in capfd.readouterr().err


# A kernel that dies while it starts, as often as it is told to: as when another program takes one of its ports.
HASTY = """
import os, sys
from pathlib import Path
if __name__ == "__main__":
    starts = Path(os.environ["TOY_ROOT"]) / "starts"
    with starts.open("a") as file:
        file.write("one\\n")
    if len(starts.read_text().split()) <= int(os.environ["TOY_DEATHS"]):
        sys.exit("zmq.error.ZMQError: Address already in use")
    from ipykernel.kernelapp import launch_new_instance
    launch_new_instance()
"""


def test_a_kernel_that_dies_while_it_starts_is_started_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = make(tmp_path, monkeypatch)
    (tmp_path / "hasty_kernel.py").write_text(HASTY)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ['PYTHONPATH']}")
    rules = replace(RULES, kernel="hasty_kernel")
    starts = place.root / "starts"

    monkeypatch.setenv("TOY_DEATHS", "1")
    assert [verdict.task for verdict in solve(place, "01", "greet", rules=rules) if verdict.passed] == ["greet"]
    assert starts.read_text() == "one\none\n"

    starts.unlink()
    monkeypatch.setenv("TOY_DEATHS", "9")
    with pytest.raises(LabError, match="did not start") as caught:
        solve(place, "01", "greet", rules=rules)
    assert starts.read_text() == "one\none\n"
    assert "Address already in use" in Path(caught.value.do.removeprefix("read ")).read_text()


def test_an_unknown_task_starts_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = make(tmp_path, monkeypatch)
    with pytest.raises(UsageError, match="Did you mean greet"):
        solve(place, "01", "grete", rules=RULES)
    assert not place.work.exists()


def test_a_check_that_never_ends_is_stopped_at_its_limit() -> None:
    began = time.monotonic()
    cleaned = []
    with pytest.raises(OvertimeError, match=r"waiting took more than 0\.2 s"), time_limit(0.2, "waiting"):
        try:
            time.sleep(60)
        except Exception:  # noqa: BLE001 - what a lesson's code may do; it must not catch the limit
            time.sleep(60)
        finally:
            cleaned.append(True)
    assert cleaned == [True]
    assert time.monotonic() - began < 5
    with time_limit(0.2, "nothing"):
        pass
    time.sleep(0.3)  # a limit that is over does not ring
