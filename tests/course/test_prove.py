"""`prove` on toy labs: real kernels, real nbval, real files and processes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import psutil
import pytest

from lab_helpers.core.errors import ExitCode
from lab_helpers.core.events import Event, Note, Progress
from lab_helpers.core.waiting import wait_for
from lab_helpers.course import progress
from lab_helpers.course.build import build
from lab_helpers.course.proof import LabProof, ProofReport
from lab_helpers.course.prove import prove
from lab_helpers.course.rules import Rules
from lab_helpers.course.separate import turn
from tests.course.toy import RULES
from tests.course.toy_bad import BAD_LESSON, BAD_TASKS, LEAKY_LESSON, LEAKY_TASKS
from tests.course.toy_labs import checkout


def test_a_good_lab_is_proven_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = checkout(tmp_path, monkeypatch)
    build(place, run=True, rules=RULES)
    before = _files(tmp_path)
    events: list[Event] = []
    report = prove(place, ["1"], events.append, rules=RULES)

    assert report.misses == []
    assert report.exit_code is ExitCode.PASSED
    lab = report.labs[0]
    rows = [(t.task, t.fail_first, t.passes, t.near_misses_rejected, t.near_misses) for t in lab.tasks]
    assert rows == [("greet", True, True, 3, 3), ("count", True, True, 3, 3)]
    assert all(row.seconds > 0 for row in lab.tasks)
    assert lab.left_over == []
    assert _files(tmp_path) == before, "the learner's place is as it was"
    assert progress.read(place).labs == {}
    steps = [event for event in events if isinstance(event, Progress)]
    assert steps[-1].done == steps[-1].total
    assert any("solution, !echo hello > greeting.txt" in event.what for event in steps)
    assert json.loads(report.model_dump_json())["exit_code"] == 0
    cases = ET.fromstring(report.junit()).findall(".//testcase")  # noqa: S314 - our own text
    assert [case.get("name") for case in cases] == ["greet", "count", "as a whole"]


def test_what_others_have_under_a_name_of_the_lab_is_in_its_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = checkout(tmp_path, monkeypatch)
    build(place, run=True, rules=RULES)
    (tmp_path / "taken").touch()
    report = prove(place, ["1"], rules=RULES)
    assert [miss.what for miss in report.misses] == [
        "The lab 01-toy cannot run here: the container pinboard is there already."
    ]
    assert report.exit_code is ExitCode.NOT_YET
    assert not report.labs[0].tasks[0].fail_first, "nothing was run"


def _files(root: Path) -> set[str]:
    """Everything in a checkout, save for the lock that says whose turn it is."""
    return {str(path) for path in root.rglob("*") if path.name not in ("prove.lock",)}


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> ProofReport:
    """The proof of two labs that are broken on purpose."""
    root = tmp_path_factory.mktemp("broken")
    labs = {"02-bad": (BAD_TASKS, BAD_LESSON), "03-leaky": (LEAKY_TASKS, LEAKY_LESSON)}
    with pytest.MonkeyPatch.context() as monkeypatch:
        place = checkout(root, monkeypatch, labs)
        build(place, ["02"], rules=RULES)
        build(place, ["03"], run=True, rules=RULES)
        solution = root / "labs" / "03-leaky" / "solution.ipynb"
        text = solution.read_text()
        output = '"said in the first run\\n"'
        assert text.count(output) == 1
        solution.write_text(text.replace(output, '"said by somebody else\\n"'))
        rules = Rules(RULES.world_for, RULES.kernel, cell_s=60, check_s=20, near_miss_s=0.5, near_misses=0)
        report = prove(place, rules=rules)
        assert not list((root / ".lab").glob("prove-*"))
    return report


def _lab(report: ProofReport, name: str) -> LabProof:
    return next(lab for lab in report.labs if lab.lab == name)


@pytest.mark.parametrize(
    ("task", "phase", "says"),
    [
        ("always", "fail-first", "in a clean state the check says PASSED"),
        ("always", "fail-first", "before the last cell of its solution the check says PASSED"),
        ("never", "solution", "after its solution the check says NOT_YET"),
        ("never", "solution", "in the notebook its check cell does not say PASSED"),
        ("early", "fail-first", "before the last cell of its solution the check says PASSED"),
        ("hintless", "fail-first", "in a clean state there is no hint for the state 'absent'"),
        ("raises", "fail-first", "in a clean state the check says BROKEN"),
        ("near", "near-miss", "accepted: the check says PASSED and not NOT_YET"),
        ("near", "near-miss", "met: it is rejected, but the criterion there counts as met"),
        ("near", "near-miss", "state: the criterion text says the state 'other' and not 'empty'"),
        ("near", "near-miss", "unreached: it is rejected before the criterion text was looked at"),
        ("near", "near-miss", "hangs: it could not be applied: applying it took more than 0.5 s"),
        ("near", "near-miss", "stumbles: it could not be applied: OSError: no such thing"),
        ("near", "near-miss", "empty: it is over without a yield"),
        ("near", "near-miss", "twice: it yields twice"),
        ("never", "nbval", "in the second run its check cell does not say PASSED"),
        ("undone", "undo", "stays: after it is undone the check says NOT_YET"),
        ("", "source", "labs/02-bad/solution.ipynb: 16 cells have no reference output"),
    ],
)
def test_each_kind_of_broken_task_is_a_miss(broken: ProofReport, task: str, phase: str, says: str) -> None:
    misses = [miss for miss in broken.misses if (miss.task, miss.phase) == (task, phase) and says in miss.what]
    assert len(misses) == 1, [miss for miss in broken.misses if miss.task == task]
    assert misses[0].evidence or phase in ("source", "near-miss")


def test_what_is_right_in_a_bad_lab_is_no_miss(broken: ProofReport) -> None:
    lab = _lab(broken, "02-bad")
    assert not [miss for miss in lab.misses if miss.what.startswith("good:")]
    rows = {row.task: (row.fail_first, row.passes, row.near_misses_rejected, row.near_misses) for row in lab.tasks}
    assert rows == {
        "always": (False, True, 0, 0),
        "never": (True, False, 0, 0),
        "early": (False, True, 0, 0),
        "hintless": (False, True, 0, 0),
        "raises": (False, False, 0, 0),
        "near": (True, True, 1, 9),
        "undone": (True, True, 0, 1),
    }


def test_what_a_lab_leaves_behind_is_a_miss(broken: ProofReport) -> None:
    lab = _lab(broken, "03-leaky")
    assert any("new file" in line and line.endswith("/junk") for line in lab.left_over)
    listening = [line for line in lab.left_over if "create_server" in line]
    assert listening
    assert all("listening on port" in line for line in listening)
    pids = {int(line.split()[1].rstrip(":")) for line in listening}
    alive = {p.pid for p in psutil.process_iter(["status"]) if p.info["status"] != psutil.STATUS_ZOMBIE}
    assert not pids & alive, "and they are ended all the same"
    assert [miss.phase for miss in lab.misses if not miss.task and miss.phase == "left-over"] == ["left-over"]


def test_a_reset_that_does_not_reset_is_a_miss(broken: ProofReport) -> None:
    misses = [miss for miss in _lab(broken, "03-leaky").misses if miss.phase == "reset"]
    assert [miss.what for miss in misses] == ["after the reset the check says PASSED"]


def test_an_output_that_is_not_the_reference_is_a_miss(broken: ProofReport) -> None:
    misses = [miss for miss in _lab(broken, "03-leaky").misses if miss.phase == "nbval"]
    assert [miss.task for miss in misses] == ["leak"]
    assert 'the cell `print("said in the first run")` is not like the reference' in misses[0].what
    assert "said by somebody else" in misses[0].evidence


def test_any_miss_exits_1_and_is_in_the_junit_report(broken: ProofReport) -> None:
    assert broken.exit_code is ExitCode.NOT_YET
    failures = ET.fromstring(broken.junit()).findall(".//failure")  # noqa: S314 - our own text
    assert len(failures) == len(broken.misses)


def test_a_machine_that_is_in_the_way_is_no_miss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = LEAKY_TASKS.replace(
        '    there = (world', '    from lab_helpers.core.errors import MachineError\n'
        '    raise MachineError("No QEMU here.", finding="QEMU")\n    there = (world'
    )  # fmt: skip
    place = checkout(tmp_path, monkeypatch, {"03-leaky": (tasks, LEAKY_LESSON)})
    build(place, rules=RULES)
    report = prove(place, rules=Rules(RULES.world_for, RULES.kernel, near_misses=0))
    assert report.labs[0].blocked.startswith("QEMU: No QEMU here.")
    assert [miss.phase for miss in report.misses] == ["source"]  # its cells were never run for reference
    report.labs[0].misses.clear()
    assert report.exit_code is ExitCode.MACHINE
    assert "QEMU: No QEMU here." in report.junit()


SLOW = "!touch $TOY_ROOT/here; sleep 600"
SLOW_THE_SECOND_TIME = "!if [ -e $TOY_ROOT/first ]; then touch $TOY_ROOT/here; sleep 600; fi; touch $TOY_ROOT/first"


@pytest.mark.parametrize(
    ("how", "cell"),
    [(signal.SIGINT, SLOW), (signal.SIGINT, SLOW_THE_SECOND_TIME), (signal.SIGKILL, SLOW)],
    ids=["Ctrl-C in the solution", "Ctrl-C in nbval", "kill -9"],
)
def test_a_prove_that_is_stopped_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: signal.Signals, cell: str
) -> None:
    lesson = LEAKY_LESSON.replace('print("said in the first run")', cell)
    place = checkout(tmp_path, monkeypatch, {"03-leaky": (LEAKY_TASKS, lesson)})
    build(place, rules=RULES)
    script = "import sys; from tests.course import toy, toy_labs; from lab_helpers.course.prove import prove\n"
    script += "prove(toy.place_at(toy_labs.Path(sys.argv[1])), rules=toy.RULES)"
    running = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stderr=subprocess.PIPE, text=True)
    try:
        wait_for((tmp_path / "here").exists, "the slow cell to run", timeout_s=30)
        apart = next((tmp_path / ".lab").glob("prove-*"))
        assert _living_in(apart), "the kernel and what it started"
        running.send_signal(how)
        _, said = running.communicate(timeout=30)
    finally:
        running.kill()
    if how is signal.SIGKILL:
        assert apart.exists()
        notes: list[Event] = []
        with turn(place, RULES, notes.append):
            pass
        assert any(isinstance(note, Note) and apart.name in note.text for note in notes)
    else:
        assert said.strip().splitlines()[-1] == "KeyboardInterrupt"
        assert "Task was destroyed" not in said
    assert not apart.exists()
    assert not _living_in(apart)


def _living_in(state: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("LAB_STATE") == str(state) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def test_a_second_prove_waits_for_the_first_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = checkout(tmp_path, monkeypatch)
    script = "import sys; from tests.course import toy, toy_labs; from lab_helpers.course.separate import turn\n"
    script += "with turn(toy.place_at(toy_labs.Path(sys.argv[1])), toy.RULES): print('mine', flush=True); input()"
    first = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert first.stdout
    assert first.stdin
    assert first.stdout.readline() == "mine\n"
    said: list[str] = []

    def heard(event: Event) -> None:
        assert isinstance(event, Note)
        said.append(event.text)
        assert first.stdin
        first.stdin.write("\n")
        first.stdin.flush()

    with turn(place, RULES, heard):
        assert first.wait(10) == 0
    assert len(said) == 1
    assert "this one waits" in said[0]
