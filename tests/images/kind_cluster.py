"""A cluster that a test makes by plain kind, and drives by plain kubectl."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lab_helpers.core.processes import run
from lab_helpers.core.settings import place
from lab_helpers.images.base_image import find_base_image
from lab_helpers.images.node_image import NODE, find_node_image
from lab_helpers.images.programs import find_kind, find_kubectl
from lab_helpers.tools.engine import Engine, find_engine


@dataclass(frozen=True)
class MadeCluster:
    """A cluster that runs. Its kubeconfig is in a folder of the test's own."""

    name: str
    engine: Engine
    kubeconfig: Path
    programs: dict[str, Path]

    def kind(self, *words: str, stdin: str | None = None) -> str:
        return self._run("kind", [*words, "--name", self.name], stdin)

    def kubectl(self, *words: str, stdin: str | None = None) -> str:
        return self._run("kubectl", list(words), stdin)

    def _run(self, program: str, words: list[str], stdin: str | None) -> str:
        env = {**self.engine.environment, "KUBECONFIG": str(self.kubeconfig), "HOME": str(self.kubeconfig.parent)}
        return run([self.programs[program], *words], stdin=stdin, timeout_s=300, env=env).out

    def get(self, *words: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.kubectl("get", *words, "-o", "json"))["items"]
        return found

    def exec(self, pod: str, *argv: str) -> str:
        return self.kubectl("exec", pod, "--", *argv)


@contextlib.contextmanager
def made_cluster(folder: Path, workers: int) -> Iterator[MadeCluster]:
    """A cluster for the length of a block, all nodes of it ready."""
    engine, kind, kubectl = find_engine(), find_kind(place()), find_kubectl(place())
    if not (engine and kind and kubectl and find_node_image(engine) and find_base_image(engine)):
        pytest.skip("kind, kubectl or the images are not here yet: `lab prepare 02 05`")
    programs = {"kind": kind.path, "kubectl": kubectl.path}
    made = MadeCluster(f"image-test-{os.getpid()}", engine, folder / "kubeconfig", programs)
    nodes = ", ".join(["{role: control-plane}", *["{role: worker}"] * workers])
    config = f"{{kind: Cluster, apiVersion: kind.x-k8s.io/v1alpha4, nodes: [{nodes}]}}"
    try:
        made.kind("create", "cluster", "--image", NODE, "--config", "-", stdin=config)
        made.kubectl("wait", "--for=condition=Ready", "node", "--all", "--timeout=120s")
        yield made
    finally:
        made.kind("delete", "cluster")
