"""`lab` alone on a pseudo-terminal: the board, and what each key does."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from lab_helpers.core.store import AppendLog
from lab_helpers.core.waiting import wait_for
from tests.toy_cli import Toy

NOTEBOOK = '{"cells": [], "metadata": {}, "nbformat": 4, "nbformat_minor": 5}'


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    toy = Toy.make(tmp_path)
    (toy.root / "labs" / "00-toy" / "lab.ipynb").write_text(NOTEBOOK)
    return toy


@pytest.fixture
def terminal(toy: Toy) -> Iterator[pexpect.spawn]:
    toy.lab("check", "00", "file")  # so that the lab was begun
    AppendLog(toy.state / "progress.jsonl").append({"kind": "opened", "time": 1, "lab": "00-toy"})
    child = start(toy)
    yield child
    child.close(force=True)


def start(toy: Toy, **more: str) -> pexpect.spawn:
    argv = [os.fsdecode(word) for word in toy.argv()]
    env = {**toy.env(TERM="xterm-256color", NO_COLOR="1"), **more}
    return pexpect.spawn(
        argv[0],
        argv[1:],
        env=env,
        timeout=60,
        encoding="utf-8",
        dimensions=(50, 100),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def test_keys_check_hint_list_watch_and_quit(toy: Toy, terminal: pexpect.spawn) -> None:
    keys = "n: next: open it · c: check · h: hint · w: watch · l: list · q: quit"
    terminal.expect_exact("0 of 3 tasks")
    terminal.expect_exact("5 min planned")
    terminal.expect_exact(keys)
    terminal.send("c")
    terminal.expect_exact("NOT YET · 00-toy file")
    terminal.expect_exact(keys)
    terminal.send("h")
    terminal.expect_exact("echo hello > hello.txt")
    terminal.expect_exact(keys)
    terminal.send("l")
    terminal.expect_exact("0.5 GiB memory")
    terminal.expect_exact(keys)
    terminal.send("\x1b[A?")  # an arrow and a key without meaning: nothing happens
    (toy.work / "hello.txt").write_text("hello")
    terminal.send("c")
    terminal.expect_exact("1 of 3 tasks")
    terminal.expect_exact("PASSED · 00-toy file")
    terminal.expect_exact(keys)
    terminal.send("w")
    terminal.expect_exact("Need a tool")
    terminal.expect_exact("BLOCKED")
    terminal.send("q")
    terminal.expect_exact("1 of 3 tasks")
    terminal.expect_exact(keys)
    terminal.send("q")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert (terminal.exitstatus, terminal.signalstatus) == (0, None)


def test_it_follows_what_happens_elsewhere_and_ctrl_c_leaves(toy: Toy, terminal: pexpect.spawn) -> None:
    terminal.expect_exact("q: quit")
    (toy.work / "hello.txt").write_text("hello")
    assert toy.lab("check", "00", "file").returncode == 0
    terminal.expect_exact("1 of 3 tasks")
    terminal.expect_exact("q: quit")
    terminal.sendintr()
    terminal.expect_exact("Stopped.")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 130


def test_ctrl_c_ends_a_check_and_not_the_board(toy: Toy, terminal: pexpect.spawn) -> None:
    for name in ("hello.txt", "tool", "slow"):
        (toy.work / name).write_text("x")
    for task in ("file", "machine"):
        assert toy.lab("check", "00", task).returncode == 0
    terminal.expect_exact("2 of 3 tasks")
    terminal.expect_exact("q: quit")
    terminal.send("c")
    wait_for((toy.work / "began").exists, "the check to begin", timeout_s=60)
    terminal.sendintr()
    terminal.expect_exact("Stopped. The same key goes on.")
    terminal.expect_exact("q: quit")
    terminal.send("\x04")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0


def test_a_simple_terminal_gets_the_plain_status(toy: Toy) -> None:
    child = start(toy, TERM="dumb")
    child.expect(pexpect.EOF)
    assert child.before.replace("\r\n", "\n") == toy.lab("status").stdout
    child.close()
    assert child.exitstatus == 0
