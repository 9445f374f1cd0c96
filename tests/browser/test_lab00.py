"""Lab 00 as a learner meets it, in a real Chromium: a check that fails, a hint, the work, a check that passes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import pytest

from lab_helpers.core.settings import Place
from lab_helpers.core.waiting import wait_for
from lab_helpers.course import progress
from lab_helpers.ui.bench_panel import CLICK_AND_WAIT
from tests.browser.conftest import WAIT_S, Notebook, end_kernels

pytestmark = pytest.mark.browser

TASK = "first-check"
Open = Callable[..., Notebook]


def test_fail_hint_work_pass(open_notebook: Open, place: Place, record_property: Callable[[str, object], None]) -> None:
    notebook = open_notebook()
    page = notebook.page
    panel = notebook.check(TASK, "NOT YET")
    for part in ("looked at", "expected", "saw", "look yourself"):
        assert panel.get_by_text(part, exact=True).is_visible()
    assert panel.locator(".hint").count() == 1

    notebook.button(TASK, "Another hint").click()
    panel.locator(".hint").nth(1).wait_for()
    if os.environ.get("LAB_PICTURES") == "1":
        picture(notebook, place)

    starter = page.locator(".jp-CodeCell").filter(has_text="# Your turn").last
    notebook.type_and_run(starter, "!mkdir -p desk && echo Ada > desk/hello.txt && ls desk")
    wait_for((place.work / "00-start" / "desk" / "hello.txt").exists, "the learner's command to run", timeout_s=WAIT_S)

    waited_s = notebook.button(TASK, "Check again").evaluate(CLICK_AND_WAIT)
    checked_s = json.loads(place.progress.read_text().splitlines()[-1])["seconds"]
    record_property("click_to_verdict_ms", round(1000 * (waited_s - checked_s)))
    panel = notebook.panel(TASK, "PASSED")
    notebook.button(TASK, "Another hint").wait_for(state="hidden")
    assert panel.locator(".way").text_content() == "Lab 00: 1 of 2 tasks, 2 of 5 points; next: machine"

    panel.locator("summary").first.focus()
    page.keyboard.press("Space")
    panel.locator("details[open]").first.wait_for()


def test_the_panel_is_still_there_tomorrow(open_notebook: Open, place: Place) -> None:
    notebook = open_notebook()
    notebook.check(TASK, "NOT YET")
    notebook.page.keyboard.press("ControlOrMeta+S")
    saved = place.work / "00-start" / "lab.ipynb"

    def with_panel() -> bool:  # the outputs are written by any save, the panel's own state by one that came after it
        widgets = json.loads(saved.read_text())["metadata"].get("widgets", {})
        return "NOT YET" in json.dumps(widgets)

    wait_for(with_panel, "the notebook to be saved with its panel", timeout_s=WAIT_S)
    notebook.close()
    end_kernels(place)

    again = open_notebook()
    panel = again.panel(TASK, "NOT YET")
    assert not again.page.get_by_text("Error displaying widget").count()
    panel.locator(".copy").click()  # needs no kernel
    again.wait_said(TASK, "Copied")


def test_two_tabs_on_the_same_lab(open_notebook: Open, place: Place) -> None:
    tabs = [open_notebook(), open_notebook()]
    for tab in tabs:  # each saves the same file, and JupyterLab asks whose counts
        question = tab.page.locator(".jp-Dialog")
        tab.page.add_locator_handler(question, lambda dialog: dialog.locator(".jp-mod-reject").first.click())
    for tab in tabs:
        tab.check(TASK, "NOT YET")
    (place.work / "00-start" / "desk" / "hello.txt").write_text("Ada\n")
    for tab in tabs:
        tab.button(TASK, "Check again").click()
        panel = tab.panel(TASK, "PASSED")
        assert panel.locator(".way").text_content() == "Lab 00: 1 of 2 tasks, 2 of 5 points; next: machine"
    assert tabs[0].panel(TASK, "PASSED").is_visible()
    done = progress.read(place).lab("00-start").task(TASK)
    assert (done.passed, done.best, done.tries) == (True, 2, 4)


def picture(notebook: Notebook, place: Place) -> None:
    """The README's picture: the notebook's own area with a verdict on work half done, which is undone again."""
    page = notebook.page
    file = place.work / "00-start" / "desk" / "hello.txt"
    file.touch()
    notebook.button(TASK, "Check again").click()
    notebook.panel(TASK, "1 of 2 points")
    page.keyboard.press("ControlOrMeta+B")  # the list of files goes
    page.set_viewport_size({"width": 1100, "height": 640})
    notebook.panel(TASK, "1 of 2 points").evaluate("panel => panel.scrollIntoView({block: 'center'})")
    page.mouse.move(0, 0)
    target = place.root / "docs" / "pictures" / "verdict.png"
    target.parent.mkdir(parents=True, exist_ok=True)
    page.locator(".jp-NotebookPanel:visible").screenshot(path=target)
    file.unlink()
