"""The image that every image of the course is built upon: Debian 13 with Python and what Pinboard needs, so that no
lab's Dockerfile needs the network.

Where a registry answers it is Debian's own image by its digest, with packages that apt installs in it. Elsewhere
mmdebstrap makes it out of the same packages; that tar is kept under LAB_HOME by the hash of its recipe, so that another
engine gets it in seconds and without the network.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shlex
import sys
import tarfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from lab_helpers.core.errors import LabError, MachineError, ToolError
from lab_helpers.core.events import Note, Progress, Tell, silent
from lab_helpers.core.processes import find_program
from lab_helpers.core.settings import Place, offline
from lab_helpers.core.store import locked
from lab_helpers.images.build_process import run_build
from lab_helpers.images.own_image import OwnImage, find_own_image
from lab_helpers.images.registry import DEBIAN, engine_says, pull
from lab_helpers.tools.engine import LABEL, Engine, need_engine

if TYPE_CHECKING:
    import docker

BASE = "lab.local/python:3.13"
"""The name of the base image in the engine. Only the course makes images of the namespace lab.local/."""
RECIPE = Path(__file__).parent / "base"
SUITE = "trixie"
PACKAGES = (
    *("python3", "python3-starlette", "python3-uvicorn", "python3-psycopg"),
    *("ca-certificates", "curl", "iproute2", "procps"),
)
CONFIG = (
    "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8",
    'CMD ["python3"]',
)
TYPICAL_S = 40
IMPORT_S = 5
APT_SILENCE_S = 300
"""A build that says nothing for so long, in seconds, is given up: apt itself gives up a mirror sooner."""


def image_key(arch: str) -> str:
    """The name of today's recipe, for amd64 or arm64."""
    digest = hashlib.sha256(json.dumps([arch, SUITE, PACKAGES, CONFIG, DEBIAN.digest]).encode())
    for file in sorted(path for path in RECIPE.iterdir() if path.is_file()):
        digest.update(f"{file.name}\0".encode())
        digest.update(file.read_bytes())
    return f"base-{arch}-{digest.hexdigest()[:12]}"


def find_base_image(engine: Engine) -> OwnImage | None:
    """The base image of today's recipe, if the engine has it already."""
    return find_own_image(engine, BASE, image_key)


def base_image(place: Place, tell: Tell = silent) -> OwnImage:
    """The base image of today's recipe, made if need be (about TYPICAL_S seconds, or a few out of the cache).

    Raises MachineError when no engine answers (ENGINE), or when this machine can neither get nor build it, or is told
    to stay offline (BASE-IMAGE); ToolError when the build fails.
    """
    engine = need_engine()
    if image := find_base_image(engine):
        return image
    with engine.client() as client:
        key = image_key(str(client.version()["Arch"]))
    tar = place.images / f"{key}.tar"

    def waiting() -> None:
        tell(Progress("base image: another process makes it, waiting", typical_s=TYPICAL_S))

    with locked(place.images / f"{key}.lock", timeout_s=1800, on_wait=waiting) as lock:
        if image := find_base_image(engine):
            return image
        if not tar.exists() and offline():
            raise MachineError(
                "The base image is not here yet, and LAB_OFFLINE forbids to get it.",
                finding="BASE-IMAGE",
                do="unset LAB_OFFLINE and run `lab prepare 02` once where there is a network",
            )
        if tar.exists() or not _from_registry(engine, key, tell):
            _build_tar(tar, lock, tell)
            _import(engine, tar, tell)
        image = find_base_image(engine)
    if image is None:
        raise LabError("The base image was made, but the engine does not show it.", do="run `lab prepare 02` again")
    tell(Progress("base image", 1, 1))
    return image


def _labels(key: str, way: str, seconds: float) -> str:
    """A line of a Dockerfile; JSON's quotes are Docker's as well."""
    labels = {LABEL: "base image", f"{LABEL}.key": key, f"{LABEL}.way": way, f"{LABEL}.seconds": f"{seconds:.0f}"}
    return "LABEL " + " ".join(f"{name}={json.dumps(value)}" for name, value in labels.items())


def _from_registry(engine: Engine, key: str, tell: Tell) -> bool:
    """Make it from the registry's Debian. False when that cannot be; a Note says why."""
    began = time.monotonic()
    debian = pull(engine, DEBIAN, tell)
    if debian is None:
        return False
    name = f"{DEBIAN.repository}:{DEBIAN.tag}"
    tell(Note(f"The base image is made from the registry's {name}; this happens once."))
    script = "\n".join([(RECIPE / "install.sh").read_text(), "set -- /", (RECIPE / "trim.sh").read_text()])
    install = json.dumps(["/bin/sh", "-c", script, "install", *PACKAGES])
    try:
        with engine.client() as client:
            made = _build_in_engine(client, [f"FROM {debian}", f"LABEL {LABEL}=base", f"RUN {install}", *CONFIG], tell)
            labels = _labels(key, f"from the registry's {name} with apt", time.monotonic() - began)
            _build_in_engine(client, [f"FROM {made}", labels], tell, tag=BASE)
    except ToolError as error:
        tell(Note(f"The base image could not be made from the registry's {name}; {error.why}"))
        return False
    return True


