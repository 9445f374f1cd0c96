"""dockerd on this machine: starting it where nobody else does, ending it, and the runtime that it starts containers by.

It belongs to root and serves the whole machine. What we started is written down under LAB_HOME, with everything that is
needed to start it once more, so that it can be found, ended, and started again after a restart of the machine.
Reference: dockerd(8), https://docs.docker.com/reference/cli/dockerd/ (its file of settings, and reloading that).
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
from pydantic import BaseModel, ConfigDict

from lab_helpers.core.errors import LabError, MachineError, WaitTimeoutError
from lab_helpers.core.events import Progress, Tell, silent
from lab_helpers.core.processes import ProcessId, find_program, need_program, pasteable, run
from lab_helpers.core.settings import Place
from lab_helpers.core.store import locked, write_atomic
from lab_helpers.core.waiting import wait_for
from lab_helpers.tools import apt
from lab_helpers.tools.engine import answers

START_S = 60
"""How long a start may take, in seconds: it answers after one or two, and looks after old containers first."""
STOP_S = 30
"""How long an end may take, in seconds: it gives each container 10 s to end by itself."""
BACKUP = ".before-vm-to-kubernetes"


class Daemon(BaseModel):
    """One dockerd: where it listens, keeps its process number and reads its settings, and its arguments."""

    model_config = ConfigDict(frozen=True)

    socket: Path = Path("/var/run/docker.sock")
    pidfile: Path = Path("/var/run/docker.pid")
    exec_root: Path = Path("/var/run/docker")
    """Where it keeps what holds until the machine restarts, the process number of its containerd among that."""
    config: Path = Path("/etc/docker/daemon.json")
    programs: Path = Path("/usr/local/lib/vm-to-kubernetes")
    """Where programs are put that it runs as root: a folder that only root can write to."""
    words: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        return f"unix://{self.socket}"

    def serves(self, address: str) -> bool:
        """Is that its address? (/var/run is a link to /run on most systems.)"""
        path = Path(address.removeprefix("unix://"))
        return address.startswith("unix://") and path.parent.resolve() / path.name == (
            self.socket.parent.resolve() / self.socket.name
        )

    def process(self) -> ProcessId | None:
        """Its process, whoever started it; None while it does not run."""
        return _named_in(self.pidfile, "dockerd")

    def up(self) -> bool:
        """It answers, or would if this user were allowed to ask."""
        if answers(self.address):
            return True
        return self.process() is not None and self.socket.is_socket() and not os.access(self.socket, os.W_OK)


def _named_in(pidfile: Path, program: str) -> ProcessId | None:
    """The process whose number is in that file, while it runs and is that program: a number is soon another's."""
    try:
        process = psutil.Process(int(pidfile.read_text()))
        found = ProcessId(process.pid, process.create_time())
        return found if process.name() == program and found.alive() else None
    except (OSError, ValueError, psutil.Error):
        return None


SYSTEM = Daemon()
"""The machine's own, as a distribution sets it up."""


class _Started(BaseModel):
    """What is written down about the one that we started."""

    daemon: Daemon
    pid: int
    started: float


def chosen(place: Place) -> Daemon:
    """The one that the course starts: the one that it started before, else the machine's own."""
    record = _read(place)
    return record.daemon if record else SYSTEM


def started_by_us(place: Place) -> ProcessId | None:
    """The process of the dockerd that we started, while it runs."""
    record = _read(place)
    process = ProcessId(record.pid, record.started) if record else None
    return process if process and process.alive() else None


def managed() -> bool:
    """True where systemd runs the machine and knows dockerd as a service."""
    if not Path("/run/systemd/system").is_dir() or find_program("systemctl") is None:
        return False
    return run(["systemctl", "cat", "docker.service"], check=False).ok


def start(place: Place, daemon: Daemon, tell: Tell = silent) -> str:
    """See that it runs and answers; returns how it was started, empty when it ran already.

    What a killed one left behind is no obstacle. Raises MachineError (ENGINE) with the end of its log when it does not
    start, or when there is no dockerd here.
    """
    with locked(_record(place).with_suffix(".lock"), timeout_s=2 * START_S):
        if daemon.up():
            return ""
        tell(Progress("starting the container engine", typical_s=3))
        if daemon == SYSTEM and managed():
            _systemctl_start(daemon)
            return "by systemd"
        _start_detached(place, daemon)
        return "as a background process of root, since no service manager does it here"


def stop(place: Place) -> None:
    """End the dockerd that we started; one that does not run is fine. It can be started again.

    Raises WaitTimeoutError when it does not end.
    """
    process = started_by_us(place)
    if process is None:
        return
    if os.geteuid() == 0:
        process.end(grace_s=STOP_S)
        return
    run(apt.as_root(["kill", str(process.pid)]))
    wait_for(lambda: not process.alive(), "dockerd to end", timeout_s=STOP_S, hint=f"sudo kill {process.pid}")


