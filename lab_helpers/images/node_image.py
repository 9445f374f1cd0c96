"""The image of kind's nodes, under one name on every machine: made from kindest/node where a registry answers, else
built from Debian packages and Go modules at the same Kubernetes version.

Either way there is inside of it what the course needs beyond kind's own: a kubelet that starts on hosts with cgroup v1,
and metrics-server, so that `kubectl top` answers.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from lab_helpers.core.errors import LabError, MachineError
from lab_helpers.core.events import Event, Note, Progress, Tell, silent
from lab_helpers.core.processes import find_program, need_program, run
from lab_helpers.core.settings import Place, offline
from lab_helpers.core.store import locked
from lab_helpers.images import base_image
from lab_helpers.images.build_process import run_build
from lab_helpers.images.go_builds import GROUPS, KUBERNETES, NODE_GROUPS, SOURCES, built, folder_of, host
from lab_helpers.images.own_image import OwnImage, find_own_image
from lab_helpers.images.programs import KIND
from lab_helpers.images.registry import Reference, pull
from lab_helpers.images.toolchain import caches, go_environment, go_program
from lab_helpers.tools.engine import Engine, need_engine

NODE = f"lab.local/node:v{KUBERNETES}"
"""The name of the node image in the engine."""
# The default of kind 0.33.0: pkg/apis/config/defaults/image.go of its module.
KINDEST = Reference.parse(
    "kindest/node:v1.37.0@sha256:a1ed56cfb0e7b93589bdf97c8cd566405a265939e3620fc4f5de89adff580ae5"
)
# One for each architecture. Independent projects pin the same ones.
METRICS = {
    arch: Reference.parse(f"registry.k8s.io/metrics-server/metrics-server:v0.9.0@sha256:{digest}")
    for arch, digest in (
        ("amd64", "25d291fde59974547bac6f07fa9d6cf6f5bedd1f19d60c893311c5e741e0a42f"),
        ("arm64", "d0341e07a1cf2b751e684cba68e2a0c62d3c5d2d23501fd67dc384d517ec65de"),
    )
}
RECIPE = Path(__file__).parent / "node"
PACKAGES = (
    *("systemd", "conntrack", "iptables", "nftables", "iproute2", "ethtool", "util-linux", "mount", "kmod"),
    *("libseccomp2", "pigz", "e2fsprogs", "bash", "ca-certificates", "curl", "jq", "procps", "containerd", "runc"),
    *("ipset", "socat", "netbase", "hostname", "busybox-static"),
)
TYPICAL_S = 900
"""How long building it takes on two cores, in seconds; from a registry it is a minute or two."""


def image_key(arch: str) -> str:
    """The name of today's recipe, for amd64 or arm64."""
    said = [arch, debian_key(arch), KUBERNETES, KIND, KINDEST.digest, METRICS[arch].digest]
    digest = hashlib.sha256(json.dumps(said).encode())
    for file in sorted(path for path in RECIPE.rglob("*") if path.is_file()):
        digest.update(f"{file.relative_to(RECIPE)}\0".encode() + file.read_bytes())
    digest.update(repr(GROUPS).encode())
    return f"node-{arch}-{digest.hexdigest()[:12]}"


def find_node_image(engine: Engine) -> OwnImage | None:
    """The node image of today's recipe, if the engine has it already."""
    return find_own_image(engine, NODE, image_key)


def node_image(place: Place, tell: Tell = silent) -> OwnImage:
    """The node image of today's recipe, made if need be (TYPICAL_S seconds where no registry answers).

    Raises MachineError when no engine answers (ENGINE), or when this machine can neither get nor build it, or is told
    to stay offline (NODE-IMAGE); ToolError when the build fails. Interrupted and run again it goes on.
    """
    engine = need_engine()
    if image := find_node_image(engine):
        return image
    need_program("docker", "ENGINE")
    with engine.client() as client:
        arch = str(client.version()["Arch"])
    key = image_key(arch)

    def waiting() -> None:
        tell(Progress("node image: another process makes it, waiting", typical_s=TYPICAL_S))

    with locked(place.images / "node-image.lock", timeout_s=7200, on_wait=waiting) as lock:
        if image := find_node_image(engine):
            return image
        if not _from_registry(place, engine, arch, key, lock, tell):
            _build(place, engine, arch, key, lock, tell)
        image = find_node_image(engine)
    if image is None:
        raise LabError("The node image was made, but the engine does not show it.", do="run `lab prepare 05` again")
    tell(Progress("node image", 1, 1))
    return image


def _from_registry(place: Place, engine: Engine, arch: str, key: str, lock: int, tell: Tell) -> bool:
    """Make it from kindest/node. False when that cannot be had; a Note says why."""
    began = time.time()
    source = pull(engine, KINDEST, tell)
    if source is None:
        return False
    name = f"{KINDEST.repository}:{KINDEST.tag}"
    tell(Note(f"The node image is made from the registry's {name}; this happens once."))
    metrics = pull(engine, METRICS[arch], tell)
    found = {"LAB_METRICS": metrics} if metrics else {"LAB_METRICS_PROGRAM": _metrics_program(place, arch, tell)}
    settings = {"LAB_FROM": source, **found}
    _run(place, engine, "derive.sh", key, f"from the registry's {name}", began, settings, lock, tell)
    return True


def _metrics_program(place: Place, arch: str, tell: Tell) -> str:
    return str(built(place, "metrics-server", "linux", arch, tell) / "metrics-server")


