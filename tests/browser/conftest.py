"""JupyterLab in a real Chromium, as the browser tests use it: a lab's notebook on a page, its kernel ready.

One JupyterLab and one Chromium serve all of them. After each test its pages are closed, its kernels ended, and its
work and progress removed, so that the next one begins as a learner does who was never here.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import httpx
import pytest

from lab_helpers.core import settings
from lab_helpers.core.settings import CHECKOUT, Place
from lab_helpers.core.waiting import wait_for
from lab_helpers.course.world import World
from lab_helpers.tools.chromium import FLAGS, find_chromium
from lab_helpers.ui.jupyter import open_course, stop_jupyter

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

WAIT_S = 60.0
"""How long a test waits for something to appear, in seconds: both cores may be busy with something else."""


@pytest.fixture(scope="session")
def jupyter_place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """The place whose JupyterLab serves all tests."""
    state = tmp_path_factory.mktemp("browser")
    place = Place(root=CHECKOUT, home=settings.place().home, state=state, work=state / "work")
    yield place
    stop_jupyter(place)
    World(place, "").clean()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium here: neither the system's nor playwright's")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def place(jupyter_place: Place) -> Iterator[Place]:
    """The place, as if nobody had been there before."""
    yield jupyter_place
    start_over(jupyter_place)


def start_over(place: Place) -> None:
    """End the kernels, and remove what the test did."""
    end_kernels(place)
    for folder in place.work.iterdir():  # and not the folder around them: JupyterLab stands in it
        shutil.rmtree(folder)
    shutil.rmtree(place.state / "opened", ignore_errors=True)
    place.progress.unlink(missing_ok=True)


def jupyter(place: Place, method: Literal["GET", "PUT", "DELETE"], path: str, body: object = None) -> Any:
    """Ask the running JupyterLab's own interface, such as `GET api/kernels`."""
    url = httpx.URL(open_course(place, browser=False).url)
    headers = {"Authorization": f"token {url.params['token']}"}
    address = f"http://{url.netloc.decode()}/{path}"
    answer = httpx.request(method, address, headers=headers, json=body, timeout=WAIT_S, trust_env=False)
    answer.raise_for_status()
    return answer.json() if answer.content else None


def set_theme(place: Place, name: str) -> None:
    """The theme of pages that are opened from now on."""
    path = "lab/api/settings/@jupyterlab/apputils-extension:themes"
    jupyter(place, "PUT", path, {"raw": json.dumps({"theme": name})})


def end_kernels(place: Place) -> None:
    """Shut every kernel down, as after a night."""
    for session in jupyter(place, "GET", "api/sessions"):
        jupyter(place, "DELETE", f"api/sessions/{session['id']}")
    wait_for(lambda: not jupyter(place, "GET", "api/kernels"), "the kernels to end", timeout_s=WAIT_S)