def forget(place: Place) -> None:
    """Forget the one that we started."""
    for path in (_record(place), log(place)):
        path.unlink(missing_ok=True)


def log(place: Place) -> Path:
    """What the one that we started says."""
    return place.home / "tools" / "dockerd.log"


# -- starting ----------------------------------------------------------------------------------------------------------


def _systemctl_start(daemon: Daemon) -> None:
    done = run(apt.as_root(["systemctl", "start", "docker"]), check=False, timeout_s=2 * START_S)
    try:
        wait_for(daemon.up, "dockerd to answer", timeout_s=START_S if done.ok else 0)
    except WaitTimeoutError as error:
        raise MachineError(
            "systemd could not start the container engine.",
            finding="ENGINE",
            why=" | ".join(done.err.strip().splitlines()[-3:]) or error.why,
            do="see for yourself: systemctl status docker; sudo journalctl -u docker -n 30",
        ) from None


def _start_detached(place: Place, daemon: Daemon) -> None:
    program = need_program("dockerd", "ENGINE")
    _clear_the_way(daemon)
    argv = _command(program, daemon)
    path = log(place)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as sink:
        # In "/", so that no folder of ours is in use by it; the log is opened here, since root writes where it likes.
        code = subprocess.run(
            argv, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT, cwd="/", check=False
        ).returncode

    def said() -> str:
        return path.read_text(errors="replace")

    began = time.monotonic()

    def started() -> bool:
        if daemon.up():
            return True
        if code != 0 or (time.monotonic() - began > 1 and not _runs(program, daemon)):
            raise _Ended
        return False

    try:
        wait_for(started, "dockerd to answer", timeout_s=START_S)
    except (_Ended, WaitTimeoutError):
        raise MachineError(
            "The container engine does not start.",
            finding="ENGINE",
            why=" | ".join(said().strip().splitlines()[-3:]),
            do=f"read its log, {path}; or try it yourself: {pasteable([program, *daemon.words])}",
        ) from None
    process = daemon.process()
    if process is None:
        raise LabError("dockerd answers, but its process is not to be found.", why=f"{daemon.pidfile} names no dockerd")
    record = _Started(daemon=daemon, pid=process.pid, started=process.started)
    write_atomic(_record(place), record.model_dump_json())


class _Ended(Exception):  # noqa: N818 - not an error of anybody, only the end of a wait
    """dockerd gave up."""


def _command(program: Path, daemon: Daemon) -> list[str]:
    """dockerd in a session of its own, with none of the settings by which the course knows its own processes."""
    ours = [word for name in sorted(os.environ) if name.startswith("LAB_") for word in ("-u", name)]
    path = f"PATH={os.environ.get('PATH', '')}:/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"  # iptables, containerd
    return apt.as_root(["env", *ours, path, "setsid", "--fork", program, *daemon.words])


def _runs(program: Path, daemon: Daemon) -> bool:
    """Is there a process of that command? dockerd names its number in the pidfile only later."""
    wanted = [str(program), *daemon.words]
    return any(process.info["cmdline"] == wanted for process in psutil.process_iter(["cmdline"]))


def _clear_the_way(daemon: Daemon) -> None:
    """A killed dockerd leaves its number and its containerd's behind, and a new one believes that both still run.

    Its containerd is killed with it (by the kernel), which takes a moment; it may stay a zombie where nobody buries it,
    and after a restart of the machine another process may have its number.
    """
    containerd = daemon.exec_root / "containerd" / "containerd.pid"
    with contextlib.suppress(WaitTimeoutError):  # one that goes on is healthy, and the new dockerd takes it over
        wait_for(lambda: _named_in(containerd, "containerd") is None, "the old containerd to end", timeout_s=3)
    stale = [
        path
        for path, program in ((daemon.pidfile, "dockerd"), (containerd, "containerd"))
        if _named_in(path, program) is None
    ]
    if any(os.path.lexists(path) for path in stale) or os.geteuid() != 0:  # a user cannot look into its folder
        run(apt.as_root(["rm", "-f", *stale]))


def _record(place: Place) -> Path:
    return place.home / "tools" / "dockerd.json"


def _read(place: Place) -> _Started | None:
    try:
        return _Started.model_validate_json(_record(place).read_text())
    except (OSError, ValueError):
        return None


# -- its runtime -------------------------------------------------------------------------------------------------------

_CAPABILITIES = (
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE "
    "NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN "
    "SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE "
    "MAC_ADMIN SYSLOG WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
)
"""By their numbers: capabilities(7)."""


