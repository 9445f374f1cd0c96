"""kind and kubectl in the versions that the labs use: from PATH, else a download that is verified, else built.

Sources of the downloads: https://kind.sigs.k8s.io/docs/user/quick-start/ and
https://kubernetes.io/docs/tasks/tools/install-kubectl-linux/. Their SHA-256 are pinned here, so that a server that is
broken into, or a network that changes what it carries, gives us no other program.
"""

from __future__ import annotations

import hashlib
import json
import os
import queue
import re
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab_helpers.core.errors import ToolError
from lab_helpers.core.events import Note, Progress, Tell, silent
from lab_helpers.core.processes import find_program, run
from lab_helpers.core.settings import Place, offline
from lab_helpers.core.store import locked, write_atomic
from lab_helpers.images.go_builds import KUBERNETES, built, host

KIND = "0.33.0"
CONNECT_S = 5
"""How long a server of downloads may take to answer, in seconds."""
STALL_S = 30
"""A download that brings nothing for so long, in seconds, is given up."""
SHA256 = {
    ("kind", "linux", "amd64"): "aee6151561422756b764a4ae28e7f44cda5af5a9eead3cc9985112b1de8d8e0d",
    ("kind", "linux", "arm64"): "20022bee6cfcd5086cb7234d218e3454e6090022f2a8f55d1fa7fcf42c3867a2",
    ("kind", "darwin", "amd64"): "5a99f26f57246dc9319dd294803313197a0f34d33c525b3ea8b655db5916ece0",
    ("kind", "darwin", "arm64"): "0c8c7dbe5e23594a198b786c4bc13dacc101fa6196b0cb0b23a1ca44e61f4b4f",
    ("kubectl", "linux", "amd64"): "6129359f4e1f3848a5572ccb0b26cf28b8ca08cef38c95a765b2f64a2c961a2f",
    ("kubectl", "linux", "arm64"): "922df28df248cc00a9e025f947704f1d1482de64ece54cfe57e61f19eaf1eef3",
    ("kubectl", "darwin", "amd64"): "d5276c0f4fde77fc446070290f345944a7f1fda153df6b960e5fde93b7a9bccd",
    ("kubectl", "darwin", "arm64"): "583beedaebe422e71d3f1a96acef8b1fef86ea2f09a45ad01aa6c9ce287c1380",
}
"""Of the versions KIND and KUBERNETES, as their makers publish them."""


@dataclass(frozen=True)
class Tool:
    """A program that is here, and how it came."""

    name: str
    path: Path
    version: str
    way: str


@dataclass(frozen=True)
class _Wanted:
    name: str
    version: str
    ask: tuple[str, ...]
    """The words that make it say its version."""
    fits: Callable[[tuple[int, ...]], bool]
    url: str
    group: str
    """The group of Go programs that it is built with."""


def _minor(version: str) -> int:
    return int(version.split(".")[1])


def _wanted(name: str) -> _Wanted:
    goos, arch = host()
    if name == "kind":
        return _Wanted(
            "kind",
            KIND,
            ("version",),
            lambda found: found[:2] == (0, _minor(KIND)),
            f"https://kind.sigs.k8s.io/dl/v{KIND}/kind-{goos}-{arch}",
            "kind",
        )
    return _Wanted(
        "kubectl",
        KUBERNETES,
        ("version", "--client"),
        # kubectl works with a cluster that is one minor version older or newer.
        lambda found: found[:1] == (1,) and abs(found[1] - _minor(KUBERNETES)) <= 1,
        f"https://dl.k8s.io/release/v{KUBERNETES}/bin/{goos}/{arch}/kubectl",
        "kubectl",
    )


def find_kind(place: Place) -> Tool | None:
    """The kind of this machine or of the course, if one is here that fits."""
    return _find(place, _wanted("kind"))


def find_kubectl(place: Place) -> Tool | None:
    """The kubectl of this machine or of the course, if one is here that fits."""
    return _find(place, _wanted("kubectl"))


def kind_program(place: Place, tell: Tell = silent) -> Path:
    """A kind that fits, fetched or built if need be. Raises MachineError (GO, NODE-IMAGE) or ToolError."""
    return _get(place, _wanted("kind"), tell)


