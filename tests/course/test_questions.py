"""The ten questions: their file, what is stored, and when what is true is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab_helpers.core.errors import LabError, UsageError
from lab_helpers.core.settings import CHECKOUT, Place
from lab_helpers.core.store import AppendLog
from lab_helpers.course import progress
from lab_helpers.course.engine import BrokenLessonError
from lab_helpers.course.questions import FILE, answer, due_round, find_round, load_questions, read_questions
from tests.course.toy import place_at

GOOD = """
[[question]]
id = "one"
ask = "One?"
choices = ["a", "b", "c"]
answer = "b"
because = "It is b."
[question.trap]
choice = "a"
because = "It only looks like a."
"""


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "labs").mkdir()
    (tmp_path / "labs" / FILE).write_text(GOOD)
    return place_at(tmp_path)


def test_the_course_s_own_questions_give_nothing_away() -> None:
    questions = load_questions(place_at(CHECKOUT))
    assert len(questions) == 10
    places = [question.choices.index(question.answer) for question in questions]
    assert {places.count(each) for each in range(4)} <= {2, 3}, "the right ones are spread over all places"
    longest = [max(question.choices, key=len) == question.answer for question in questions]
    assert sum(longest) <= 5, "the longest choice is not the right one as a rule"
    assert all(question.ask.endswith("?") and question.because.endswith(".") for question in questions)


def test_what_is_true_is_told_after_the_second_answer_only(place: Place) -> None:
    assert answer(place, "before", "one", "a") == "a"
    assert answer(place, "before", "one", "b") == "a", "the first answer counts"
    row = read_questions(place).questions[0]
    assert (row.before, row.after, row.answer, row.because, row.trap) == ("a", None, None, None, None)
    answer(place, "after", "one", "c")
    row = read_questions(place).questions[0]
    assert (row.before, row.after, row.answer, row.because) == ("a", "c", "b", "It is b.")
    assert progress.read(place).labs == {}, "the questions belong to no lab"


def test_of_two_that_answer_at_the_same_moment_the_first_counts(place: Place) -> None:
    log = AppendLog(place.progress)
    for choice in ("c", "b"):
        log.append({"kind": "answer", "time": 1, "lab": "", "round": "before", "question": "one", "choice": choice})
    log.append({"kind": "answer", "time": 1, "round": "during", "question": "one", "choice": "a"})
    assert read_questions(place).questions[0].before == "c"


@pytest.mark.parametrize(("question", "choice"), [("one", "d"), ("two", "a")])
def test_nonsense_is_not_stored(place: Place, question: str, choice: str) -> None:
    with pytest.raises(UsageError):
        answer(place, "before", question, choice)
    with pytest.raises(UsageError):
        find_round("during")
    assert not place.progress.exists()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (('answer = "b"', 'answer = "z"'), "must be among the choices"),
        (('choice = "a"', 'choice = "b"'), "the trap is the answer"),
        (('"c"]', '"a"]'), "two choices are the same"),
        (("because", "becuse"), "becuse"),
        (("[[question]]", "[[question"), "questions.toml"),
        ((GOOD, GOOD + GOOD), "one, one"),
    ],
)
def test_a_broken_file_is_our_bug(place: Place, change: tuple[str, str], why: str) -> None:
    (place.labs / FILE).write_text(GOOD.replace(*change))
    with pytest.raises(BrokenLessonError) as caught:
        load_questions(place)
    assert why in caught.value.why


def test_a_course_without_questions_has_none(place: Place) -> None:
    (place.labs / FILE).unlink()
    assert load_questions(place) == ()
    with pytest.raises(LabError, match="no questions"):
        read_questions(place)


def test_the_second_round_is_due_when_every_lab_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.course.test_progress import verdict
    from tests.course.toy_labs import checkout

    place = checkout(tmp_path, monkeypatch)
    assert due_round(place) == "before"
    log = AppendLog(place.progress)
    for task in ("greet", "count"):
        assert due_round(place) == "before"
        log.append(verdict(1, task, "PASSED", 3))
    assert due_round(place) == "after"
