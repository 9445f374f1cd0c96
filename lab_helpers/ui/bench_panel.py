"""A verdict panel in a real JupyterLab in a real Chromium, for the measure `panel` of `lab bench`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from lab_helpers.core.errors import MachineError
from lab_helpers.tools.chromium import FLAGS, find_chromium
from lab_helpers.ui.jupyter import open_course, stop_jupyter

if TYPE_CHECKING:
    from lab_helpers.core.settings import Place

LAB, TASK = "00-start", "first-check"

CLICK_AND_WAIT = """button => new Promise(done => {
    const box = button.closest(".lab-verdict"), at = () => box.querySelector(".lab-panel").dataset.at;
    const began = performance.now(), before = at();
    new MutationObserver((_, observer) => {
        if (at() === before) return;
        observer.disconnect();
        requestAnimationFrame(() => done((performance.now() - began) / 1000));
    }).observe(box, {childList: true, subtree: true});
    button.click();
})"""
"""Clicks the button; returns how long it took until a new verdict was drawn, in seconds."""


@contextmanager
def open_panel(place: Place) -> Iterator[Callable[[], tuple[float, float]]]:
    """A panel that can be clicked: each call clicks "Check again", and returns two times in seconds.

    The first is that from the click to the new verdict on the screen, the second how much of it the check took.
    Raises MachineError where there is no Chromium, or no playwright, which drives it.
    """
    program = find_chromium()
    try:
        sync_api = import_module("playwright.sync_api")
    except ImportError:
        raise _no_browser("playwright, which drives it, is not installed") from None
    if program is None:
        raise _no_browser("there is none")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=FLAGS)
        try:
            button = _checked(browser.new_page(), open_course(place, LAB, browser=False).url)

            def click() -> tuple[float, float]:
                shown = float(button.evaluate(CLICK_AND_WAIT))
                return shown, float(json.loads(place.progress.read_text("utf-8").splitlines()[-1])["seconds"])

            yield click
        finally:
            browser.close()
            stop_jupyter(place)


def _checked(page: Any, url: str) -> Any:
    """Open the lab, run its check; returns the button that asks again."""
    page.set_default_timeout(90_000)
    page.goto(url)
    page.get_by_text("From VM to Kubernetes | Idle").wait_for()
    cell = page.locator(".jp-CodeCell").filter(has_text=f'check("{TASK}")').first
    cell.locator(".cm-content").click()
    page.keyboard.press("Shift+Enter")
    button = cell.get_by_role("button", name="Check again")
    button.wait_for()
    return button


def _no_browser(why: str) -> MachineError:
    return MachineError(
        "No Chromium can be driven here, and the panel is measured in one.",
        finding="BROWSER",
        why=why,
        do="`lab setup --for-tests` gets it",
    )
