"""Lab 00 as a learner meets it, in a real Chromium: a check that fails, a hint, the work, a check that passes."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from lab_helpers.core.settings import Place
from lab_helpers.core.waiting import wait_for
from lab_helpers.ui.jupyter import stop_jupyter
from tests.browser.conftest import Notebook

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

TASK = "first-check"
CLICK_AND_WAIT = """(button, word) => new Promise(done => {
    const began = performance.now(), output = button.closest(".jp-OutputArea");
    const seen = () => output.querySelector(".lab-panel .head").textContent.includes(word);
    new MutationObserver(() => { if (seen()) done(performance.now() - began); })
        .observe(output, {childList: true, subtree: true, characterData: true});
    button.click();
})"""


def test_fail_hint_work_pass(browser: Browser, place: Place, record_property: Callable[[str, object], None]) -> None:
    notebook = Notebook(browser, place)
    page = notebook.page
    notebook.run(notebook.cell('check("first-check")'))
    panel = notebook.panel(TASK, "NOT YET")
    for part in ("looked at", "expected", "saw", "look yourself"):
        assert panel.get_by_text(part, exact=True).is_visible()
    assert panel.locator(".hint").count() == 1

    notebook.button(TASK, "Another hint").focus()
    page.keyboard.press("Enter")
    panel.locator(".hint").nth(1).wait_for()
    if os.environ.get("LAB_PICTURES") == "1":
        picture(notebook, place)

    starter = page.locator(".jp-CodeCell").filter(has_text="# Your turn").last
    starter.locator(".cm-content").click()
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.type("!mkdir -p desk && echo Ada > desk/hello.txt && ls desk")
    page.keyboard.press("Shift+Enter")
    wait_for((place.work / "00-start" / "desk" / "hello.txt").exists, "the learner's command to run", timeout_s=20)

    waited_ms = notebook.button(TASK, "Check again").evaluate(CLICK_AND_WAIT, "PASSED")
    checked_ms = 1000 * json.loads(place.progress.read_text().splitlines()[-1])["seconds"]
    record_property("click_to_verdict_ms", round(waited_ms - checked_ms))
    panel = notebook.panel(TASK, "PASSED")
    assert not notebook.button(TASK, "Another hint").is_visible()

    panel.locator("summary").first.focus()
    page.keyboard.press("Space")
    panel.locator("details[open]").first.wait_for()

    assert not page.get_by_text("Traceback").count()
    assert notebook.strangers == [], "the course's pages need no network"
    assert notebook.errors == []
    page.close()


def test_the_panel_is_still_there_tomorrow(browser: Browser, place: Place) -> None:
    notebook = Notebook(browser, place)
    notebook.run(notebook.cell('check("first-check")'))
    notebook.panel(TASK, "NOT YET")
    notebook.page.keyboard.press("ControlOrMeta+S")
    saved = place.work / "00-start" / "lab.ipynb"

    def with_panel() -> bool:  # the outputs are written by any save, the panel's own state by one that came after it
        widgets = json.loads(saved.read_text())["metadata"].get("widgets", {})
        return "NOT YET" in json.dumps(widgets)

    wait_for(with_panel, "the notebook to be saved with its panel", timeout_s=40)
    notebook.page.close()
    stop_jupyter(place)  # and with it the kernel

    again = Notebook(browser, place)
    again.panel(TASK, "NOT YET")
    assert not again.page.get_by_text("Error displaying widget").count()
    again.page.close()


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
