"""Programs built from Go modules, each group kept by the hash of what it is made of, so that nothing is built twice.

What is built, at which versions and with which hashes, is in node/programs/*/go.mod and go.sum.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab_helpers.core.errors import MachineError
from lab_helpers.core.events import Progress, Tell, silent
from lab_helpers.core.settings import Place, offline
from lab_helpers.core.store import locked
from lab_helpers.images.build_process import run_build
from lab_helpers.images.toolchain import go_environment, go_program

SOURCES = Path(__file__).parent / "node" / "programs"
KUBERNETES = "1.37.0"
_VERSION = {
    "gitVersion": f"v{KUBERNETES}",
    "gitMajor": KUBERNETES.split(".", maxsplit=1)[0],
    "gitMinor": KUBERNETES.split(".")[1],
    "gitTreeState": "clean",
    "gitCommit": "built-from-the-go-module",
    "buildDate": "1970-01-01T00:00:00Z",  # the same bytes on every day
}
_TAGS = "selinux,notest,grpcnotrace"
"""What upstream builds its releases with."""
_STAMPED = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")


@dataclass(frozen=True)
class Group:
    """The programs that one run of `go build` makes."""

    module: str
    """The folder below SOURCES."""
    packages: tuple[str, ...]
    typical_s: float
    """On two cores, after the groups before it."""
    compiled: int
    """How many packages that compiles, for the progress."""
    tags: str = ""
    stamps: str = ""

    def sources(self) -> list[Path]:
        """The files that decide what it makes."""
        folder = SOURCES / self.module
        own = folder.rglob("*.go") if any(package.startswith(".") for package in self.packages) else ()
        return [folder / "go.mod", folder / "go.sum", *sorted(own)]


def _kubernetes(typical_s: float, compiled: int, *names: str) -> Group:
    stamps = " ".join(f"-X {package}.{name}={value}" for package in _STAMPED for name, value in _VERSION.items())
    packages = tuple(f"k8s.io/kubernetes/cmd/{name}" for name in names)
    return Group("kubernetes", packages, typical_s, compiled, _TAGS, stamps)


_SERVERS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet", "kubeadm")
GROUPS = {
    "kind": Group("kind", ("tool",), 15, 230),
    "kubectl": _kubernetes(110, 800, "kubectl"),
    "kubernetes": _kubernetes(250, 1400, *_SERVERS),
    "node-parts": Group("kubernetes", ("./...",), 10, 20, _TAGS),
    "etcd": Group("etcd", ("tool",), 40, 250),
    "coredns": Group("coredns", (".",), 60, 500),
    "cni": Group("cni", ("tool",), 10, 60),
    "local-path-provisioner": Group("local-path-provisioner", ("tool",), 65, 550),
    "metrics-server": Group("metrics-server", ("tool",), 125, 900),
}
NODE_GROUPS = tuple(name for name in GROUPS if name != "kind")
"""What a node is made of."""


def host() -> tuple[str, str]:
    """What Go calls this machine's system and processor."""
    processors = {"x86_64": "amd64", "aarch64": "arm64"}
    return sys.platform, processors.get(platform.machine(), platform.machine())


def folder_of(place: Place, name: str, goos: str, goarch: str) -> Path:
    """Where the programs of this group are kept once they are built, for this system and processor."""
    digest = hashlib.sha256(repr(GROUPS[name]).encode())
    for file in GROUPS[name].sources():
        digest.update(f"{file.relative_to(SOURCES)}\0".encode() + file.read_bytes())
    return place.home / "tools" / f"{name}-{goos}-{goarch}-{digest.hexdigest()[:12]}"


def built(place: Place, name: str, goos: str, goarch: str, tell: Tell = silent) -> Path:
    """The folder with the programs of this group, built if need be.

    Raises MachineError (GO) without a Go, or when told to stay offline; ToolError when the build fails.
    """
    folder, group = folder_of(place, name, goos, goarch), GROUPS[name]
    if folder.is_dir():
        return folder

    def waiting() -> None:
        tell(Progress(f"{name}: another process builds with Go, waiting", typical_s=group.typical_s))

    # One at a time: a single build keeps all cores busy.
    with locked(place.home / "tools" / "go-build.lock", timeout_s=3600, on_wait=waiting) as lock:
        if folder.is_dir():
            return folder
        if offline():
            raise MachineError(
                f"{name} is not built yet, and LAB_OFFLINE forbids to get its sources.",
                finding="GO",
                do="unset LAB_OFFLINE and run `lab prepare 05` once where there is a network",
            )
        go = go_program(place, tell)
        part = folder.with_name(f".{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        argv = [str(go), "build", "-C", str(SOURCES / group.module), "-v", "-o", f"{part}/"]
        argv += ["-tags", group.tags, "-ldflags", f"-s -w {group.stamps}".strip(), *group.packages]
        run_build(
            argv,
            what=name,
            log=place.home / "tools" / f"{name}.log",
            settings=go_environment(place, goos, goarch),
            lock=lock,
            progress=_progress(name, group),
            again="lab prepare 05",
            tell=tell,
        )
        part.rename(folder)
    return folder


def _progress(name: str, group: Group) -> Callable[[Path], Progress]:
    """How far a build is, out of what `go build -v` says: a line for each module it gets and package it compiles."""

    def read(log: Path) -> Progress:
        lines = log.read_text(errors="replace").splitlines()
        compiled = sum(not line.startswith("go: ") for line in lines)
        doing = "compiling" if compiled or not lines else "getting its sources"
        done = min(compiled, group.compiled - 1)  # some of it may be in the cache, and linking comes last
        return Progress(f"{name}: {doing}", done, group.compiled, "packages", group.typical_s)

    return read
