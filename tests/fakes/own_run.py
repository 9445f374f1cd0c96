"""What a run of the tests has on this machine, so that the next run can remove what a killed one left behind.

Every run holds a lock in a folder of its own, and every process that it starts carries that folder's path in its
environment. A folder whose lock is free belongs to a run that was killed: with it go its processes, and what has a name
of the tests or of the course in the machine's engine and was made while that run lived.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import tempfile
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path

import psutil

from lab_helpers.boundaries.engine_objects import moment
from lab_helpers.core.errors import LabError, WaitTimeoutError
from lab_helpers.core.processes import ProcessId, run
from lab_helpers.core.settings import Place
from lab_helpers.core.store import locked
from lab_helpers.core.waiting import wait_for
from lab_helpers.tools.engine import LABEL, find_engine
from lab_helpers.tools.kind import CLUSTER_LABEL, NETWORK

VARIABLE = "VM_TO_KUBERNETES_TEST_RUN"
"""In the environment of a run and of all that it starts: its folder. (dockerd is started without any LAB_... .)"""
ROOT = Path("/tmp") / f"lab-tests-{os.getuid()}"
"""Where the runs' folders are. A short path: what lies below may be sockets, whose paths have a limit."""
BRIDGE = "labtest"
"""How the names of bridges begin that tests make; and the file in a daemon's folder that has the whole name."""
NAMES = ("pinboard", "image-test")
"""How the names begin of what tests make in the machine's engine: of the tests' own, and of the labs that they do."""
BEAT_S = 2
_PLACES, _BEGAN, _LOCK = "places", "began", "lock"


@contextlib.contextmanager
def a_run(root: Path = ROOT, *, live: bool = False) -> Iterator[Path]:
    """Be a run, as long as the block lasts; what killed ones left is removed first. Yields the run's folder.

    `live`: it has tests that make something in the machine's engine.
    """
    root.mkdir(mode=0o700, exist_ok=True)
    folder = root / secrets.token_hex(4)
    with contextlib.ExitStack() as stack:
        with locked(root / "lock"):
            alive, dead = _others(root)
            for other in dead:
                try:
                    _remove_run(other, alone=not alive)
                except (LabError, OSError) as error:
                    warnings.warn(f"What a killed run of the tests left could not be removed: {error}", stacklevel=2)
            folder.mkdir()
            if live:
                (folder / _BEGAN).touch()
            lock = stack.enter_context((folder / _LOCK).open("w"))
            fcntl.flock(lock, fcntl.LOCK_EX)
        over = threading.Event()
        stack.callback(over.set)
        threading.Thread(target=_beat, args=(folder / _LOCK, over), daemon=True).start()
        before = os.environ.get(VARIABLE)
        os.environ[VARIABLE] = str(folder)
        try:
            yield folder
        finally:
            os.environ.pop(VARIABLE)
            if before:
                os.environ[VARIABLE] = before
            shutil.rmtree(folder, ignore_errors=True)


def _beat(lock: Path, over: threading.Event) -> None:
    """Let the time of the lock's file be when the run was last alive."""
    while not over.wait(BEAT_S):
        with contextlib.suppress(OSError):
            os.utime(lock)


def own_folder(prefix: str) -> Path:
    """A new folder of this run, with a short path. Who makes it removes it."""
    return Path(tempfile.mkdtemp(prefix=prefix, dir=os.environ.get(VARIABLE)))


def note_place(place: Place) -> None:
    """Remember a place, whose sockets lie elsewhere."""
    if folder := os.environ.get(VARIABLE):
        with Path(folder, _PLACES).open("a") as file:
            file.write(f"{place.sockets}\n")


def remove_folder(folder: Path) -> None:
    """Remove a folder with what is mounted in it, and the bridge that it names."""
    with contextlib.suppress(OSError):
        run(["ip", "link", "delete", (folder / BRIDGE).read_text()], check=False)
    for mounted in psutil.disk_partitions(all=True):  # a killed dockerd leaves its folder mounted upon itself
        if Path(mounted.mountpoint).is_relative_to(folder):
            run(["umount", "--lazy", mounted.mountpoint], check=False)  # it may go with another one
    shutil.rmtree(folder)


def _others(root: Path) -> tuple[list[Path], list[Path]]:
    """The folders of runs that go on, and of runs that were killed."""
    alive, dead = [], []
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        try:
            with (folder / _LOCK).open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            alive.append(folder)
        else:
            dead.append(folder)
    return alive, dead


def _remove_run(folder: Path, *, alone: bool) -> None:
    """Remove what is left of a run. `alone`: no other run goes on, so that what has a test's name is this one's."""
    _end_processes(folder)
    with contextlib.suppress(FileNotFoundError):
        for line in (folder / _PLACES).read_text().splitlines():
            shutil.rmtree(line, ignore_errors=True)
    for inner in [path for path in folder.iterdir() if path.is_dir()]:
        remove_folder(inner)
    if alone and (folder / _BEGAN).exists():
        _clear_engine((folder / _BEGAN).stat().st_mtime, (folder / _LOCK).stat().st_mtime + 10)
    shutil.rmtree(folder)


def _end_processes(folder: Path) -> None:
    """End every process of a run, and what these started, at once: again, until there is none."""

    def none_left() -> bool:
        found = _processes(folder)
        for process in found:
            with contextlib.suppress(psutil.Error):
                process.kill()
        return not found

    with contextlib.suppress(WaitTimeoutError):
        wait_for(none_left, "the processes of a killed run to end", timeout_s=20)


def _processes(folder: Path) -> list[psutil.Process]:
    spare = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(VARIABLE) == str(folder):
                found |= {each.pid: each for each in (process, *process.children(recursive=True))}
    return [
        each for each in found.values() if each.pid not in spare and ProcessId(each.pid, each.create_time()).alive()
    ]


def _clear_engine(began: float, ended: float) -> None:
    """Remove what tests made in the machine's engine in that time: containers, networks, volumes, tags."""
    import docker

    engine = find_engine()
    if engine is None:
        return

    def then(created: float) -> bool:
        return int(began) <= created <= ended

    # What is in use by something that is not a test's stays; what goes at this moment needs no help.
    gone_or_used = contextlib.suppress(docker.errors.APIError)
    with engine.client() as client:
        for facts in client.api.containers(all=True):
            labels = facts.get("Labels") or {}
            named = any(name.lstrip("/").startswith(NAMES) for name in facts.get("Names") or ())
            of_tests = named or LABEL in labels or labels.get(CLUSTER_LABEL) == "somebody-elses"
            if of_tests and then(facts["Created"]):
                with gone_or_used:
                    client.api.remove_container(facts["Id"], v=True, force=True)
        for facts in client.api.networks():
            if facts["Name"].startswith((*NAMES, NETWORK)) and then(moment(facts["Created"])):
                with gone_or_used:
                    client.api.remove_network(facts["Id"])
        for facts in client.api.volumes().get("Volumes") or ():
            if facts["Name"].startswith(NAMES) and then(moment(facts["CreatedAt"])):
                with gone_or_used:
                    client.api.remove_volume(facts["Name"])
        for facts in client.api.images():
            for tag in facts.get("RepoTags") or ():
                if tag.startswith(NAMES) and then(facts["Created"]):
                    with gone_or_used:
                        client.api.remove_image(tag)
