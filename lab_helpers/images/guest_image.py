"""The guest's disk: a small Debian with PostgreSQL, what Pinboard needs, SSH and the guest agent, made to boot fast.

It is built from Debian packages: on Linux with mmdebstrap, elsewhere in a container. The result is kept under LAB_HOME
by the hash of its recipe. The build is a process of its own: if we are killed it goes on, and the next caller waits.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from lab_helpers.core.errors import LabError, MachineError
from lab_helpers.core.events import Note, Progress, Tell, silent
from lab_helpers.core.processes import find_program, run
from lab_helpers.core.settings import Place, offline
from lab_helpers.core.store import locked
from lab_helpers.images.build_process import run_build
from lab_helpers.tools.qemu import host_arch

RECIPE = Path(__file__).parent / "guest"
SUITE = "trixie"
KERNEL = {"amd64": "linux-image-cloud-amd64", "arm64": "linux-image-cloud-arm64"}
PACKAGES = (
    *("systemd-sysv", "openssh-server", "qemu-guest-agent", "iproute2", "procps", "kmod", "busybox-static"),
    *("postgresql", "python3-starlette", "python3-uvicorn", "python3-psycopg"),
    *("ca-certificates", "curl", "less", "nano", "xz-utils"),
)
DISK_SIZE = "6G"
TYPICAL_S = 90
BUILDER_IMAGE = f"debian:{SUITE}-slim"


@dataclass(frozen=True)
class GuestImage:
    """A guest disk that is ready to be built upon. The files are read-only; a VM gets an overlay of its own."""

    key: str
    arch: str
    folder: Path
    way: str
    """How it came here, for the doctor."""
    seconds: float
    """How long that took."""

    @property
    def disk(self) -> Path:
        return self.folder / "disk.qcow2"

    @property
    def kernel(self) -> Path:
        return self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        return self.folder / "initrd.img"


def image_key(arch: str) -> str:
    """The name under which the image of today's recipe is kept."""
    digest = hashlib.sha256(json.dumps([arch, SUITE, KERNEL[arch], PACKAGES, DISK_SIZE]).encode())
    for file in sorted(path for path in RECIPE.rglob("*") if path.is_file()):
        digest.update(f"{file.relative_to(RECIPE)}\0{file.stat().st_mode & 0o111:o}\0".encode())
        digest.update(file.read_bytes())
    return f"guest-{arch}-{digest.hexdigest()[:12]}"


def find_guest_image(place: Place, arch: str | None = None) -> GuestImage | None:
    """The image of today's recipe, if it is here already."""
    arch = arch or host_arch()
    folder = place.images / image_key(arch)
    try:
        facts = json.loads((folder / "image.json").read_text())
    except (OSError, ValueError):
        return None
    image = GuestImage(folder.name, arch, folder, str(facts.get("way", "")), float(facts.get("seconds", 0)))
    return image if all(path.exists() for path in (image.disk, image.kernel, image.initrd)) else None


def guest_image(place: Place, tell: Tell = silent, arch: str | None = None) -> GuestImage:
    """The image of today's recipe, built if need be (about TYPICAL_S seconds).

    Raises MachineError when this machine can build it neither itself nor in a container, or is told to stay offline;
    ToolError when the build fails.
    """
    arch = arch or host_arch()
    if image := find_guest_image(place, arch):
        return image
    folder = place.images / image_key(arch)

    def waiting() -> None:
        tell(Progress("guest disk: another process makes it, waiting", typical_s=TYPICAL_S))

    with locked(place.images / f"{folder.name}.lock", timeout_s=1800, on_wait=waiting) as lock:
        if image := find_guest_image(place, arch):
            return image
        if offline():
            raise MachineError(
                "The guest disk is not here yet, and LAB_OFFLINE forbids to get it.",
                finding="GUEST-IMAGE",
                do="unset LAB_OFFLINE and run `lab prepare 01` once where there is a network",
            )
        argv, way = _builder(folder)
        tell(Note(f"The guest disk is built {way}; this happens once."))
        _build(argv, folder, arch, way, lock, tell)
        image = find_guest_image(place, arch)
    if image is None:
        raise LabError("The guest disk was built, but its files are not all there.", do="run `lab prepare 01` again")
    tell(Progress("guest disk", 1, 1))
    return image


def _builder(folder: Path) -> tuple[list[str], str]:
    """The command that builds, and how to call that way."""
    if sys.platform == "linux" and find_program("mmdebstrap"):
        return [str(RECIPE / "build.sh")], "from Debian packages on this machine"
    docker = find_program("docker")
    if docker and run([docker, "info"], check=False, timeout_s=20).ok:
        install = "apt-get update -qq && apt-get install -qq -y --no-install-recommends mmdebstrap e2fsprogs qemu-utils"
        names = ("LAB_ARCH", "LAB_SUITE", "LAB_KERNEL", "LAB_PACKAGES", "LAB_DISK_SIZE", "LAB_WAY", "LAB_DEBIAN_MIRROR")
        proxies = ("http_proxy", "https_proxy", "no_proxy")
        # The result is made inside of the container and moved out at the end: a shared folder need not know owners.
        script = f"{install} && LAB_OUT=/tmp/guest /recipe/build.sh && mv /tmp/guest /out/{folder.name}"
        return [  # --init: without it nobody in the container would hear of Ctrl-C, and the build would go on there
            *(str(docker), "run", "--rm", "--init", "--privileged", "--label", "vm-to-kubernetes=guest-image"),
            *(part for name in (*names, *proxies) for part in ("-e", name)),
            *("-e", "LAB_RECIPE=/recipe", "-v", f"{RECIPE}:/recipe:ro", "-v", f"{folder.parent}:/out"),
            *(BUILDER_IMAGE, "sh", "-c", f"{script} && chown -R {os.getuid()}:{os.getgid()} /out/{folder.name}"),
        ], "from Debian packages in a container"
    raise MachineError(
        "The guest disk cannot be built on this machine.",
        finding="IMAGE-BUILDER",
        why="it has neither mmdebstrap nor a container engine that answers",
    )


def _build(argv: list[str], folder: Path, arch: str, way: str, lock: int, tell: Tell) -> None:
    settings = {
        "LAB_RECIPE": str(RECIPE),
        "LAB_OUT": str(folder),
        "LAB_ARCH": arch,
        "LAB_SUITE": SUITE,
        "LAB_KERNEL": KERNEL[arch],
        "LAB_PACKAGES": ",".join(PACKAGES),
        "LAB_DISK_SIZE": DISK_SIZE,
        "LAB_WAY": f"built {way}",
    }
    run_build(
        argv,
        what="The guest disk",
        log=folder.with_name(f"{folder.name}.log"),
        settings=settings,
        lock=lock,
        progress=_progress,
        again="lab prepare 01",
        tell=tell,
    )


_PHASES = (
    ("downloading packages", 1.2),
    ("extracting archives", 1.6),
    ("installing essential", 2.0),
    ("installing remaining", 2.4),
    ("running --customize-hook", 3.4),
    ("cleaning package lists", 3.8),
)


def _progress(log: Path) -> Progress:
    """How far the build is, out of its log."""
    text = log.read_text(errors="replace")
    steps = re.findall(r"^STEP (\d)/(\d) (.*)$", text, re.MULTILINE)
    done, what = (float(steps[-1][0]), str(steps[-1][2])) if steps else (0.0, "starting")
    if done == 1:
        done = next((value for mark, value in reversed(_PHASES) if mark in text), 1.0)
    return Progress(f"guest disk: {what}", done, 6, typical_s=TYPICAL_S)
