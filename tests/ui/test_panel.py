"""The notebook's panels, with the real ipywidgets and a real lab, but without a browser."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from lab_helpers.core.settings import CHECKOUT, Place
from lab_helpers.core.waiting import wait_for
from lab_helpers.course.engine import load_lab
from lab_helpers.course.verdict import CriterionResult, Evidence, Outcome, Verdict
from lab_helpers.ui.checks import Answer, ask_check
from lab_helpers.ui.panel import VerdictPanel
from lab_helpers.ui.panel_html import cell_source, verdict_html
from lab_helpers.ui.watched import follow

LAB = "00-start"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "work" / LAB / "desk").mkdir(parents=True)
    return Place(root=CHECKOUT, home=tmp_path / "home", state=tmp_path, work=tmp_path / "work")


def test_what_comes_from_outside_is_escaped() -> None:
    hostile = Evidence(
        criterion="c",
        ok=False,
        looked="<img src=x>",
        expected="a & b",
        saw="<script>alert(1)</script>",
        command="cat '<x>'",
    )
    verdict = Verdict(
        lab=LAB,
        task="t",
        outcome=Outcome.NOT_YET,
        criteria=(CriterionResult(id="c", text="no <b>bold</b>", points=1, evidence=hostile),),
        reason="see `lab <doctor>`",
    )
    html = verdict_html(Answer(verdict, ("<i>hint</i>",), 1), "<u>title</u>")
    for raw in ("<img", "<script", "<b>bold", "<i>", "<u>", "'<x>'"):
        assert raw not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "<code>lab &lt;doctor&gt;</code>" in html


def test_the_first_unmet_criterion_is_unfolded_and_no_other() -> None:
    def criterion(name: str, ok: bool) -> CriterionResult:
        evidence = Evidence(criterion=name, ok=ok, looked="l", expected="e", saw="s")
        return CriterionResult(id=name, text=name, points=1, evidence=evidence)

    criteria = (criterion("one", True), criterion("two", False), criterion("three", False))
    html = verdict_html(Answer(Verdict(lab=LAB, task="t", outcome=Outcome.NOT_YET, criteria=criteria)), "t")
    assert html.count("<details") == 3
    assert html.count("<details open") == 1
    assert "two" in html.split("<details open")[1].split("</details>")[0]


def test_a_check_can_be_asked_again_and_for_hints(place: Place) -> None:
    lab = load_lab(place, LAB)
    panel = VerdictPanel(place, lab, ask_check(place, lab, "first-check"))
    body, buttons = panel.widget.children
    hint, again, _ = buttons.children
    assert "NOT YET" in body.value
    assert body.value.count('class="hint"') == panel.text.count("Hint:") == 1

    hint.click()
    assert body.value.count('class="hint"') == panel.text.count("Hint:") == 2

    (place.work / LAB / "desk" / "hello.txt").write_text("Ada\n")
    again.click()
    assert "PASSED" in body.value
    assert panel.text.startswith("✔ PASSED")
    assert panel.text.endswith("Lab 00: 1 of 2 tasks, 2 of 5 points; next: machine")
    assert "Lab 00: 1 of 2 tasks, 2 of 5 points; next: machine" in body.value
    assert hint.layout.display == "none"
    assert not again.disabled


def test_the_solution_is_for_who_has_tried(place: Place) -> None:
    lab = load_lab(place, LAB)
    panel = VerdictPanel(place, lab, ask_check(place, lab, "first-check"))
    body, buttons = panel.widget.children
    hint, again, _ = buttons.children
    hint.click()
    assert hint.layout.display == "none", "every hint is shown, and one check is not yet a try"
    assert "who has tried twice can see the solution" in panel.text
    again.click()
    assert (hint.layout.display, hint.description) == ("", "Show the solution of this step")
    assert panel.text.count("Hint:") == 2, "what was shown stays"
    assert 'class="solution"' not in body.value

    hint.click()
    assert 'class="solution"' in body.value
    assert "desk/hello.txt" in panel.text.split("The solution of this step:")[1]
    again.click()
    assert 'class="solution"' in body.value, "a check does not take it away"
    hint.click()
    assert 'class="solution"' not in body.value
    assert hint.description == "Show the solution of this step"


def test_a_bug_in_a_check_says_how_to_report_it(place: Place) -> None:
    log = place.state / "logs" / "broken-1.txt"
    verdict = Verdict(
        lab=LAB, task="t", outcome=Outcome.BROKEN, reason=f"Please report it with the file {log}.", report=f"cat {log}"
    )
    html = verdict_html(Answer(verdict), "t")
    assert "BROKEN: our check failed, not you" in html
    assert f"<code>!cat {log}</code>" in html
    assert "Traceback" not in html


@pytest.mark.parametrize(
    ("command", "source"),
    [
        ("docker ps", "!docker ps"),
        ("docker inspect -f '{{.State.Pid}}' box", "%%bash\ndocker inspect -f '{{.State.Pid}}' box"),
        ("false; echo $?", "%%bash\nfalse; echo $?"),
        ("one\ntwo", "%%bash\none\ntwo"),
    ],
)
def test_a_command_is_shown_as_a_cell_takes_it(command: str, source: str) -> None:
    assert cell_source(command) == source


def test_each_look_of_the_learner_is_announced_and_one_of_a_watch_only_when_it_is_new(place: Place) -> None:
    lab = load_lab(place, LAB)
    panel = VerdictPanel(place, lab, ask_check(place, lab, "first-check"))
    body = panel.widget.children[0]
    first = body.value
    panel.ask(ask_check, asked=False)
    assert body.value == first
    (place.work / LAB / "desk" / "hello.txt").touch()
    panel.ask(ask_check, asked=False)
    second = body.value
    assert 'data-say="NOT YET: Put your name on your desk. 1 of 2 points.' in second
    wait_for(lambda: time.time() * 1000 > panel.at_ms + 1, "a millisecond to pass", timeout_s=5)
    panel.ask(ask_check)
    assert body.value != second


def test_trouble_behind_a_click_shows_in_the_panel(place: Place) -> None:
    lab = load_lab(place, LAB)
    panel = VerdictPanel(place, lab, ask_check(place, lab, "first-check"))
    place.progress.unlink()
    place.progress.mkdir()  # nothing can be stored there
    body, buttons = panel.widget.children
    buttons.children[1].click()
    assert "progress cannot be stored" in body.value
    assert "progress cannot be stored" in panel.text
    assert "Traceback" not in body.value


def test_a_watched_task_is_looked_at_again_by_itself_until_it_passes(place: Place) -> None:
    lab = load_lab(place, LAB)
    panel = VerdictPanel(place, lab, ask_check(place, lab, "first-check"))
    stop_button = panel.widget.children[1].children[2]
    assert stop_button.layout.display == "none"
    thread = follow(place, lab, panel)
    assert stop_button.layout.display == ""
    (place.work / LAB / "desk" / "hello.txt").write_text("Ada\n")
    thread.join(30)
    assert "PASSED" in panel.text
    assert stop_button.layout.display == "none"


def test_a_watch_is_stopped_by_its_button_and_by_a_newer_one(place: Place) -> None:
    lab = load_lab(place, LAB)
    panel = VerdictPanel(place, lab, ask_check(place, lab, "first-check"))
    older, newer = follow(place, lab, panel), follow(place, lab, panel)
    older.join(30)
    assert newer.is_alive()
    assert panel.widget.children[1].children[2].layout.display == ""
    panel.widget.children[1].children[2].click()
    newer.join(30)
    assert not newer.is_alive()
    assert "NOT YET" in panel.text


def test_a_bug_behind_a_click_is_broken_and_says_how_to_report_it(place: Place) -> None:
    lab = load_lab(place, LAB)
    panel = VerdictPanel(place, lab, ask_check(place, lab, "first-check"))

    def bug(*_: object) -> Answer:
        raise ZeroDivisionError("a bug on purpose")

    assert panel.ask(bug) is None
    shown = panel.widget.children[0].value
    assert "BROKEN" in shown
    assert "report it with the file" in shown
    assert "Traceback" not in shown
