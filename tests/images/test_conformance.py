"""Upstream's own conformance tests against a cluster of the node image: what the labs build upon is Kubernetes.

The test program is built from the same module as the node's programs; the images that its specs want are made here out
of Debian packages, under the names that it asks for. It takes 15 minutes to build and 25 to run on two cores.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import xml.etree.ElementTree as Xml
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab_helpers.core.settings import place
from lab_helpers.images import base_image
from lab_helpers.images.go_builds import SOURCES
from lab_helpers.images.toolchain import caches, find_go, go_environment
from lab_helpers.tools.qemu import host_arch
from tests.images.kind_cluster import MadeCluster, made_cluster

pytestmark = [pytest.mark.live, pytest.mark.engine, pytest.mark.full]

SUBJECTS = "Services|Networking|Probing container|Deployment|ReplicaSet|Secrets|ConfigMap"
FOCUS = rf"\[sig-(network|node|apps|storage)\] ({SUBJECTS}) .*\[Conformance\]"
REGISTRY = "registry.k8s.io/e2e-test-images"
PATH = "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
IMAGES = {
    # The names are those of test/utils/image/manifest.go of Kubernetes 1.37.
    "agnhost": ("agnhost:2.66.1", "agnhost:2.55"),
    "nginx": ("nginx:1.27.0-2", "nginx:1.28.0-2"),
    "busybox": ("busybox:1.37.0-2",),
}
PACKAGES = {
    "agnhost": "bash,curl,netcat-openbsd,bind9-dnsutils,iproute2,iptables,procps,ca-certificates",
    "nginx": "nginx-light",
    "busybox": "busybox-static",
}
CHANGES = {
    "agnhost": [PATH, 'ENTRYPOINT ["/agnhost"]', 'CMD ["pause"]'],
    "nginx": [PATH, 'ENTRYPOINT ["nginx", "-g", "daemon off;"]'],
    "busybox": [PATH, 'CMD ["sh"]'],
}
TOOLS = """//go:build tools

package tools

import (
	_ "k8s.io/kubernetes/test/e2e"
	_ "k8s.io/kubernetes/test/images/agnhost"
)
"""


@pytest.fixture(scope="module")
def tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with upstream's e2e.test and agnhost."""
    go = find_go(place())
    if go is None:
        pytest.skip("no Go here that is new enough")
    folder, here = tmp_path_factory.mktemp("e2e"), caches(place()).exists()
    for name in ("go.mod", "go.sum"):
        shutil.copy(SOURCES / "kubernetes" / name, folder)
    (folder / "tools.go").write_text(TOOLS)
    env = {**os.environ, **go_environment(place(), "linux", host_arch())}

    def run_go(*words: str) -> None:
        subprocess.run([go, *words], cwd=folder, env=env, check=True)

    try:
        run_go("mod", "tidy")  # the tests need modules that the node's programs do not
        run_go("build", "-ldflags", "-s -w", "-o", "agnhost", "k8s.io/kubernetes/test/images/agnhost")
        run_go("test", "-c", "-ldflags", "-s -w", "-o", "e2e.test", "k8s.io/kubernetes/test/e2e")
        yield folder
    finally:
        if not here:
            shutil.rmtree(caches(place()), ignore_errors=True)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory, tests: Path) -> Iterator[MadeCluster]:
    """Two nodes, with the images of the specs in them."""
    if not shutil.which("mmdebstrap"):
        pytest.skip("mmdebstrap is not installed")
    names = [f"{REGISTRY}/{name}" for each in IMAGES.values() for name in each]
    with made_cluster(tmp_path_factory.mktemp("cluster"), 1) as made:
        try:
            for image in IMAGES:
                _make(made, image, tests)
            for name in names:
                made.kind("load", "docker-image", name)
            yield made
        finally:
            with made.engine.client() as client:
                for name in names:
                    client.images.remove(name, force=True)


def _make(made: MadeCluster, image: str, tests: Path) -> None:
    """Make an image for the specs in the engine."""
    tree, tar = tests / image, tests / f"{image}.tar"
    settings = {
        "LAB_RECIPE": str(base_image.RECIPE),
        "LAB_OUT": str(tar),
        "LAB_ARCH": host_arch(),
        "LAB_SUITE": base_image.SUITE,
        "LAB_PACKAGES": PACKAGES[image],
        "LAB_WAY": "for a test",
    }
    subprocess.run([base_image.RECIPE / "build.sh"], env={**os.environ, **settings}, check=True)
    if image == "agnhost":
        subprocess.run(["tar", "-rf", tar, "-C", tree.parent, "--transform=s,^,./,", "agnhost"], check=True)
    with made.engine.client(timeout_s=300) as client:
        for name in IMAGES[image]:
            repository, _, tag = f"{REGISTRY}/{name}".partition(":")
            client.api.import_image_from_file(str(tar), repository=repository, tag=tag, changes=CHANGES[image])


def test_the_specs_pass(cluster: MadeCluster, tests: Path) -> None:
    argv = [
        *(str(tests / "e2e.test"), "-provider=skeleton", f"-kubeconfig={cluster.kubeconfig}"),
        *(f"-ginkgo.focus={FOCUS}", r"-ginkgo.skip=\[Disruptive\]", "-ginkgo.no-color", f"-report-dir={tests}"),
    ]
    with (tests / "log").open("wb") as log:
        subprocess.run(argv, stdout=log, stderr=log, cwd=tests, check=False)
    report = next(tests.glob("junit*.xml"))
    cases = [case for case in Xml.parse(report).iter("testcase") if case.find("skipped") is None]  # noqa: S314 - our own
    specs = [case for case in cases if "[Conformance]" in str(case.get("name"))]
    failed = sorted(str(case.get("name")) for case in specs if case.find("failure") is not None)
    assert len(specs) > 60
    assert failed == []
