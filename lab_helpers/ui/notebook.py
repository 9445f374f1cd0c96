"""What the learner's notebook calls: check, hint, and all else that `lab_helpers.__all__` names.

Each shows a widget, and the same as text.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

from lab_helpers.core.errors import UsageError
from lab_helpers.core.settings import Place, place

if TYPE_CHECKING:
    from lab_helpers.course.declare import Lab
    from lab_helpers.course.passport import Passport
    from lab_helpers.course.predictions import Prediction
    from lab_helpers.ui.checks import Answer
    from lab_helpers.ui.panel import VerdictPanel

P = ParamSpec("P")

_STARTED_IN = Path.cwd()
"""Where the kernel started: the notebook's folder. `%cd` may lead elsewhere, and a check still finds its lab."""


def _guarded(function: Callable[P, None]) -> Callable[P, None]:
    """Let only errors out that are written for the learner: IPython shows those without a traceback."""

    @wraps(function)
    def guard(*args: P.args, **kwargs: P.kwargs) -> None:
        from lab_helpers.ui.failures import named

        try:
            function(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - whatever it is, the learner gets a sentence
            raise named(error) from None

    return guard


@_guarded
def check(task: str = "") -> None:
    """Look at the world and say whether the task is done: a verdict with what was looked at, expected and seen."""
    from lab_helpers.ui.checks import ask_check

    _answer(ask_check, task)


@_guarded
def hint(task: str = "") -> None:
    """Look, and give one hint more for what was seen."""
    from lab_helpers.ui.checks import ask_hint

    _answer(ask_hint, task)


def _answer(question: Callable[[Place, Lab, str], Answer], task: str) -> None:
    from lab_helpers.ui.failures import say_damage

    _, _, panel = _asked(question, task)
    _display(panel.widget, panel.text)
    say_damage()


def _asked(question: Callable[[Place, Lab, str], Answer], task: str) -> tuple[Place, Lab, VerdictPanel]:
    from lab_helpers.ui.panel import VerdictPanel

    here, lab = _this_lab()
    if not task or not isinstance(task, str):
        example = next(iter(lab.tasks), "task")
        raise UsageError("Which task?", why=f"the tasks are {', '.join(lab.tasks)}", do=f'write check("{example}")')
    return here, lab, VerdictPanel(here, lab, question(here, lab, task))


@_guarded
def watch(task: str = "") -> None:
    """Check the task now and again whenever something changes, until it passes. The cell is done at once."""
    from lab_helpers.ui.checks import ask_check
    from lab_helpers.ui.watched import follow

    here, lab, panel = _asked(ask_check, task)
    _display(panel.widget, panel.text)
    follow(here, lab, panel)


@_guarded
def goto(task: str = "", before: bool = False) -> None:
    """Offer a journey to the state after a task of this lab, or (with `before`) to where it begins: a button starts it.

    The notebook stays as it is; other files of the learner are kept aside.
    """
    from lab_helpers.course.engine import find_task
    from lab_helpers.ui.journey import JourneyPanel

    here, lab = _this_lab()
    chosen = find_task(lab, task or next(iter(lab.tasks), ""))
    panel = JourneyPanel(here, lab, chosen.id, before=before)
    _display(panel.widget, panel.text)


@_guarded
def predict(name: str = "", *choices: str) -> None:
    """Ask what the learner thinks will happen. A locked prediction stays; no answer is needed to go on."""
    from lab_helpers.course.predictions import Prediction
    from lab_helpers.ui.prediction_panel import PredictionPanel

    here, lab = _this_lab()
    question = next((each for each in lab.questions if each.name == name and not each.recall), None)
    if question is None or choices:
        question = Prediction(name, question.ask if question else "", choices)
    if not name or len(set(question.choices)) < 2 or len(set(question.choices)) != len(question.choices):
        raise UsageError("A prediction needs a name and at least two different choices.", why=_asked_here(lab))
    panel = PredictionPanel(here, lab.name, question)
    _display(panel.widget, panel.text)


@_guarded
def board() -> None:
    """How far the learner is, in all labs: it follows while they go on, whichever notebook or terminal they use."""
    from lab_helpers.ui.board_panel import BoardPanel

    panel = BoardPanel(place())
    _display(panel.widget, panel.text)
    panel.follow_beside()


@_guarded
def boundary_map() -> None:
    """Draw what runs now as nested boxes, coloured by kernel. The picture follows what happens until the next one."""
    from lab_helpers.ui.map_panel import MapPanel

    panel = MapPanel(place())
    _display(panel.widget, panel.text)
    panel.follow()


@_guarded
def compare(name: str = "") -> None:
    """After the run: the learner's locked prediction beside what is true, and why."""
    from lab_helpers.course.engine import world_for
    from lab_helpers.ui.prediction_panel import ComparisonPanel

    here, lab = _this_lab()
    panel = ComparisonPanel(here, lab.name, _question(lab, name, recall=False), lambda: world_for(here, lab.name))
    _display(panel.widget, panel.text)


@_guarded
def recall(name: str = "") -> None:
    """Ask about an earlier lab, and show at once what is true, and why."""
    from lab_helpers.course.engine import world_for
    from lab_helpers.ui.prediction_panel import RecallPanel

    here, lab = _this_lab()
    panel = RecallPanel(here, lab.name, _question(lab, name, recall=True), lambda: world_for(here, lab.name))
    _display(panel.widget, panel.text)


@_guarded
def questions(round: str = "") -> None:  # noqa: A002 - the learner's word for it
    """The ten questions, "before" the course or "after" it; without a word, the round that is due."""
    from lab_helpers.course.questions import due_round, find_round
    from lab_helpers.ui.questions_panel import QuestionsPanel

    here = place()
    panel = QuestionsPanel(here, find_round(round) if round else due_round(here))
    _display(panel.widget, panel.text)


@_guarded
def passport() -> None:
    """The learner's own pin, and who served it at each stop so far."""
    from lab_helpers.course.passport import read_passport

    _show_passport(read_passport(place()))


@_guarded
def carry_pin(text: str = "") -> None:
    """Pin the learner's own pin to this lab's Pinboard, if it is not there. `text`: the pin of who has none yet."""
    from lab_helpers.course.passport import carry, read_passport

    here, lab = _this_lab()
    carry(here, lab, text=text)
    _show_passport(read_passport(here))


def _show_passport(page: Passport) -> None:
    from lab_helpers.ui.passport_picture import passport_svg
    from lab_helpers.ui.passport_text import passport_text
    from lab_helpers.ui.widgets import ipywidgets

    _display(ipywidgets().HTML(passport_svg(page, inline=True)), passport_text(page))


def _question(lab: Lab, name: str, *, recall: bool) -> Prediction:
    found = next((each for each in lab.questions if each.name == name and each.recall == recall), None)
    if found is None:
        raise UsageError(f"The lab {lab.name} has no such question: {name!r}.", why=_asked_here(lab))
    return found


def _asked_here(lab: Lab) -> str:
    words = [f'{"recall" if each.recall else "predict"}("{each.name}")' for each in lab.questions]
    return f"it asks {', '.join(words)}" if words else "it asks none"


def _this_lab() -> tuple[Place, Lab]:
    """The lab in whose work folder this notebook is."""
    from lab_helpers.course.engine import load_lab

    here = place()
    work = here.work.resolve()
    for folder in (_current_folder(), _STARTED_IN.resolve()):
        if folder is not None and folder != work and folder.is_relative_to(work):
            return here, load_lab(here, folder.relative_to(work).parts[0])
    raise UsageError(
        "This notebook is not in a lab's folder, so nobody knows which lab to check.",
        why=f"the labs' folders are in {work}, and this one runs in {_STARTED_IN}",
        do="open the lab with `lab open LAB` and go on in the notebook that it shows",
    )


def _current_folder() -> Path | None:
    try:
        return Path.cwd().resolve()
    except FileNotFoundError:  # the learner removed the folder that they are in
        return None


def _display(widget: Any, text: str) -> None:
    """One output: the widget for who has a screen, the text for everybody else."""
    from IPython.display import display

    bundle = {**widget._repr_mimebundle_(), "text/plain": text}
    display(bundle, raw=True)  # type: ignore[no-untyped-call]
