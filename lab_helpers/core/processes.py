"""Running programs: argument lists only, output captured, errors that can be pasted into a terminal."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from lab_helpers.core.errors import MachineError, ToolError, WaitTimeoutError
from lab_helpers.core.settings import WRAPPERS
from lab_helpers.core.waiting import wait_for

KILLED_S = 10
"""How long the kernel may take to clear away a process after SIGKILL, in seconds: it frees its memory first."""
ENDING_S = 5
"""How long a program may clean up after SIGTERM before SIGKILL, in seconds. Most need a tenth of one."""


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
                self._ended_within(KILLED_S)

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

    What it says is appended to `log`. The Popen is for reaping it while we live. Ctrl-C during the start undoes it.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    process = None
    try:
        with _held_interrupt(lambda: None), log.open("ab") as sink:
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
    except KeyboardInterrupt:
        if process:
            _end_session(process, 0)
        raise
    try:
        started = psutil.Process(process.pid).create_time()
    except psutil.Error:
        started = 0.0
    return ProcessId(process.pid, started), process


# -- sessions that end with us ----------------------------------------------------------------------------------------


def run_session(
    argv: Sequence[str | Path],
    *,
    log: Path,
    tick: Callable[[], None],
    started: Callable[[int], None] | None = None,
    stdin: str = "",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
    grace_s: float = ENDING_S,
) -> int:
    """Run a program in a session of its own to its end, and end with it all that it started; returns its exit code.

    What it says goes to `log`. `started` is told its pid, which is its process group's as well; `tick` is called again
    and again while it runs. Ctrl-C, also one that comes while it is being started, and whatever `started` or `tick`
    raise end the whole session: SIGTERM at once, and after `grace_s` seconds or another Ctrl-C SIGKILL.

    Somebody who kills us with SIGKILL leaves it running; it keeps the locks that it inherits through `pass_fds`.
    """
    process: subprocess.Popen[bytes] | None = None
    presses = 0

    def pressed() -> None:
        """Tell the session at once: a notebook's stop button leaves us a fraction of a second to live."""
        nonlocal presses
        presses += 1
        if process is not None:
            _signal_session(process.pid, signal.SIGTERM if presses == 1 and grace_s else signal.SIGKILL)

    with _held_interrupt(pressed), log.open("wb") as sink, tempfile.TemporaryFile() as source:
        source.write(stdin.encode())
        source.seek(0)
        process = subprocess.Popen(
            [str(word) for word in argv],
            stdin=source,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, **env} if env else None,
            cwd=cwd,
            pass_fds=tuple(pass_fds),
        )
        try:
            if started:
                started(process.pid)
            while not presses and process.poll() is None:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.2)
                tick()
        except BaseException:
            _end_session(process, grace_s)
            raise
        _end_session(process, grace_s if presses else 0)
    return process.returncode


def end_session(pid: int) -> None:
    """SIGKILL for all processes of the group that `pid` leads: somebody was killed who had started it."""
    _signal_session(pid, signal.SIGKILL)


def _end_session(process: subprocess.Popen[bytes], grace_s: float) -> None:
    """End what is left of a session, and reap its leader."""

    def gone() -> bool:
        process.poll()
        return not _lives(process.pid)

    if grace_s:
        _signal_session(process.pid, signal.SIGTERM)
        with contextlib.suppress(WaitTimeoutError):
            wait_for(gone, "the session to end", timeout_s=grace_s)
    _signal_session(process.pid, signal.SIGKILL)
    process.wait()
    with contextlib.suppress(WaitTimeoutError):
        wait_for(gone, "the session to be gone", timeout_s=KILLED_S)


def _signal_session(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _lives(group: int) -> bool:
    """True while a process of that group runs. Zombies do not count: in a container nobody may bury them."""
    for pid in psutil.pids():
        with contextlib.suppress(OSError, psutil.Error):
            if os.getpgid(pid) == group and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                return True
    return False


@contextlib.contextmanager
def _held_interrupt(pressed: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C within the block calls `pressed`, and raises KeyboardInterrupt only at the block's end."""
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before in (signal.SIG_IGN, None):
        yield  # Ctrl-C does not come here
        return
    count = 0

    def handler(number: int, frame: object) -> None:
        del number, frame
        nonlocal count
        count += 1
        pressed()

    signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if count:
        raise KeyboardInterrupt
