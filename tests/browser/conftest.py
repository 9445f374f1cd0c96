"""JupyterLab in a real Chromium, as the browser tests use it: a lab's notebook on a page, its kernel ready."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from lab_helpers.core import settings
from lab_helpers.core.settings import CHECKOUT, Place
from lab_helpers.course.world import World
from lab_helpers.ui.jupyter import open_course, stop_jupyter

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

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
    place = Place(root=CHECKOUT, home=settings.place().home, state=tmp_path / "state", work=tmp_path / "state" / "work")
    yield place
    stop_jupyter(place)
    World(place, "").clean()


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
    """A lab on a page, its kernel ready."""

    def __init__(self, browser: Browser, place: Place, lab: str = "00", width: int = 1280, height: int = 900) -> None:
        self.page: Page = browser.new_page(viewport={"width": width, "height": height}, device_scale_factor=2)
        self.strangers: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self._asked(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(open_course(place, lab, browser=False).url)
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

    def panel(self, task: str, word: str, timeout_s: float = 30) -> Locator:
        """The panel under the check of a task, once its head says `word`."""
        panel = self.check_cell(task).locator(".lab-panel")
        panel.locator(".head", has_text=word).wait_for(timeout=1000 * timeout_s)
        return panel

    def check_cell(self, task: str) -> Locator:
        return self.cell(f'check("{task}")')

    def button(self, task: str, name: str) -> Locator:
        return self.check_cell(task).get_by_role("button", name=name)
