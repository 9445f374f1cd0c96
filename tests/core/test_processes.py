"""Running programs: output, failures, endings, and what outlives us."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from lab_helpers.core.errors import MachineError, ToolError
from lab_helpers.core.processes import ProcessId, find_program, need_program, pasteable, run, start_detached
from lab_helpers.core.waiting import wait_for


def test_output_and_code_come_back_apart() -> None:
    done = run(["sh", "-c", "echo out; echo err >&2; exit 3"], check=False)
    assert (done.out, done.err, done.code, done.ok) == ("out\n", "err\n", 3, False)


def test_input_arrives_and_no_input_is_an_end_of_file() -> None:
    assert run(["cat"], stdin="grüße").out == "grüße"
    assert run(["cat"]).out == ""


def test_a_failure_carries_a_command_that_can_be_pasted() -> None:
    argv = ["sh", "-c", "echo no such luck >&2; exit 4", "two words"]
    with pytest.raises(ToolError) as caught:
        run(argv)
    error = caught.value
    assert error.code == 4
    assert "no such luck" in str(error)
    pasted = subprocess.run(error.command, shell=True, capture_output=True, text=True, check=False)  # noqa: S602 - the point
    assert (pasted.returncode, pasted.stderr) == (4, "no such luck\n")


def test_a_program_that_is_not_there_is_a_tool_error() -> None:
    with pytest.raises(ToolError, match="could not be started"):
        run(["/no/such/program"])


def test_a_program_that_takes_too_long_is_killed() -> None:
    with pytest.raises(ToolError, match="did not finish within 0 s"):
        run(["sleep", "30"], timeout_s=0.3)


def test_output_that_is_no_text_does_no_harm() -> None:
    assert run(["printf", r"\377ok"]).out.endswith("ok")


def test_a_missing_program_is_the_machines_trouble() -> None:
    assert find_program("no-such-program-anywhere") is None
    with pytest.raises(MachineError) as caught:
        need_program("no-such-program-anywhere", "SOME-ID")
    assert caught.value.finding == "SOME-ID"


def test_pasteable_quotes_what_needs_it() -> None:
    assert pasteable(["echo", "two words", Path("/a b")]) == "echo 'two words' '/a b'"


def test_a_process_is_told_from_another_one_with_its_number() -> None:
    me = ProcessId(os.getpid(), psutil.Process().create_time())
    assert me.alive()
    assert not ProcessId(me.pid, me.started - 100).alive()


def test_end_stops_also_what_ignores_sigterm(tmp_path: Path) -> None:
    script = "import signal as s, time; s.signal(s.SIGTERM, s.SIG_IGN); print('up', flush=True); time.sleep(60)"
    process, popen = start_detached([sys.executable, "-c", script], log=tmp_path / "log")
    wait_for(lambda: "up" in (tmp_path / "log").read_text(), "the process to be up", timeout_s=10)
    process.end(grace_s=0.3)
    assert not process.alive()
    process.end()
    assert popen.wait(5) == -signal.SIGKILL


def test_what_is_started_detached_outlives_its_starter(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from lab_helpers.core.processes import start_detached\n"
        "process, _ = start_detached(['sleep', '60'], log=Path(sys.argv[1]))\n"
        "print(process.pid, process.started, flush=True)\nsys.stdin.read()"
    )
    starter = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "log")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert starter.stdout
    pid, started = starter.stdout.readline().split()
    os.kill(starter.pid, signal.SIGKILL)
    starter.communicate()
    orphan = ProcessId(int(pid), float(started))
    assert orphan.alive()
    orphan.end()
    assert not orphan.alive()
