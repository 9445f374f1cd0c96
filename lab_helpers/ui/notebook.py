"""What the learner's notebook calls: check, hint, watch, goto, predict. Each shows a widget, and the same as text."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

from lab_helpers.core.errors import UsageError
from lab_helpers.core.settings import Place, place

if TYPE_CHECKING:
    from lab_helpers.course.declare import Lab
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
    _, _, panel = _asked(question, task)
    _display(panel.widget, panel.text)


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
    from lab_helpers.ui.panel import PredictionPanel

    if not name or len(set(choices)) < 2 or len(set(choices)) != len(choices):
        raise UsageError("A prediction needs a name and at least two different choices.")
    here, lab = _this_lab()
    panel = PredictionPanel(here, lab.name, name, choices)
    _display(panel.widget, panel.text)


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