def lacking(process: ProcessId) -> list[str]:
    """The capabilities that the kernel knows and this process has not, such as CAP_SYS_RESOURCE.

    A privileged container is given all of them, and nobody can give what they have not.
    """
    status = Path(f"/proc/{process.pid}/status").read_text()
    effective = next(int(line.split()[1], 16) for line in status.splitlines() if line.startswith("CapEff:"))
    last = int(Path("/proc/sys/kernel/cap_last_cap").read_text())
    return [
        f"CAP_{name}" for number, name in enumerate(_CAPABILITIES.split()[: last + 1]) if not effective >> number & 1
    ]


def set_runtime(daemon: Daemon, name: str, program: Path) -> None:
    """Let it start containers by `program`, now and after every restart; containers that run go on.

    Its settings keep everything else that they say; what they were is kept beside them. Raises MachineError
    (ENGINE-PRIVILEGED) when they cannot be read, name another default, or are not taken on; then they are as before.
    """
    settings = _settings(daemon)
    other = settings.get("default-runtime", name)
    if other != name:
        raise _refused(daemon, f"it names another default runtime already, {other}", name, program)
    settings["runtimes"] = {**settings.get("runtimes", {}), name: {"path": str(program)}}
    settings["default-runtime"] = name
    backup = daemon.config.with_name(daemon.config.name + BACKUP)
    had = daemon.config.exists()
    if had and not backup.exists():
        run(apt.as_root(["cp", "--preserve", daemon.config, backup]))
    before = daemon.config.read_text() if had else ""
    install_as_root(json.dumps(settings, indent=2) + "\n", daemon.config)
    try:
        _reload(daemon, name)
    except WaitTimeoutError as error:
        if had:
            install_as_root(before, daemon.config)
        run(apt.as_root(["rm", "-f", *([] if had else [daemon.config]), backup]))
        raise _refused(daemon, f"dockerd did not take it on ({error.why})", name, program) from None


def unset_runtime(daemon: Daemon, name: str) -> None:
    """Take back what `set_runtime` did; a dockerd that runs is told."""
    settings = _settings(daemon)
    runtimes = settings.get("runtimes", {})
    if name not in runtimes:
        return
    del runtimes[name]
    if not runtimes:
        del settings["runtimes"]
    if settings.get("default-runtime") == name:
        if daemon.process():
            # A setting that is gone is not reset when dockerd reads its settings again; another value is taken.
            install_as_root(json.dumps({**settings, "default-runtime": "runc"}), daemon.config)
            _reload(daemon, "runc")
        del settings["default-runtime"]
    if settings:
        install_as_root(json.dumps(settings, indent=2) + "\n", daemon.config)
    else:
        run(apt.as_root(["rm", "-f", daemon.config]))
    run(apt.as_root(["rm", "-f", daemon.config.with_name(daemon.config.name + BACKUP)]))


def install_as_root(content: str | bytes, target: Path, *, mode: str = "0644") -> None:
    """Put a file where only root may write; it is replaced whole."""
    data = content.encode() if isinstance(content, str) else content
    with tempfile.NamedTemporaryFile() as file:
        file.write(data)
        file.flush()
        new = target.with_name(f".{target.name}.new")
        run(apt.as_root(["install", "-D", "--mode", mode, file.name, new]))
        run(apt.as_root(["mv", new, target]))


def _settings(daemon: Daemon) -> dict[str, Any]:
    if not daemon.config.exists():
        return {}
    try:
        settings = json.loads(daemon.config.read_text() or "{}")
        if isinstance(settings, dict) and isinstance(settings.get("runtimes", {}), dict):
            return settings
        why = "it is no table of settings"
    except (OSError, ValueError) as error:
        why = str(error)
    raise MachineError(
        f"The settings of the container engine cannot be read: {daemon.config}",
        finding="ENGINE-PRIVILEGED",
        why=why,
        do="put that file right, then run the same again",
    )


def _reload(daemon: Daemon, runtime: str) -> None:
    """Let it read its settings again; returns when `runtime` is its default."""
    from lab_helpers.tools.engine import Engine

    process = daemon.process()
    if process is None:
        raise WaitTimeoutError("dockerd does not run.", why="no process")
    run(apt.as_root(["kill", "-s", "HUP", str(process.pid)]))
    engine = Engine(daemon.address, "", plain=False)

    def taken_on() -> bool:
        now = engine.facts().runtime
        if now != runtime:
            raise LabError(f"its default runtime is {now}")
        return True

    with contextlib.suppress(PermissionError):
        wait_for(taken_on, "dockerd to take on its settings", timeout_s=10)


def _refused(daemon: Daemon, why: str, name: str, program: Path) -> MachineError:
    return MachineError(
        "The container engine could not be told to start containers in another way.",
        finding="ENGINE-PRIVILEGED",
        why=f"{daemon.config}: {why}",
        do=f'write there: "runtimes": {{"{name}": {{"path": "{program}"}}}}, "default-runtime": "{name}"',
    )