def kubectl_program(place: Place, tell: Tell = silent) -> Path:
    """A kubectl that fits, fetched or built if need be. Raises MachineError (GO, NODE-IMAGE) or ToolError."""
    return _get(place, _wanted("kubectl"), tell)


def _find(place: Place, wanted: _Wanted) -> Tool | None:
    ours = place.home / "bin" / wanted.name
    try:
        record = json.loads(_record(place, wanted).read_text())
        if ours.is_file() and record["version"] == wanted.version:
            return Tool(wanted.name, ours, wanted.version, str(record["way"]))
    except (OSError, ValueError, KeyError):
        pass
    own = find_program(wanted.name)
    if own is None or own == ours:
        return None
    version = _version(own, wanted)
    return Tool(wanted.name, own, version, f"this machine's own, {own}") if version else None


def _version(program: Path, wanted: _Wanted) -> str:
    """The version that this program says it has; empty when it does not fit."""
    try:
        said = run([program, *wanted.ask], check=False, timeout_s=10).out
    except (ToolError, OSError):  # the latter: no program at all, or one for another processor
        return ""
    found = re.search(r"v(\d+)\.(\d+)\.(\d+)", said)
    if found is None or not wanted.fits(tuple(map(int, found.groups()))):
        return ""
    return found[0].removeprefix("v")


def _record(place: Place, wanted: _Wanted) -> Path:
    return place.home / "tools" / f"{wanted.name}.json"


def _get(place: Place, wanted: _Wanted, tell: Tell) -> Path:
    if found := _find(place, wanted):
        return found.path
    with locked(place.home / "tools" / f"{wanted.name}.lock", timeout_s=3600):
        if found := _find(place, wanted):
            return found.path
        target = place.home / "bin" / wanted.name
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{wanted.name}.{os.getpid()}.part")
        try:
            way = _fetch(wanted, part, tell)
            if not way:
                shutil.copyfile(built(place, wanted.group, *host(), tell) / wanted.name, part)
                way = "built from its Go module"
            part.chmod(0o755)
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)
        write_atomic(_record(place, wanted), json.dumps({"version": wanted.version, "way": way}) + "\n")
    return target


def _fetch(wanted: _Wanted, part: Path, tell: Tell) -> str:
    """Download it to `part` and verify it. Returns the way, or nothing where it cannot be had so; a Note says why."""
    import httpx

    expected = SHA256.get((wanted.name, *host()))
    if offline() or expected is None:
        return ""
    tell(Progress(f"{wanted.name} {wanted.version}: downloading", typical_s=20))
    digest = hashlib.sha256()
    try:
        if not _answers(wanted.url):
            raise httpx.ConnectTimeout(f"no answer within {CONNECT_S} s")
        with httpx.stream("GET", wanted.url, timeout=STALL_S, follow_redirects=True) as reply, part.open("wb") as file:
            reply.raise_for_status()
            total = float(reply.headers.get("Content-Length", 0)) / 1e6 or None
            for chunk in reply.iter_bytes(1 << 20):
                digest.update(chunk)
                file.write(chunk)
                tell(Progress(f"{wanted.name} {wanted.version}: downloading", file.tell() / 1e6, total, "MB"))
        if digest.hexdigest() != expected:
            raise ValueError("what came is not what its makers published")
    except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, ImportError) as error:
        said = (str(error) or type(error).__name__).splitlines()[0]
        tell(Note(f"{wanted.name} cannot be downloaded ({said}), so it is built from its Go module."))
        return ""
    return "downloaded and verified by its SHA-256"


def _answers(url: str) -> bool:
    """Does the server answer within CONNECT_S seconds? In a thread, since looking up a name heeds no timeout."""
    import httpx

    answer: queue.Queue[bool] = queue.Queue()

    def ask() -> None:
        try:
            answer.put(httpx.head(url, timeout=CONNECT_S, follow_redirects=True).is_success)
        except (httpx.HTTPError, httpx.InvalidURL, OSError, ValueError, ImportError):
            answer.put(False)

    threading.Thread(target=ask, daemon=True).start()
    try:
        return answer.get(timeout=CONNECT_S)
    except queue.Empty:
        return False
