"""Running programs: argument lists only, output captured, errors that can be pasted into a terminal."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from lab_helpers.core.errors import MachineError, ToolError, WaitTimeoutError
from lab_helpers.core.settings import WRAPPERS
from lab_helpers.core.waiting import wait_for


@dataclass(frozen=True)
class Completed:
    """How a program ended: its exit code and what it said."""

    argv: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def ok(self) -> bool:
        return self.code == 0


def pasteable(argv: Sequence[str | Path]) -> str:
    """The command as a line for a POSIX shell."""
    return shlex.join(str(word) for word in argv)


def find_program(name: str) -> Path | None:
    """The program's path: from PATH, or from the sbin folders that a user's PATH often lacks.

    The course's own wrappers, of whichever checkout, are passed over: the real program is meant.
    """
    parts = [part for part in os.environ.get("PATH", "").split(os.pathsep) if part and Path(part).name != WRAPPERS]
    found = shutil.which(name, path=os.pathsep.join(parts)) or shutil.which(
        name, path="/usr/local/sbin:/usr/sbin:/sbin"
    )
    return Path(found) if found else None


def need_program(name: str, finding: str) -> Path:
    """Like find_program, but a missing one is the machine's trouble: MachineError with the doctor's `finding`."""
    found = find_program(name)
    if found is None:
        raise MachineError(f"The program `{name}` is not on this machine.", finding=finding)
    return found


def run(
    argv: Sequence[str | Path],
    *,
    stdin: str | None = None,
    timeout_s: float | None = 60,
    check: bool = True,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Completed:
    """Run a program to its end. `env` is added to the environment.

    Raises ToolError when it cannot be started, does not end within `timeout_s` seconds (it is killed), or, with
    `check`, exits with another code than 0.
    """
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            env={**os.environ, **env} if env else None,
            cwd=cwd,
            check=False,
        )
    except FileNotFoundError as error:
        raise ToolError(f"`{words[0]}` could not be started.", command=pasteable(words), output=str(error)) from None
    except subprocess.TimeoutExpired as error:
        said = error.stderr or error.stdout or b""
        text = said.decode(errors="replace") if isinstance(said, bytes) else said
        raise ToolError(
            f"`{words[0]}` did not finish within {timeout_s:.0f} s.", command=pasteable(words), output=text
        ) from None
    completed = Completed(tuple(words), done.returncode, done.stdout, done.stderr)
    if check and not completed.ok:
        raise ToolError(
            f"`{words[0]}` failed with exit code {done.returncode}.",
            command=pasteable(words),
            output=done.stderr or done.stdout,
            code=done.returncode,
        )
    return completed


@dataclass(frozen=True)
class ProcessId:
    """A process that is meant for certain: a pid alone may be given to another process later."""

    pid: int
    started: float

    def alive(self) -> bool:
        """True while this very process runs (a zombie does not)."""
        return self._process() is not None

    def _process(self) -> psutil.Process | None:
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < 0.05
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.Error:
            return None

    def end(self, *, grace_s: float = 5) -> None:
        """SIGTERM, and after `grace_s` seconds SIGKILL; returns when it is gone. Gone already is fine."""
        process = self._process()
        if process is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGTERM)
            if not self._ended_within(grace_s):
                process.kill()
                self._ended_within(grace_s)

    def _ended_within(self, seconds: float) -> bool:
        """Wait for its end. A zombie has ended: in a container nobody may be there to bury it for some seconds."""
        try:
            return wait_for(lambda: not self.alive(), f"process {self.pid} to end", timeout_s=seconds)
        except WaitTimeoutError:
            return False


def start_detached(
    argv: Sequence[str | Path], *, log: Path, env: Mapping[str, str] | None = None, cwd: Path | None = None
) -> tuple[ProcessId, subprocess.Popen[bytes]]:
    """Start a program that outlives us: a session of its own, so neither Ctrl-C nor the end of a kernel reaches it.

    What it says is appended to `log`. The Popen is for reaping it while we live.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as sink:
        process = subprocess.Popen(
            [str(word) for word in argv],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            close_fds=True,
            env={**os.environ, **env} if env else None,
            cwd=cwd,
        )
    try:
        started = psutil.Process(process.pid).create_time()
    except psutil.Error:
        started = 0.0
    return ProcessId(process.pid, started), process
