"""The verdict panel in a real Chromium: copying, the keyboard, a screen reader, a narrow window, both themes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module, resources
from typing import TYPE_CHECKING, Any

import pytest

from lab_helpers.core.settings import Place
from tests.browser.conftest import Notebook, keep_picture, set_theme, wait_said

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

pytestmark = pytest.mark.browser

TASK = "first-check"
Open = Callable[..., Notebook]
SOLUTION = "Show the solution of this step"


def starter(notebook: Notebook) -> Locator:
    return notebook.page.locator(".jp-CodeCell").filter(has_text="# Your turn").last


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.textContent")).strip()


def wait_for_focus(page: Page, text: str) -> None:
    page.wait_for_function("text => document.activeElement.textContent.trim() === text", arg=text)


def get_solution(notebook: Notebook) -> Locator:
    """Try twice, read every hint, and fold the solution out; returns the panel."""
    panel = notebook.check(TASK, "NOT YET")
    notebook.button(TASK, "Another hint").click()
    panel.locator(".hint").nth(1).wait_for()
    notebook.button(TASK, "Check again").click()
    notebook.button(TASK, SOLUTION).click()
    panel.locator(".solution").wait_for()
    return panel


def test_a_command_is_copied_and_runs_in_a_cell(open_notebook: Open) -> None:
    notebook = open_notebook()
    page = notebook.page
    panel = notebook.check(TASK, "NOT YET")
    panel.locator(".copy").focus()
    page.keyboard.press("Enter")
    notebook.wait_said(TASK, "Copied")
    assert page.evaluate("navigator.clipboard.readText()") == "!ls -l desk"
    assert focused(page) == "Copied", "the focus stays on the button"

    page.evaluate("navigator.clipboard.writeText('something else')")
    page.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(new Error('not allowed')); }")
    page.keyboard.press("Space")
    page.wait_for_function("navigator.clipboard.readText().then(text => text === '!ls -l desk')")
    page.wait_for_function("document.activeElement.classList.contains('copy')")

    cell = starter(notebook)
    cell.locator(".cm-content").click()
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.press("ControlOrMeta+V")
    page.keyboard.press("Shift+Enter")
    page.locator(".jp-OutputArea").get_by_text("README.txt").first.wait_for()


def test_hints_and_the_solution_by_keyboard_alone(open_notebook: Open) -> None:
    notebook = open_notebook()
    page = notebook.page
    panel = notebook.check(TASK, "NOT YET")
    notebook.wait_said(TASK, "NOT YET: Put your name on your desk. 0 of 2 points. Hint 1 of 2")
    assert notebook.button(TASK, SOLUTION).count() == 0

    notebook.button(TASK, "Another hint").focus()
    page.keyboard.press("Enter")
    notebook.wait_said(TASK, "Hint 2 of 2")
    wait_for_focus(page, "Check again")  # there is no further hint, and the button is gone
    assert notebook.button(TASK, SOLUTION).count() == 0, "one check is not yet a try"
    panel.get_by_text("who has tried twice").wait_for()

    page.keyboard.press("Enter")
    notebook.button(TASK, SOLUTION).wait_for()
    assert focused(page) == "Check again"
    assert panel.locator(".hint").count() == 2, "what was shown stays"

    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Space")
    panel.locator(".solution").wait_for()
    wait_for_focus(page, "Hide the solution")
    assert "hello.txt" in str(panel.locator(".solution code").first.text_content())
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    notebook.wait_said(TASK, "Copied")
    assert "hello.txt" in page.evaluate("navigator.clipboard.readText()")

    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    panel.locator(".solution").wait_for(state="detached")
    wait_for_focus(page, SOLUTION)


def test_a_redrawn_panel_keeps_the_focus_and_the_folds_and_is_announced_once(open_notebook: Open, place: Place) -> None:
    notebook = open_notebook()
    page = notebook.page
    cell = starter(notebook)
    notebook.type_and_run(cell, f'watch("{TASK}")')
    watched = page.locator(".jp-CodeCell").filter(has_text=f'watch("{TASK}")').last
    wait_said(watched, "0 of 2 points")
    page.evaluate("""() => {
        window.heard = [];
        const note = region => { if (region.textContent) window.heard.push(region.textContent); };
        for (const region of document.querySelectorAll(".lab-say"))
            new MutationObserver(() => note(region)).observe(region, {childList: true});
    }""")
    summary = watched.locator("summary[data-key=file]")
    summary.focus()
    page.keyboard.press("Enter")
    watched.locator("details:not([open]) > summary[data-key=file]").wait_for()

    (place.work / "00-start" / "desk" / "hello.txt").touch()
    watched.locator(".head", has_text="1 of 2 points").wait_for()
    page.wait_for_function("document.activeElement.dataset.key === 'file'")
    watched.locator("summary[data-key=name]").click()
    watched.locator("details:not([open]) > summary[data-key=name]").wait_for()
    drawn_at = watched.locator(".lab-panel").get_attribute("data-at")
    watched.get_by_role("button", name="Check again").click()
    watched.locator(f".lab-panel:not([data-at='{drawn_at}'])").wait_for()
    watched.locator("details:not([open]) > summary[data-key=name]").wait_for()
    (place.work / "00-start" / "desk" / "hello.txt").write_text("Ada\n")
    wait_said(watched, "PASSED")
    heard = page.evaluate("window.heard")
    assert len([text for text in heard if "PASSED" in text]) == 1


def test_nothing_is_cut_in_a_narrow_window(open_notebook: Open) -> None:
    notebook = open_notebook(width=420)
    notebook.fold_sidebar()
    panel = get_solution(notebook)
    panel.evaluate("panel => panel.querySelectorAll('details').forEach(each => { each.open = true; })")
    box = notebook.check_cell(TASK).locator(".lab-verdict")
    look(notebook, "narrow")
    cut = box.evaluate("""box => [box, ...box.querySelectorAll("*")]
        .filter(each => !each.closest(".unheard, .lab-say") && each.getClientRects().length)
        .filter(each => {
            const { left, right } = each.getBoundingClientRect(), scrolls = each.scrollWidth > each.clientWidth + 1;
            return left < 0 || right > innerWidth || (scrolls && getComputedStyle(each).display !== "inline");
        }).map(each => each.outerHTML.slice(0, 120))""")
    assert cut == []


@pytest.fixture
def theme(request: pytest.FixtureRequest, place: Place) -> Iterator[str]:
    set_theme(place, request.param)
    yield request.param
    set_theme(place, "JupyterLab Light")


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"], indirect=True)
def test_axe_finds_nothing_serious(open_notebook: Open, place: Place, theme: str) -> None:
    notebook = open_notebook()
    page = notebook.page
    assert page.evaluate("document.body.dataset.jpThemeName") == theme
    panel = get_solution(notebook)
    panel.evaluate("panel => panel.querySelectorAll('details').forEach(each => { each.open = true; })")
    look(notebook, theme.rsplit(maxsplit=1)[-1].lower())
    assert serious(axe(page)) == []
    box = notebook.check_cell(TASK).locator(".lab-verdict")
    assert box.evaluate(TOO_FAINT) == []

    (place.work / "00-start" / "desk" / "hello.txt").write_text("Ada\n")
    notebook.button(TASK, "Check again").click()
    notebook.panel(TASK, "PASSED")
    look(notebook, theme.rsplit(maxsplit=1)[-1].lower() + "-passed")
    assert serious(axe(page)) == []
    assert box.evaluate(TOO_FAINT) == []


TOO_FAINT = """box => {
    const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    const over = (layers) => {  // the colours one upon the other, as the screen shows them
        canvas.fillStyle = "white";
        canvas.fillRect(0, 0, 1, 1);
        for (const layer of layers) { canvas.fillStyle = layer; canvas.fillRect(0, 0, 1, 1); }
        return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3);
    };
    const light = rgb => rgb.map(value => value / 255)
        .map(value => value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4)
        .reduce((sum, value, index) => sum + value * [0.2126, 0.7152, 0.0722][index], 0);
    const faint = [], walker = document.createTreeWalker(box, NodeFilter.SHOW_TEXT);
    let seen = 0;
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement;
        if (!walker.currentNode.textContent.trim() || element.closest("style, .unheard, .lab-say")) continue;
        const below = [];
        for (let each = element; each; each = each.parentElement) below.unshift(getComputedStyle(each).backgroundColor);
        const [a, b] = [over(below), over([...below, getComputedStyle(element).color])].map(light);
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        seen += 1;
        if (ratio < 4.5) faint.push(`${element.textContent}: ${ratio}`);
    }
    return seen > 8 ? faint : ["only " + seen + " texts were found"];
}"""
"""The texts whose contrast with what they stand on is below 4.5 : 1. (axe-core cannot tell it of mixed colours.)"""


def axe(page: Page) -> dict[str, Any]:
    """What axe-core says of what we render: our panels, and the buttons under them."""
    script = resources.files(import_module("axe_playwright_python")) / "axe.min.js"
    page.evaluate(script.read_text(encoding="utf-8"))
    found = page.evaluate(
        "axe.run({include: [['.lab-verdict']]}, {resultTypes: ['violations', 'incomplete', 'passes']})"
    )
    assert isinstance(found, dict)
    return found


def serious(results: dict[str, Any]) -> list[str]:
    return [
        f"{rule['id']}: {node['html'][:200]}: {node['failureSummary']}"
        for rule in results["violations"]
        if rule["impact"] in ("serious", "critical")
        for node in rule["nodes"]
    ]


def look(notebook: Notebook, name: str) -> None:
    notebook.check_cell(TASK).locator(".lab-verdict").evaluate("box => box.scrollIntoView({block: 'center'})")
    keep_picture(notebook.page, name)