def _build_in_engine(client: docker.DockerClient, lines: Iterable[str], tell: Tell, tag: str = "") -> str:
    """Build a Dockerfile that needs no files. Returns the image's ID."""
    dockerfile = "\n".join(lines).encode()
    context = io.BytesIO()
    with tarfile.open(fileobj=context, mode="w") as tar:
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(dockerfile)
        tar.addfile(entry, io.BytesIO(dockerfile))
    proxies = (case for name in ("http_proxy", "https_proxy", "no_proxy") for case in (name, name.upper()))
    events = engine_says(
        client,
        "/build",
        command="docker build -",
        silence_s=APT_SILENCE_S,
        # The host's network: a proxy may listen on its loopback address. forcerm: nothing is left of a failed try.
        params={
            "t": tag,
            "forcerm": True,
            "networkmode": "host",
            "buildargs": json.dumps({name: os.environ[name] for name in proxies if name in os.environ}),
        },
        headers={"Content-Type": "application/x-tar"},
        body=context.getvalue(),
    )
    made = ""
    with contextlib.closing(events):
        for event in events:
            tell(Progress("base image: installing Debian packages with apt", typical_s=TYPICAL_S))
            made = str((event.get("aux") or {}).get("ID", made))
    return made


def _build_tar(tar: Path, lock: int, tell: Tell) -> None:
    """Have the tar in the cache: out of Debian packages with mmdebstrap."""
    if tar.exists():
        return
    if sys.platform != "linux" or not find_program("mmdebstrap"):
        raise MachineError(
            "The base image cannot be made on this machine.",
            finding="BASE-IMAGE",
            why="no registry gave Debian's image, and there is no mmdebstrap to build it with",
            do="see that the network lets the container engine pull debian:trixie-slim (or name a mirror of images in "
            "LAB_REGISTRY), or on Debian and Ubuntu: sudo apt-get install mmdebstrap debian-archive-keyring uidmap",
        )
    tell(Note("The base image is built from Debian packages on this machine; this happens once."))
    build_debian(
        tar,
        tar.stem.split("-")[1],
        PACKAGES,
        what="The base image",
        progress=_progress,
        lock=lock,
        again="lab prepare 02",
        tell=tell,
    )


def build_debian(
    tar: Path,
    arch: str,
    packages: Iterable[str],
    *,
    what: str,
    progress: Callable[[Path], Progress],
    lock: int,
    again: str,
    tell: Tell,
) -> None:
    """Make a tar of a small Debian with these packages. For the rest see build_process.run_build."""
    run_build(
        [str(RECIPE / "build.sh")],
        what=what,
        log=tar.with_suffix(".log"),
        settings={
            "LAB_RECIPE": str(RECIPE),
            "LAB_OUT": str(tar),
            "LAB_ARCH": arch,
            "LAB_SUITE": SUITE,
            "LAB_PACKAGES": ",".join(packages),
            "LAB_WAY": "built from Debian packages on this machine",
        },
        lock=lock,
        progress=progress,
        again=again,
        tell=tell,
    )


_PHASES = (
    ("running apt-get update", "reading the package lists", 0.1),
    ("downloading packages", "downloading packages", 0.25),
    ("extracting archives", "unpacking packages", 0.4),
    ("installing essential", "installing what every Debian has", 0.5),
    ("installing remaining", "installing Python", 0.65),
    ("creating tarball", "packing", 0.9),
)


def _progress(log: Path) -> Progress:
    """How far the build is, out of its log."""
    text = log.read_text(errors="replace")
    what, done = next(((what, done) for mark, what, done in reversed(_PHASES) if mark in text), ("starting", 0.0))
    return Progress(f"base image: {what}", done, 1, typical_s=TYPICAL_S)


def _import(engine: Engine, tar: Path, tell: Tell) -> None:
    facts = json.loads(tar.with_suffix(".json").read_text())
    repository, _, tag = BASE.partition(":")
    changes = [*CONFIG, _labels(tar.stem, facts["way"], facts["seconds"])]
    flags = [word for change in changes for word in ("--change", change)]
    tell(Progress("base image: into the container engine", typical_s=IMPORT_S))
    with tar.open("rb") as body, engine.client() as client:
        events = engine_says(
            client,
            "/images/create",
            command=shlex.join(["docker", "import", *flags, str(tar), BASE]),
            silence_s=APT_SILENCE_S,
            params={"fromSrc": "-", "repo": repository, "tag": tag, "changes": changes},
            headers={"Content-Type": "application/x-tar"},
            body=body,
        )
        with contextlib.closing(events):
            for _ in events:
                pass
