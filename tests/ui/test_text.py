"""The plain text of verdicts, tables and the learner's way."""

from __future__ import annotations

import pytest

from lab_helpers.course.verdict import CriterionResult, Evidence, Outcome, Verdict
from lab_helpers.ui.board import Board, LabRow, TaskRow
from lab_helpers.ui.listing import list_lines, status_lines, table
from lab_helpers.ui.text import harmless, plain, prediction_text, verdict_text

MET = Evidence(criterion="there", ok=True, looked="hello.txt", expected="a file", saw="a file", command="ls")
UNMET = Evidence(
    criterion="text", ok=False, looked="its text", expected="a name", saw="", command="cat hello.txt", state="empty"
)
CRITERIA = (
    CriterionResult(id="there", text="there is a file", points=1, evidence=MET),
    CriterionResult(id="text", text="it has a name", points=2, evidence=UNMET),
    CriterionResult(id="more", text="and more", points=1),
)


def verdict(outcome: Outcome, *criteria: CriterionResult, reason: str = "", seconds: float = 0) -> Verdict:
    return Verdict(lab="00-toy", task="file", outcome=outcome, criteria=criteria, reason=reason, seconds=seconds)


def test_not_yet_says_what_was_looked_at_expected_and_seen() -> None:
    text = verdict_text(verdict(Outcome.NOT_YET, *CRITERIA), ("Write your name.",), more="lab hint 00-toy file")
    assert text == (
        "✘ NOT YET · 00-toy file, 1 of 4 points\n"
        "  ✔ there is a file (1 point)\n"
        "    saw:           a file\n"
        "  ✘ it has a name (2 points)\n"
        "    looked at:     its text\n"
        "    expected:      a name\n"
        "    look yourself: cat hello.txt\n"
        "  · and more (1 point): not looked at yet\n"
        "  Hint: Write your name.\n"
        "  Another hint: lab hint 00-toy file"
    )


def test_passed_is_short() -> None:
    text = verdict_text(verdict(Outcome.PASSED, CRITERIA[0]))
    assert text == "✔ PASSED · 00-toy file, 1 of 1 point\n  ✔ there is a file (1 point)\n    saw:           a file"


@pytest.mark.parametrize(("outcome", "word"), [(Outcome.BLOCKED, "this machine"), (Outcome.BROKEN, "not you")])
def test_trouble_is_never_the_learner_s(outcome: Outcome, word: str) -> None:
    lines = verdict_text(verdict(outcome, CRITERIA[2], reason="No tool.\nWhat to do: install it")).splitlines()
    assert word in lines[0]
    assert lines[1:3] == ["  No tool.", "  What to do: install it"]


def test_the_text_is_the_same_however_long_the_check_took() -> None:
    assert verdict_text(verdict(Outcome.NOT_YET, *CRITERIA, seconds=0.1)) == verdict_text(
        verdict(Outcome.NOT_YET, *CRITERIA, seconds=9.9)
    )


def test_evidence_cannot_forge_a_line_or_move_the_cursor() -> None:
    hostile = Evidence(
        criterion="there", ok=False, looked="a\x1b[2Jb", expected="x", saw="first\n✔ PASSED\rmore\x07", state="odd"
    )
    text = verdict_text(verdict(Outcome.NOT_YET, CriterionResult(id="there", text="t", points=1, evidence=hostile)))
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "\r" not in text
    assert not any(line.startswith("✔") for line in text.splitlines())


def test_harmless_cuts_what_is_too_long_and_says_so() -> None:
    assert harmless("x" * 30, limit=10) == "xxxxxxxxxx … (20 more characters)"
    assert harmless("tab\there") == "tab here"
    assert harmless("\udc80") == "\\xdc80"


def test_a_prediction_shows_what_was_locked() -> None:
    assert "(your prediction)" not in prediction_text(("yes", "no"), None)
    assert prediction_text(("yes", "no"), "no").splitlines()[1:] == ["  ○ yes", "  ◉ no (your prediction)"]
    assert prediction_text(("yes", "no"), "maybe").splitlines()[-1] == "  ◉ maybe (your prediction)"


def test_columns_line_up() -> None:
    lines = plain(table(("a", "long head"), [("", ("longer", "x")), ("", ("b", "y"))])).splitlines()
    assert lines == ["a       long head", "longer  x", "b       y"]


def lab(name: str, *passed: bool, opened: bool = False) -> LabRow:
    tasks = tuple(
        TaskRow(id=f"t{number}", title="Do it", passed=done, best=2 if done else 0, total=2, tries=3, hints=0)
        for number, done in enumerate(passed)
    )
    return LabRow(
        name=name,
        title=name.title(),
        minutes=10,
        memory_mib=1536,
        disk_mib=0,
        opened=opened,
        passed=sum(passed),
        points=2 * sum(passed),
        total=2 * len(passed),
        tasks=tasks,
    )


def test_status_leads_to_the_next_task() -> None:
    board = Board(labs=(lab("00-a", True, opened=True), lab("01-b", True, False, opened=True), lab("02-c", False)))
    text = plain(status_lines(board))
    assert "2 of 4 tasks, 4 of 8 points" in text
    assert "t1: Do it (0 of 2 points, 3 tries)" in text
    assert text.splitlines()[-1].startswith("Next: lab check 01-b t1")
    assert "Next: lab open 00-a" in plain(status_lines(Board(labs=(lab("00-a", False),))))
    assert "All done" in plain(status_lines(Board(labs=(lab("00-a", True),))))


def test_the_list_names_what_a_lab_needs() -> None:
    assert plain(list_lines(Board(labs=(lab("00-a", False),)))).splitlines()[1].endswith("1.5 GiB memory")
