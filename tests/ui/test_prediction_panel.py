"""Predictions, comparisons, recall and the ten questions, with the real ipywidgets and without a browser."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lab_helpers.core.settings import CHECKOUT, Place
from lab_helpers.course import questions
from lab_helpers.course.engine import load_lab
from lab_helpers.course.predictions import Prediction, Truth, WrongAnswerError
from lab_helpers.course.predictions import prediction as declare
from lab_helpers.course.predictions import recall as declare_recall
from lab_helpers.course.progress import lock_prediction, prediction
from lab_helpers.course.world import World
from lab_helpers.ui.prediction_panel import ComparisonPanel, PredictionPanel, RecallPanel
from lab_helpers.ui.questions_panel import QuestionsPanel

LAB = "01-virtual-machine"
CHOICES = ("7 on both", "7 in <the> guest only")
SWAPPINESS = declare("swappiness", "What & where?", choices=CHOICES, answer=CHOICES[1], because="Two `kernels`.")
LOOPBACK = declare_recall("loopback", "Who?", choices=("all", "only inside"), answer="only inside", because="It is.")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(root=CHECKOUT, home=tmp_path / "home", state=tmp_path, work=tmp_path / "work")


def no_world() -> World:
    raise AssertionError("nobody looks at the world for an answer that is the same everywhere")


def kinds(widget: Any) -> list[str]:
    return [type(child).__name__ for child in widget.children]


def test_a_locked_prediction_stays_and_tells_nothing(place: Place) -> None:
    panel = PredictionPanel(place, LAB, SWAPPINESS)
    _, picks, lock, done = panel.widget.children
    assert lock.disabled
    assert picks.options == CHOICES
    assert prediction(place, LAB, "swappiness") is None

    picks.value = CHOICES[0]
    assert not lock.disabled
    lock.click()
    assert panel.widget.children == (done,)
    assert prediction(place, LAB, "swappiness") == CHOICES[0]
    assert f"{CHOICES[0]} (your prediction)" in panel.text
    assert "kernels" not in panel.text + done.value

    again = PredictionPanel(place, LAB, SWAPPINESS)
    assert again.text == panel.text
    assert kinds(again.widget) == ["HTML"]


def test_the_first_of_two_tabs_counts(place: Place) -> None:
    tabs = [PredictionPanel(place, LAB, SWAPPINESS) for _ in range(2)]
    for tab, choice in zip(tabs, CHOICES, strict=True):
        _, picks, lock, _ = tab.widget.children
        picks.value = choice
        lock.click()
    assert tabs[0].text == tabs[1].text
    assert prediction(place, LAB, "swappiness") == CHOICES[0]


@pytest.mark.parametrize(
    ("locked", "word"),
    [(None, "try one first"), (CHOICES[0], "It went another way"), (CHOICES[1], "Just as you thought")],
)
def test_a_comparison_is_kind_and_tells_why(place: Place, locked: str | None, word: str) -> None:
    if locked:
        lock_prediction(place, LAB, "swappiness", locked)
    panel = ComparisonPanel(place, LAB, SWAPPINESS, no_world)
    for text in (panel.text, panel.widget.value):
        assert word in text
    lines = [line.strip() for line in panel.text.splitlines()]
    assert f"you predicted: {locked or 'nothing yet'}" in lines
    assert f"it is:         {CHOICES[1]}" in lines
    assert "why:           Two `kernels`." in lines
    assert "<code>kernels</code>" in panel.widget.value
    assert "&lt;the&gt;" in panel.widget.value
    assert "<the>" not in panel.widget.value


def test_an_answer_may_depend_on_the_machine(place: Place) -> None:
    def here(world: World) -> Truth:
        return Truth("b", f"Because of {world.lab}.")

    question = declare("where", "Where?", choices=("a", "b"), answer=here)
    assert "Because of 01-virtual-machine." in ComparisonPanel(place, LAB, question, lambda: World(place, LAB)).text
    wrong = declare("where", "Where?", choices=("a", "c"), answer=here)
    with pytest.raises(WrongAnswerError, match="none of its choices"):
        ComparisonPanel(place, LAB, wrong, lambda: World(place, LAB))
    with pytest.raises(WrongAnswerError, match="no answer"):
        Prediction("x", "", ("a", "b")).truth(no_world)


def test_a_recall_question_compares_as_soon_as_it_is_answered(place: Place) -> None:
    panel = RecallPanel(place, LAB, LOOPBACK, no_world)
    assert "Who?" in panel.text
    assert "It is." not in panel.text
    ask, picks, lock, done = panel.widget.children
    assert 'role="heading"' in ask.value
    picks.value = "all"
    lock.click()
    assert panel.widget.children == (done,)
    for text in (panel.text, done.value):
        assert "Not this time" in text
        assert "It is." in text
    assert RecallPanel(place, LAB, LOOPBACK, no_world).text == panel.text, "the same after a restart"


def test_trouble_behind_a_click_shows_in_the_panel(place: Place) -> None:
    panels = [PredictionPanel(place, LAB, SWAPPINESS), RecallPanel(place, LAB, LOOPBACK, no_world)]
    place.progress.mkdir(parents=True)  # nothing can be stored there
    for panel in panels:
        _, picks, lock, done = panel.widget.children
        picks.value = picks.options[0]
        lock.click()
        assert "progress cannot be" in done.value
        assert "Traceback" not in done.value


def test_ten_questions_lock_what_is_answered_and_tell_nothing_before(place: Place) -> None:
    declared = questions.load_questions(place)
    panel = QuestionsPanel(place, "before")
    picks = [child for child in panel.widget.children if type(child).__name__ == "RadioButtons"]
    lock = next(child for child in panel.widget.children if type(child).__name__ == "Button")
    assert len(picks) == len(declared) == 10
    assert lock.disabled
    for number in (0, 3):
        picks[number].value = declared[number].choices[0]
    assert not lock.disabled
    lock.click()
    assert kinds(panel.widget).count("RadioButtons") == 8
    shown = panel.text + "".join(str(getattr(child, "value", "")) for child in panel.widget.children)
    assert "2 of 10 answered" in shown
    assert not [each.id for each in declared if each.because in shown or each.trap.because in shown]
    assert QuestionsPanel(place, "before").text == panel.text, "the same after a restart"
    assert QuestionsPanel(place, "after").text != panel.text


def test_after_the_course_both_rounds_stand_side_by_side(place: Place) -> None:
    first = questions.load_questions(place)[0]
    questions.answer(place, "before", first.id, first.trap.choice)
    panel = QuestionsPanel(place, "after")
    assert first.because not in panel.text
    picks = next(child for child in panel.widget.children if type(child).__name__ == "RadioButtons")
    lock = next(child for child in panel.widget.children if type(child).__name__ == "Button")
    picks.value = first.answer
    lock.click()
    lines = [line.strip() for line in panel.text.splitlines()]
    assert f"before:        {first.trap.choice}" in lines
    assert f"after:         {first.answer}" in lines
    assert f"why:           {first.because}" in lines
    assert first.trap.because in panel.text


def test_the_first_answer_of_two_tabs_counts(place: Place) -> None:
    declared = questions.load_questions(place)
    one, other = QuestionsPanel(place, "before"), QuestionsPanel(place, "before")
    for panel, choice in ((one, 0), (other, 1)):
        picks = next(child for child in panel.widget.children if type(child).__name__ == "RadioButtons")
        picks.value = declared[0].choices[choice]
        next(child for child in panel.widget.children if type(child).__name__ == "Button").click()
    assert one.text == other.text
    assert questions.read_questions(place).questions[0].before == declared[0].choices[0]


@pytest.mark.parametrize("name", ["00-start", "01-virtual-machine", "02-containers", "05-kubernetes"])
def test_every_answer_of_the_labs_can_be_shown(place: Place, name: str) -> None:
    lab = load_lab(place, name)
    assert lab.questions
    for question in lab.questions:
        if isinstance(question.answer, str):
            truth = question.truth(no_world)
            assert truth.because.endswith((".", ")")), question.name
    assert sum(question.recall for question in lab.questions) == (0 if name == "00-start" else 2)
