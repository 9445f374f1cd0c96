"""Loading lessons, and what verdict follows from what a check does."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab_helpers.core.errors import ExitCode, MachineError, UsageError
from lab_helpers.core.settings import Place
from lab_helpers.course import progress
from lab_helpers.course.engine import (
    BrokenLessonError,
    all_labs,
    check_task,
    find_task,
    hints_for,
    lab_names,
    load_lab,
    next_hint,
)
from lab_helpers.course.verdict import Outcome, Verdict
from tests.course.toy import RULES
from tests.course.toy_labs import GOOD_LESSON, GOOD_TASKS, checkout, write_lab

TOY = RULES.world_for


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    made = checkout(tmp_path, monkeypatch)
    (made.work / "01-toy").mkdir(parents=True)
    return made


def write(place: Place, name: str, text: str) -> None:
    (place.work / "01-toy" / name).write_text(text)


@pytest.mark.parametrize("name", ["01-toy", "01", "1", "toy", " 01-TOY "])
def test_a_lab_is_found_by_name_and_number(place: Place, name: str) -> None:
    assert load_lab(place, name).name == "01-toy"


def test_an_unknown_name_is_answered_with_the_list_and_the_nearest(place: Place) -> None:
    with pytest.raises(UsageError, match=r"Did you mean 01-toy\?") as caught:
        load_lab(place, "01-tyo")
    assert caught.value.why == "the labs are 01-toy"
    with pytest.raises(UsageError, match=r"Did you mean greet\?") as caught:
        find_task(load_lab(place, "1"), "great")
    assert caught.value.why == "its tasks are greet, count"


def test_folders_that_are_no_labs_are_passed_over(place: Place) -> None:
    (place.labs / "pinboard").mkdir()
    (place.labs / "02-empty").mkdir()
    assert lab_names(place) == ["01-toy"]
    assert [lab.title for lab in all_labs(place)] == ["A toy"]


@pytest.mark.parametrize(
    ("tasks", "why"),
    [
        ("LAB = (", "SyntaxError in line 1"),
        ("\n\nimport no_such_module", "ModuleNotFoundError in line 3: No module named 'no_such_module'"),
        ("x = 1", "it has no `LAB = Lab(...)`"),
        (GOOD_TASKS.replace('Lab("01-toy"', 'Lab("01-tay"'), "its LAB is named '01-tay'"),
        (GOOD_TASKS.replace('fails="there"', 'fails="their"'), "has no criterion their"),
    ],
)
def test_a_broken_lesson_is_our_bug_and_says_where(place: Place, tasks: str, why: str) -> None:
    write_lab(place.root, "01-toy", tasks, GOOD_LESSON)
    with pytest.raises(BrokenLessonError) as caught:
        load_lab(place, "01")
    assert why in caught.value.why
    assert caught.value.exit_code is ExitCode.BROKEN


def test_a_changed_lesson_is_read_anew_also_within_the_same_second(place: Place) -> None:
    tasks = place.labs / "01-toy" / "tasks.py"
    for title in ("One", "Two"):
        tasks.write_text(GOOD_TASKS.replace('title="A toy"', f'title="{title}"'))
        assert load_lab(place, "01").title == title


def test_tasks_can_be_split_into_several_files(place: Place) -> None:
    folder = place.labs / "01-toy"
    for title in ("One", "Another"):
        (folder / "words.py").write_text(f"TITLE = {title!r}")
        (folder / "tasks.py").write_text(
            "from .words import TITLE\n" + GOOD_TASKS.replace('title="A toy"', "title=TITLE")
        )
        assert load_lab(place, "01").title == title


def test_not_yet_says_what_was_seen_and_counts_points(place: Place) -> None:
    nothing = check_task(place, "01", "greet", world_for=TOY)
    assert (nothing.outcome, nothing.state, nothing.points, nothing.total) == (Outcome.NOT_YET, "absent", 0, 3)
    assert nothing.criteria[1].evidence is None, "the check stopped: what it did not reach is not met"
    write(place, "greeting.txt", "bye")
    partial = check_task(place, "01", "greet", world_for=TOY)
    assert (partial.outcome, partial.state, partial.points) == (Outcome.NOT_YET, "other", 1)
    assert partial.criteria[1].evidence is not None
    assert partial.criteria[1].evidence.saw == "bye"
    write(place, "greeting.txt", "hello")
    done = check_task(place, "01", "greet", world_for=TOY)
    assert (done.outcome, done.state, done.points) == (Outcome.PASSED, "", 3)


def _with_check(place: Place, body: str) -> Verdict:
    """The verdict of the task greet when its check is `body`."""
    body = "\n".join("    " + line for line in body.splitlines())
    tasks = GOOD_TASKS.replace('    yield from look(world, "greeting.txt", "hello")', body)
    write_lab(place.root, "01-toy", tasks, GOOD_LESSON)
    return check_task(place, "01", "greet", world_for=TOY)


OK = 'Evidence(criterion="{}", ok=True, looked="", expected="", saw="")'


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("yield 1 / 0", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)\nyield", "SystemExit: 3"),
        (f"yield {OK.format('them')}", "the criterion 'them'; declared are there, text"),
        (f"yield {OK.format('there')}\nyield {OK.format('there')}", "the criterion 'there' twice"),
        ("yield True", "the check yielded bool and not Evidence"),
        ("return None", "the check yields no evidence"),
        (
            "from lab_helpers.core.errors import ToolError\nyield from ()\n"
            'raise ToolError("`ssh` failed.", command="ssh x")',
            "ToolError: `ssh` failed.",
        ),
        (
            "from lab_helpers.core.errors import WaitTimeoutError\nyield from ()\n"
            'raise WaitTimeoutError("Waited 3 s.")',
            "WaitTimeoutError: Waited 3 s.",
        ),
    ],
)
def test_whatever_a_check_does_wrong_is_broken(place: Place, body: str, reason: str) -> None:
    verdict = _with_check(place, body)
    assert verdict.outcome is Outcome.BROKEN
    assert reason in verdict.reason
    assert "Nothing is wrong with your work" in verdict.reason
    assert "Traceback" not in verdict.reason
    log = Path(verdict.reason.split("with the file ")[1].rstrip("."))
    assert log.is_relative_to(place.state / "logs")
    assert "Traceback" in log.read_text()


def test_the_machine_in_the_way_is_blocked_and_keeps_what_was_seen(place: Place) -> None:
    verdict = _with_check(
        place,
        "from lab_helpers.core.errors import MachineError\n"
        f"yield {OK.format('there')}\n"
        'raise MachineError("There is no QEMU.", finding="QEMU")',
    )
    assert (verdict.outcome, verdict.finding, verdict.points) == (Outcome.BLOCKED, "QEMU", 1)
    assert "There is no QEMU." in verdict.reason
    assert "lab doctor" in verdict.reason
    assert hints_for(find_task(load_lab(place, "01"), "greet"), verdict) == ()


def test_broken_comes_before_blocked(place: Place) -> None:
    verdict = _with_check(
        place,
        "from lab_helpers.core.errors import MachineError\n"
        'try:\n    raise MachineError("no", finding="X")\nfinally:\n    1 / 0\nyield',
    )
    assert verdict.outcome is Outcome.BROKEN


def test_ctrl_c_passes_through_a_check(place: Place) -> None:
    with pytest.raises(KeyboardInterrupt):
        _with_check(place, "raise KeyboardInterrupt\nyield")
    assert progress.read(place).labs == {}


def test_all_met_out_of_order_is_passed_and_all_unmet_is_not(place: Place) -> None:
    assert _with_check(place, f"yield {OK.format('text')}\nyield {OK.format('there')}").passed
    assert _with_check(place, f"yield {OK.format('text')}").outcome is Outcome.NOT_YET
    assert _with_check(place, "yield from ()").outcome is Outcome.NOT_YET


def test_a_verdict_is_stored_unless_told_not_to(place: Place) -> None:
    write(place, "greeting.txt", "hello")
    check_task(place, "01", "greet", record=False, world_for=TOY)
    assert progress.read(place).labs == {}
    check_task(place, "01", "greet", world_for=TOY)
    assert progress.read(place).lab("01-toy").task("greet").passed


def test_progress_that_cannot_be_stored_is_the_machines_trouble(place: Place) -> None:
    place.state.write_text("a file in the place of the folder")
    with pytest.raises(MachineError, match="progress cannot be stored"):
        check_task(place, "01", "greet", world_for=TOY)


def test_hints_come_one_at_a_time_for_the_state_that_is_seen(place: Place) -> None:
    seen = [next_hint(place, "01", "greet", world_for=TOY) for _ in range(3)]
    assert [(hint.text, hint.number, hint.total) for hint in seen] == [
        ("Make a file.", 1, 2),
        ("Make it with echo.", 2, 2),
        ("Make it with echo.", 2, 2),
    ]
    write(place, "greeting.txt", "bye")
    other = next_hint(place, "01", "greet", world_for=TOY)
    assert (other.text, other.number, other.total) == ("Look at its text.", 1, 1)
    write(place, "greeting.txt", "hello")
    done = next_hint(place, "01", "greet", world_for=TOY)
    assert (done.verdict.passed, done.text, done.total) == (True, "", 0)
    assert progress.read(place).lab("01-toy").task("greet").hints == 3


def test_hints_for_every_other_state(place: Place) -> None:
    tasks = GOOD_TASKS.replace('"absent": ("Make a file.", "Make it with echo."), ', '"": ("Look around.",), ')
    write_lab(place.root, "01-toy", tasks, GOOD_LESSON)
    assert next_hint(place, "01", "greet", world_for=TOY).text == "Look around."