def _build(place: Place, engine: Engine, arch: str, key: str, lock: int, tell: Tell) -> None:
    """Make it from Debian packages and Go modules."""
    began = time.time()
    debian = place.images / f"{debian_key(arch)}.tar"
    missing = [name for name in NODE_GROUPS if not folder_of(place, name, "linux", arch).is_dir()]
    if offline() and (missing or not debian.exists() or not _kind_folder(place).is_dir()):
        raise MachineError(
            "The node image is not here yet, and LAB_OFFLINE forbids to get it.",
            finding="NODE-IMAGE",
            do="unset LAB_OFFLINE and run `lab prepare 05` once where there is a network",
        )
    if sys.platform != "linux" or not find_program("mmdebstrap") or host() != ("linux", arch):
        raise MachineError(
            "The node image cannot be made on this machine.",
            finding="NODE-IMAGE",
            why="no registry gave kindest/node, and only a Linux with mmdebstrap can build it",
            do="see that the network lets the container engine pull kindest/node (or name a mirror of images in "
            "LAB_REGISTRY), or on Debian and Ubuntu: sudo apt-get install mmdebstrap debian-archive-keyring uidmap",
        )
    tell(Note("The node image is built from Debian packages and Kubernetes' own sources; this happens once."))
    steps = len(missing) + 3
    programs = []
    for name in NODE_GROUPS:
        step = missing.index(name) + 1 if name in missing else 0
        programs.append(built(place, name, "linux", arch, _numbered(tell, step, steps)))
    kind_files = _kind_files(place, _numbered(tell, steps - 2, steps))
    _debian(debian, arch, lock, _numbered(tell, steps - 1, steps))
    settings = {
        "LAB_DEBIAN": str(debian),
        "LAB_PROGRAMS": "\n".join(map(str, programs)),
        "LAB_KIND_FILES": str(kind_files),
        "LAB_VERSION": KUBERNETES,
    }
    way = "built from Debian packages and Go modules on this machine"
    _run(place, engine, "assemble.sh", key, way, began, settings, lock, _numbered(tell, steps, steps))
    shutil.rmtree(caches(place), ignore_errors=True)  # some GB, of no use once everything is built


def _numbered(tell: Tell, step: int, steps: int) -> Tell:
    """Say in front of what is told which step of the whole it belongs to."""

    def say(event: Event) -> None:
        if isinstance(event, Progress):
            event = replace(event, what=f"node image, step {step} of {steps}: {event.what}")
        tell(event)

    return say


def _run(
    place: Place,
    engine: Engine,
    script: str,
    key: str,
    way: str,
    began: float,
    settings: Mapping[str, str],
    lock: int,
    tell: Tell,
) -> None:
    """Run the script that makes the image in the engine."""
    run_build(
        [str(RECIPE / script)],
        what="The node image",
        log=place.images / f"{key}.log",
        settings={
            **engine.environment,
            "LAB_RECIPE": str(RECIPE),
            "LAB_SCRATCH": str(place.images / ".node-image"),
            "LAB_TAG": NODE,
            "LAB_ARCH": key.split("-")[1],
            "LAB_KEY": key,
            "LAB_WAY": way,
            "LAB_BEGAN": f"{began:.0f}",
            **settings,
        },
        lock=lock,
        progress=_progress,
        again="lab prepare 05",
        tell=tell,
    )


def _kind_folder(place: Place) -> Path:
    return place.home / "tools" / f"kind-files-{KIND}"


def _kind_files(place: Place, tell: Tell) -> Path:
    """The files that kind puts into a node (its units, its entrypoint), out of its own module."""
    folder = _kind_folder(place)
    if not folder.is_dir():
        tell(Progress("kind's own files", typical_s=5))
        go, where = go_program(place, tell), go_environment(place, *host())
        run([go, "-C", SOURCES / "kind", "mod", "download", "sigs.k8s.io/kind"], env=where, timeout_s=300)
        module = run([go, "-C", SOURCES / "kind", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kind"], env=where)
        part = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        shutil.copytree(Path(module.out.strip()) / "images" / "base" / "files", part)
        part.rename(folder)
    return folder


def debian_key(arch: str) -> str:
    """The name of today's Debian below the node image, for amd64 or arm64."""
    digest = hashlib.sha256(json.dumps([arch, base_image.SUITE, PACKAGES]).encode())
    for name in ("build.sh", "trim.sh"):
        digest.update((base_image.RECIPE / name).read_bytes())
    return f"node-debian-{arch}-{digest.hexdigest()[:12]}"


def _debian(tar: Path, arch: str, lock: int, tell: Tell) -> None:
    """Have the tar of the node's Debian in the cache."""
    if tar.exists():
        return
    base_image.build_debian(
        tar,
        arch,
        PACKAGES,
        what="The node image's Debian",
        progress=lambda _: Progress("Debian's packages", typical_s=60),
        lock=lock,
        again="lab prepare 05",
        tell=tell,
    )


def _progress(log: Path) -> Progress:
    """How far the making in the engine is, out of its log."""
    steps = re.findall(r"^STEP (\d)/(\d) (.*)$", log.read_text(errors="replace"), re.MULTILINE)
    done, total, what = steps[-1] if steps else ("0", "5", "starting")
    return Progress(what, float(done), float(total), "parts", typical_s=60)