class Notebook:
    """A lab on a page, its kernel ready."""

    def __init__(
        self, browser: Browser, place: Place, lab: str = "00", *, width: int = 1280, height: int = 900
    ) -> None:
        context = browser.new_context(viewport={"width": width, "height": height}, device_scale_factor=2)
        context.grant_permissions(["clipboard-read", "clipboard-write"])
        context.set_default_timeout(1000 * WAIT_S)
        self.page: Page = context.new_page()
        self.strangers: list[str] = []
        self.errors: list[str] = []
        self.page.on("request", lambda request: self._asked(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        url = open_course(place, lab, browser=False).url
        # A workspace of its own: JupyterLab would open what another test had open.
        self.page.goto(url.replace("/lab/tree/", f"/lab/workspaces/{uuid.uuid4().hex}/tree/"))
        try:
            self.wait_for_kernel()
        except BaseException:
            keep_picture(self.page, "no-kernel")
            self.close()
            raise

    def wait_for_kernel(self) -> None:
        """Until the kernel is idle. Earlier, a click may meet a dialog."""
        self.page.get_by_text("From VM to Kubernetes | Idle").wait_for(state="attached")

    def fold_sidebar(self) -> None:
        """The list of files goes; it would take half of a narrow window."""
        if self.page.locator("#jp-left-stack:visible").count():
            self.page.keyboard.press("ControlOrMeta+B")
            self.page.locator("#jp-left-stack").wait_for(state="hidden")

    def close(self) -> None:
        self.page.context.close()

    def _asked(self, url: str) -> None:
        if not re.match(r"https?://127\.0\.0\.1:|data:|blob:", url):
            self.strangers.append(url)

    def cell(self, text: str) -> Locator:
        """The first code cell with that text."""
        return self.page.locator(".jp-CodeCell").filter(has_text=text).first

    def run(self, cell: Locator) -> None:
        cell.locator(".cm-content").click()
        self.page.keyboard.press("Shift+Enter")

    def type_and_run(self, cell: Locator, text: str) -> None:
        """Replace the text of a cell as a learner does, run it, and wait until it is done."""
        element = cell.element_handle()
        before = cell.locator(".jp-InputPrompt").text_content()
        cell.locator(".cm-content").click()
        self.page.keyboard.press("ControlOrMeta+A")
        self.page.keyboard.insert_text(text)
        self.page.keyboard.press("Shift+Enter")
        done = """([cell, before]) => {
            const now = cell.querySelector(".jp-InputPrompt").textContent;
            return now !== before && /[0-9]/.test(now);
        }"""
        self.page.wait_for_function(done, arg=[element, before], timeout=3000 * WAIT_S)

    def restart_kernel(self) -> None:
        """Restart the kernel with the button and the question that a learner meets."""
        self.page.locator(".jp-NotebookPanel:visible [data-jp-item-name=restart]").click()
        self.page.locator(".jp-Dialog .jp-mod-accept").click()
        self.page.locator(".jp-Dialog").wait_for(state="detached")
        self.wait_for_kernel()

    def panel(self, task: str, word: str) -> Locator:
        """The panel under the check of a task, once its head says `word`."""
        panel = self.check_cell(task).locator(".lab-panel")
        panel.locator(".head", has_text=word).wait_for()
        return panel

    def check(self, task: str, word: str) -> Locator:
        """Run the check of a task; its panel, once its head says `word`."""
        self.run(self.check_cell(task))
        return self.panel(task, word)

    def check_cell(self, task: str) -> Locator:
        return self.cell(f'check("{task}")')

    def button(self, task: str, name: str) -> Locator:
        return self.check_cell(task).get_by_role("button", name=name)

    def wait_said(self, task: str, text: str) -> None:
        """Wait until a screen reader is told that of a task: a moment after the panel is drawn."""
        wait_said(self.check_cell(task), text)


def wait_said(cell: Locator, text: str) -> None:
    """Wait until the live region in the output of that cell says so."""
    cell.locator(".lab-say", has_text=text).wait_for(state="attached")


def keep_picture(page: Page, name: str) -> None:
    """A picture to look at, where LAB_LOOK names a folder for them."""
    if folder := os.environ.get("LAB_LOOK"):
        page.screenshot(path=Path(folder) / f"{name}.png")


@pytest.fixture
def open_notebook(browser: Browser, place: Place, request: pytest.FixtureRequest) -> Iterator[Callable[..., Notebook]]:
    """Opens labs on pages of their own. At the end none may have asked for a network or shown a traceback."""
    opened: list[Notebook] = []

    def open_it(lab: str = "00", *, width: int = 1280, height: int = 900) -> Notebook:
        opened.append(Notebook(browser, place, lab, width=width, height=height))
        return opened[-1]

    yield open_it
    for number, notebook in enumerate(opened):
        if not notebook.page.is_closed():
            keep_picture(notebook.page, f"{request.node.name}-{number}")
    try:
        for notebook in opened:
            assert notebook.strangers == [], "the course's pages need no network"
            assert notebook.errors == []
            assert notebook.page.is_closed() or not notebook.page.get_by_text("Traceback").count()
    finally:
        for notebook in opened:
            notebook.close()
