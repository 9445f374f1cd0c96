"""The board in a notebook: a table that says what the text says, and that follows the stored progress."""

from __future__ import annotations

import threading
from html.parser import HTMLParser
from pathlib import Path

import pytest

from lab_helpers.core.settings import CHECKOUT, Place
from lab_helpers.core.waiting import wait_for
from lab_helpers.course.engine import load_lab
from lab_helpers.course.progress import record_verdict
from lab_helpers.course.verdict import CriterionResult, Evidence, Outcome, Verdict
from lab_helpers.ui.board import Board, LabRow
from lab_helpers.ui.board_panel import BoardPanel, board_html


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(root=CHECKOUT, home=tmp_path / "home", state=tmp_path / "state", work=tmp_path / "work")


def passed(task: str, points: int) -> Verdict:
    evidence = Evidence(criterion="c", ok=True, looked="l", expected="e", saw="s")
    criterion = CriterionResult(id="c", text="c", points=points, evidence=evidence)
    return Verdict(lab="00-start", task=task, outcome=Outcome.PASSED, criteria=(criterion,))


class Table(HTMLParser):
    """Collects the cells' texts, and what a screen reader needs: a caption, and the scopes of the heads."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.scopes: list[str | None] = []
        self.caption = ""
        self._in = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("td", "th", "caption"):
            self._in = tag
            self.cells += [""] if tag != "caption" else []
            self.scopes += [dict(attrs).get("scope")] if tag == "th" else []

    def handle_endtag(self, tag: str) -> None:
        self._in = "" if tag == self._in else self._in

    def handle_data(self, data: str) -> None:
        if self._in == "caption":
            self.caption += data
        elif self._in:
            self.cells[-1] += data


def test_the_table_says_what_the_text_says(place: Place) -> None:
    panel, minutes = BoardPanel(place), load_lab(place, "00").minutes
    table = Table(panel.widget.value)
    assert panel.text.splitlines()[0] == f"From VM to Kubernetes: {table.caption}"
    assert table.cells[:4] == ["Lab", "Tasks", "Points", "Time"]
    assert table.cells[4:8] == ["▸ 00 Start here (next)", "0 of 2", "0 of 5", f"{minutes} min planned"]
    assert table.scopes[:4] == ["col"] * 4
    assert set(table.scopes[4:]) == {"row"}
    assert panel.text.splitlines()[-1] == "Next: lab open 00-start"
    assert "Next: lab open 00-start" in panel.widget.value


def test_it_follows_a_check_that_passed(place: Place) -> None:
    panel, stop = BoardPanel(place), threading.Event()
    follower = threading.Thread(target=panel.follow, args=(stop, 0.05))
    follower.start()
    try:
        record_verdict(place, passed("machine", 3))
        wait_for(lambda: "1 of 2" in Table(panel.widget.value).cells[5], "the board to follow", timeout_s=60)
        assert "machine: Read the doctor's report (3 of 3 points)" in panel.text
    finally:
        stop.set()
        follower.join(60)
    assert not follower.is_alive()


def test_only_the_newest_board_of_a_kernel_follows(place: Place) -> None:
    first = BoardPanel(place).follow_beside()
    second = BoardPanel(place).follow_beside()
    first.join(60)
    assert (first.is_alive(), second.is_alive()) == (False, True)
    BoardPanel(place).follow_beside()
    second.join(60)
    assert not second.is_alive()


def test_what_a_lesson_calls_itself_is_escaped() -> None:
    row = LabRow(
        name="00-x",
        title="<script>alert(1)</script>",
        minutes=1,
        memory_mib=0,
        disk_mib=0,
        opened=False,
        passed=0,
        points=0,
        total=0,
        tasks=(),
    )
    html = board_html(Board(labs=(row,), running=("the VM <b>",)))
    assert "<script" not in html
    assert "<b>" not in html
