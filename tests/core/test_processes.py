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
from lab_helpers.core.processes import (
    ProcessId,
    find_program,
    need_program,
    pasteable,
    run,
    run_session,
    start_detached,
)
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


def test_end_waits_until_a_killed_one_is_gone(tmp_path: Path) -> None:
    process, popen = start_detached(["sleep", "60"], log=tmp_path / "log")
    os.kill(process.pid, signal.SIGSTOP)  # SIGTERM waits until it goes on, which it never does
    process.end(grace_s=0)
    assert not process.alive()
    assert popen.wait(5) == -signal.SIGKILL


# -- sessions that end with us

SESSION = """
import sys
from pathlib import Path
from lab_helpers.core.processes import run_session
script, log, grace_s = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
exec(sys.argv[4] if len(sys.argv) > 4 else "")
print(run_session(["sh", "-c", script], log=log, tick=lambda: None, grace_s=grace_s))
"""
# Two generations, told by their pids; the younger one hears nothing of SIGTERM.
FAMILY = "sh -c \"trap '' TERM; echo young $$; while :; do sleep 0.05; done\" & echo old $$; wait"


def begin(tmp_path: Path, script: str, *more: str, grace_s: float = 5) -> tuple[subprocess.Popen[str], Path]:
    """A process with Ctrl-C's usual meaning, whoever started the tests, that runs `script` in a session."""
    log = tmp_path / "log"
    starter = subprocess.Popen(
        [sys.executable, "-c", SESSION, script, str(log), str(grace_s), *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509 - one thread
    )
    return starter, log


def family(log: Path) -> list[ProcessId]:
    """The processes of FAMILY, once all run."""

    def told() -> list[ProcessId]:
        pids = [int(line.split()[1]) for line in log.read_text().splitlines()] if log.exists() else []
        return [ProcessId(pid, psutil.Process(pid).create_time()) for pid in pids] if len(pids) == 2 else []

    return wait_for(lambda: told() or None, "the session's processes", timeout_s=60)


def test_a_session_runs_to_its_end_and_says_how(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = run_session(["sh", "-c", "cat; exit 3"], stdin="grüße", log=log, tick=lambda: None)
    assert (code, log.read_text()) == (3, "grüße")


def test_what_a_session_leaves_behind_ends_with_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert run_session(["sh", "-c", "sleep 60 & echo $!"], log=log, tick=lambda: None) == 0
    left = int(log.read_text())
    wait_for(lambda: not ProcessId(left, created(left)).alive(), "it to be gone", timeout_s=10)


def created(pid: int) -> float:
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return 0.0


def test_ctrl_c_ends_the_whole_session(tmp_path: Path) -> None:
    starter, log = begin(tmp_path, FAMILY, grace_s=0.5)
    members = family(log)
    starter.send_signal(signal.SIGINT)
    out, err = starter.communicate(timeout=60)
    assert (starter.returncode, out) == (-signal.SIGINT, "")
    assert "KeyboardInterrupt" in err
    assert not [each for each in members if each.alive()]


def test_another_ctrl_c_does_not_wait(tmp_path: Path) -> None:
    starter, log = begin(tmp_path, FAMILY, grace_s=600)
    members = family(log)
    starter.send_signal(signal.SIGINT)
    wait_for(lambda: not members[0].alive() or not members[1].alive(), "the obedient one to end", timeout_s=60)
    starter.send_signal(signal.SIGINT)
    starter.communicate(timeout=60)
    assert not [each for each in members if each.alive()]


def test_ctrl_c_during_the_start_leaves_nothing_running(tmp_path: Path) -> None:
    """It comes when the program runs already and nobody has its pid yet."""
    early = (
        "import os, signal, subprocess\n"
        "class Popen(subprocess.Popen):\n"
        "    def __init__(self, *words, **more):\n"
        "        super().__init__(*words, **more)\n"
        "        print(self.pid, flush=True)\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "subprocess.Popen = Popen\n"
    )
    for more in ("", "from lab_helpers.core import processes as p\np.start_detached(['sleep', '60'], log=log)\n"):
        starter, _ = begin(tmp_path, "sleep 60", early + more)
        out, _ = starter.communicate(timeout=60)
        assert starter.returncode == -signal.SIGINT
        [pid] = out.split()
        assert not psutil.pid_exists(int(pid))


def test_what_goes_wrong_meanwhile_ends_the_session_too(tmp_path: Path) -> None:
    log = tmp_path / "log"
    seen: list[ProcessId] = []

    def tick() -> None:
        seen.extend(family(log))
        raise OSError("nobody listens")

    with pytest.raises(OSError, match="nobody listens"):
        run_session(["sh", "-c", FAMILY], log=log, tick=tick, grace_s=0.2)
    assert len(seen) == 2
    assert not [each for each in seen if each.alive()]
