"""Lab 00 as a learner meets it, in a real Chromium: a check that fails, a hint, the work, a check that passes."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab_helpers.core.settings import CHECKOUT, Place
from lab_helpers.core.waiting import wait_for
from lab_helpers.ui.jupyter import open_course, stop_jupyter

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

pytestmark = pytest.mark.browser

FLAGS = [
    "--no-sandbox",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-gpu",
]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(root=CHECKOUT, home=tmp_path / "home", state=tmp_path / "state", work=tmp_path / "state" / "work")
    yield place
    stop_jupyter(place)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        program = shutil.which("chromium") or playwright.chromium.executable_path
        if not Path(program).exists():
            pytest.skip("no Chromium here: neither the system's nor playwright's")
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


class Notebook:
    """Lab 00 on a page, its kernel ready."""

    def __init__(self, browser: Browser, place: Place, width: int = 1280, height: int = 900) -> None:
        self.page: Page = browser.new_page(viewport={"width": width, "height": height}, device_scale_factor=2)
        self.strangers: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self._asked(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(open_course(place, "00", browser=False).url)
        self.page.get_by_text("From VM to Kubernetes | Idle").wait_for(timeout=60_000)

    def _asked(self, url: str) -> None:
        if not re.match(r"https?://127\.0\.0\.1:|data:|blob:", url):
            self.strangers.append(url)

    def cell(self, text: str) -> Locator:
        """The first code cell with that text."""
        return self.page.locator(".jp-CodeCell").filter(has_text=text).first

    def run(self, cell: Locator) -> None:
        cell.locator(".cm-content").click()
        self.page.keyboard.press("Shift+Enter")

    def panel(self, word: str) -> Locator:
        """The panel under the check of this test's task, once its head says `word`."""
        panel = self.cell('check("first-check")').locator(".lab-panel")
        panel.locator(".head", has_text=word).wait_for()
        return panel

    def button(self, name: str) -> Locator:
        return self.cell('check("first-check")').get_by_role("button", name=name)


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
    panel = notebook.panel("NOT YET")
    for part in ("looked at", "expected", "saw", "look yourself"):
        assert panel.get_by_text(part, exact=True).is_visible()
    assert panel.locator(".hint").count() == 1

    notebook.button("Another hint").focus()
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

    waited_ms = notebook.button("Check again").evaluate(CLICK_AND_WAIT, "PASSED")
    checked_ms = 1000 * json.loads(place.progress.read_text().splitlines()[-1])["seconds"]
    record_property("click_to_verdict_ms", round(waited_ms - checked_ms))
    assert waited_ms - checked_ms < 500, "a click is answered at once, save for the check itself"
    panel = notebook.panel("PASSED")
    assert not notebook.button("Another hint").is_visible()

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
    notebook.panel("NOT YET")
    notebook.page.keyboard.press("ControlOrMeta+S")
    saved = place.work / "00-start" / "lab.ipynb"

    def with_panel() -> bool:  # the outputs are written by any save, the panel's own state by one that came after it
        widgets = json.loads(saved.read_text())["metadata"].get("widgets", {})
        return "NOT YET" in json.dumps(widgets)

    wait_for(with_panel, "the notebook to be saved with its panel", timeout_s=40)
    notebook.page.close()
    stop_jupyter(place)  # and with it the kernel

    again = Notebook(browser, place)
    again.panel("NOT YET")
    assert not again.page.get_by_text("Error displaying widget").count()
    again.page.close()


def picture(notebook: Notebook, place: Place) -> None:
    """The README's picture: the notebook's own area with a verdict on work half done, which is undone again."""
    page = notebook.page
    file = place.work / "00-start" / "desk" / "hello.txt"
    file.touch()
    notebook.button("Check again").click()
    notebook.panel("1 of 2 points")
    page.keyboard.press("ControlOrMeta+B")  # the list of files goes
    page.set_viewport_size({"width": 1100, "height": 640})
    notebook.panel("1 of 2 points").evaluate("panel => panel.scrollIntoView({block: 'center'})")
    page.mouse.move(0, 0)
    target = place.root / "docs" / "pictures" / "verdict.png"
    target.parent.mkdir(parents=True, exist_ok=True)
    page.locator(".jp-NotebookPanel:visible").screenshot(path=target)
    file.unlink()
