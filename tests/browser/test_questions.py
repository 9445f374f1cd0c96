"""A recall question and a prediction in a real Chromium, by the keyboard alone and in a narrow window."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lab_helpers.core.settings import Place
from lab_helpers.course.progress import read
from tests.browser.conftest import Notebook

pytestmark = pytest.mark.browser

CUT_OFF = "labels => labels.filter(label => label.scrollWidth > label.clientWidth + 1).map(label => label.textContent)"


def test_a_question_is_answered_by_keyboard_and_compared(open_notebook: Callable[..., Notebook], place: Place) -> None:
    notebook = open_notebook("01", width=640)
    page = notebook.page
    recall = notebook.cell('recall("cd")')
    notebook.run(recall)
    choice = recall.get_by_role("radio", name="in desk", exact=True)
    choice.focus()
    page.keyboard.press("Space")
    recall.get_by_role("button", name="This is my answer").first.focus()
    page.keyboard.press("Enter")
    recall.locator(".lab-panel", has_text="Not this time").wait_for()
    assert recall.get_by_role("heading", name="What does a check look at?").is_visible()
    assert recall.locator(".widget-radio-box label").evaluate_all(CUT_OFF) == []

    predict = notebook.cell('predict("memtotal")')
    notebook.run(predict)
    predict.get_by_role("radio", name="less than 512 MiB").check()
    predict.get_by_role("button", name="Lock my prediction").click()
    predict.locator(".lab-panel", has_text="less than 512 MiB (your prediction)").wait_for()
    assert read(place).lab("01-virtual-machine").predictions == {"cd": "in desk", "memtotal": "less than 512 MiB"}

    compare = notebook.cell('compare("memtotal")')
    notebook.run(compare)
    compare.locator(".lab-panel", has_text="Just as you thought").wait_for()
