"""`lab watch` on a pseudo-terminal, as a learner sits before it: it reacts to the work, and to single keys."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from tests.toy_cli import Toy


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy.make(tmp_path)


@pytest.fixture
def terminal(toy: Toy) -> Iterator[pexpect.spawn]:
    argv = [os.fsdecode(word) for word in toy.argv("watch", "00")]
    env = {**toy.env(TERM="xterm-256color", NO_COLOR="1"), "COLUMNS": "100"}
    child = pexpect.spawn(argv[0], argv[1:], env=env, timeout=60, encoding="utf-8", dimensions=(50, 100))
    yield child
    child.close(force=True)


def test_it_follows_the_work_and_answers_to_keys(toy: Toy, terminal: pexpect.spawn) -> None:
    terminal.expect_exact("Make a file")
    terminal.expect_exact("h: hint")
    terminal.expect_exact("NOT YET")
    terminal.send("h")
    terminal.expect_exact("echo hello > hello.txt")

    (toy.work / "hello.txt").write_text("hello\n")
    terminal.expect_exact("PASSED")
    terminal.expect_exact("Need a tool")
    terminal.expect_exact("BLOCKED")
    terminal.send("c")
    terminal.expect_exact("BLOCKED")

    (toy.work / "tool").touch()
    terminal.expect_exact("Meet a bug")
    terminal.expect_exact("BROKEN")
    (toy.work / "mended").touch()
    terminal.expect_exact("Every task of 00-toy has passed.")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0


@pytest.mark.parametrize(("key", "code"), [("q", 1), ("\x03", 130)])
def test_it_can_be_left_and_gives_the_terminal_back(terminal: pexpect.spawn, key: str, code: int) -> None:
    terminal.expect_exact("NOT YET")
    terminal.send(key)
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == code


def test_without_a_terminal_it_prints_each_new_verdict(toy: Toy) -> None:
    (toy.work / "hello.txt").write_text("hello\n")
    (toy.work / "tool").touch()
    (toy.work / "mended").touch()
    done = toy.lab("watch", "00")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("PASSED") == 3
    assert "h: hint" not in done.stdout
    assert "\x1b" not in done.stdout
    assert sys.executable not in done.stdout
