"""`lab questions` and `lab passport` as programs: asked on a terminal, told elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import pexpect
import pytest

from lab_helpers.course.passport import Passport
from lab_helpers.course.questions import QuestionsReport
from tests.toy_cli import Toy

TWO = """
[[question]]
id = "one"
ask = "One?"
choices = ["a", "b", "c"]
answer = "b"
because = "It is b."
trap = { choice = "a", because = "It only looks like a." }

[[question]]
id = "two"
ask = "Two?"
choices = ["x", "y", "z"]
answer = "z"
because = "It is z."
trap = { choice = "x", because = "It only looks like x." }
"""


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    toy = Toy.make(tmp_path)
    (tmp_path / "labs" / "questions.toml").write_text(TWO)
    return toy


def asked(toy: Toy, *words: str) -> pexpect.spawn:
    program, *rest = [str(word) for word in toy.argv("questions", *words)]
    env = {**toy.env(TERM="xterm"), "JPY_PARENT_PID": "", "NO_COLOR": "1"}
    return pexpect.spawn(program, rest, env=env, encoding="utf-8", timeout=60, dimensions=(40, 120))


def test_on_a_terminal_it_asks_and_stores_each_answer_at_once(toy: Toy) -> None:
    first = asked(toy)
    first.expect("One\\?")
    first.expect("Your answer")
    first.sendline("9")
    first.expect("Your answer")
    first.sendline("1")
    first.expect("Two\\?")
    first.sendline("q")
    first.expect("questions before: 1 of 2 answered")
    first.expect(pexpect.EOF)
    assert "It is b." not in (first.before or "")
    assert "questions before: 1 of 2 answered" in toy.lab("status").stdout

    after = asked(toy, "after")
    after.expect("Your answer")
    after.sendline("2")
    after.expect("it is: +b")
    after.expect("It only looks like a.")
    after.sendline("")
    after.expect("questions after: 1 of 2 answered")
    after.expect(pexpect.EOF)
    after.close()
    assert after.exitstatus == 0


def test_ctrl_c_keeps_what_was_answered(toy: Toy) -> None:
    first = asked(toy)
    first.expect("Your answer")
    first.sendline("3")
    first.expect("Two\\?.*Your answer")
    first.sendintr()
    first.expect("Stopped. Run it again to go on.")
    first.expect(pexpect.EOF)
    first.close()
    assert first.exitstatus == 130
    report = QuestionsReport.model_validate_json(toy.lab("questions", "--json").stdout)
    assert [question.before for question in report.questions] == ["c", None]


def test_elsewhere_it_tells(toy: Toy) -> None:
    done = toy.lab("questions")
    assert done.returncode == 0
    assert "0 of 2 answered" in done.stdout
    assert "○ c" in done.stdout
    assert "It is b." not in done.stdout + toy.lab("questions", "before", "--json").stdout
    (toy.root / "labs" / "questions.toml").unlink()
    assert toy.lab("questions").returncode == 1
    assert "questions" not in toy.lab("status").stdout


def test_the_passport_of_who_has_not_begun(toy: Toy) -> None:
    done = toy.lab("passport")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "Passport of a pin")
    page = Passport.model_validate(
        {k: v for k, v in json.loads(toy.lab("passport", "--json").stdout).items() if k != "kernels"}
    )
    assert (page.pin, page.stops) == (None, ())
    picture = toy.root / "my passport.svg"
    assert toy.lab("passport", "--picture", str(picture)).returncode == 0
    assert picture.read_text().startswith("<svg")
    refused = toy.lab("passport", "--picture", str(toy.root / "labs" / "questions.toml" / "x.svg"))
    assert refused.returncode == 3
    assert "Traceback" not in refused.stderr
