"""A program in front of runc, for hosts that cannot start privileged containers; kind's nodes are such containers.

A host may lack a capability: a container or a small VM that stands in for a machine often does. The engine gives a
privileged container every capability that the kernel knows, and runc cannot give what it has not. The program (its
source is in `shim/`) takes that out of the container's description and then becomes runc. It is built, put in and told
to the engine only where a probe has shown that it is needed.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from lab_helpers.core.errors import MachineError, ToolError
from lab_helpers.core.events import Note, Progress, Tell, silent
from lab_helpers.core.processes import need_program, run
from lab_helpers.core.settings import Place
from lab_helpers.core.store import locked
from lab_helpers.images.toolchain import go_environment, go_program
from lab_helpers.tools import apt, dockerd
from lab_helpers.tools.dockerd import Daemon
from lab_helpers.tools.qemu import host_arch

SOURCE = Path(__file__).parent / "shim"
NAME = "vm-to-kubernetes"
"""By this name the engine knows it."""
TYPICAL_S = 20


def runtime_shim(place: Place, tell: Tell = silent) -> Path:
    """The program, built if need be (about TYPICAL_S seconds); kept under LAB_HOME by the hash of what it is made of.

    Raises MachineError (GO) where no Go can be had, MachineError (ENGINE-PRIVILEGED) where runc is missing.
    """
    runc = need_program("runc", "ENGINE-PRIVILEGED").resolve()
    program = place.home / "tools" / f"runc-shim-{_key(runc)}"
    with locked(place.home / "tools" / "runc-shim.lock"):
        if program.exists():
            return program
        go = go_program(place, tell)
        tell(Progress("runtime shim: building it", typical_s=TYPICAL_S))
        _build(go, place, runc, program)
    return program


def put_in_front(place: Place, daemon: Daemon, tell: Tell = silent) -> Path:
    """Let the engine start its containers by this program; returns where it was put.

    Raises MachineError (ENGINE-PRIVILEGED) when the engine does not take it on; then all is as before.
    """
    built = runtime_shim(place, tell)
    program = daemon.programs / built.name
    tell(Note(f"This host lacks {_lacking(daemon)}, so runc cannot start privileged containers, such as kind's nodes."))
    tell(Note(f"A small program in front of runc cures that: {program}, named in {daemon.config}."))
    try:
        dockerd.install_as_root(built.read_bytes(), program, mode="0755")
        dockerd.set_runtime(daemon, NAME, program)
    except ToolError as error:
        raise MachineError(error.what, finding="ENGINE-PRIVILEGED", why=error.why, do=error.do) from None
    return program


def take_away(daemon: Daemon) -> None:
    """Undo `put_in_front`; where that was not done, nothing happens."""
    dockerd.unset_runtime(daemon, NAME)
    if is_in_front(daemon):
        run(apt.as_root(["rm", "-rf", daemon.programs]))


def is_in_front(daemon: Daemon) -> bool:
    """Was this program put in front of that engine's runc?"""
    return daemon.programs.is_dir()


def was_put_by(place: Place, daemon: Daemon) -> bool:
    """Is what stands in front of that engine's runc from this LAB_HOME, and not from somebody else's?"""
    return any((place.home / "tools" / program.name).is_file() for program in daemon.programs.glob("*"))


def _lacking(daemon: Daemon) -> str:
    process = daemon.process()
    return ", ".join(dockerd.lacking(process)) if process else "capabilities"


def _key(runc: Path) -> str:
    digest = hashlib.sha256(f"{host_arch()}\0{runc}\0".encode())
    for file in sorted(SOURCE.iterdir()):
        digest.update(f"{file.name}\0".encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def _build(go: Path, place: Place, runc: Path, program: Path) -> None:
    """Compile it. It needs Go's own library alone, so nothing is fetched, and a cache of its own can go at once."""
    environment = go_environment(place, "linux", host_arch())
    with tempfile.TemporaryDirectory(prefix="lab-shim-") as folder:
        result = Path(folder) / program.name
        words: list[str | Path] = [go, "build", "-ldflags", f"-s -w -X main.real={runc}", "-o", result, "."]
        try:
            run(words, env={**environment, "GOCACHE": f"{folder}/cache"}, cwd=SOURCE, timeout_s=600)
        except ToolError as error:
            raise MachineError(
                "The runtime shim could not be built.", finding="ENGINE-PRIVILEGED", why=error.why, do=error.do
            ) from None
        part = program.with_name(f".{program.name}.{os.getpid()}")
        shutil.copy(result, part)
        part.replace(program)
