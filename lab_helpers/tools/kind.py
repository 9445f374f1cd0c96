"""kind: Kubernetes nodes as containers. The commands that we run, and what it says while a cluster is made.

Sources: https://kind.sigs.k8s.io/docs/user/configuration/ and, for the labels, the name of the network and the lines of
progress, kind 0.33's own pkg/cluster and pkg/internal/cli.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lab_helpers.core.processes import run

CLUSTER_LABEL = "io.x-k8s.kind.cluster"
"""The label that every node's container carries; its value is the cluster's name."""
ROLE_LABEL = "io.x-k8s.kind.role"
CONTROL_PLANE = "control-plane"
NETWORK = "kind"
"""The docker network that all clusters share. kind makes it and never removes it."""
NAME = re.compile(r"[a-z0-9.-]{1,50}")
"""What kind takes for a cluster's name; longer ones make host names that are too long."""

_STEP = re.compile(r"^ [•✓] (.+?)(?: +\.\.\.)?$", re.MULTILINE)
_DONE = re.compile(r"^ ✓ ", re.MULTILINE)


@dataclass(frozen=True)
class Port:
    """A port of 127.0.0.1 that leads to a port of the control plane's node (a NodePort of the cluster)."""

    host_port: int
    node_port: int


def config(workers: int, ports: tuple[Port, ...] = ()) -> str:
    """The configuration of a cluster with one control plane, for kind's stdin. JSON, which is YAML as well."""
    mappings = [
        {"containerPort": port.node_port, "hostPort": port.host_port, "listenAddress": "127.0.0.1"} for port in ports
    ]
    control_plane = {"role": CONTROL_PLANE, "extraPortMappings": mappings}
    nodes = [control_plane, *({"role": "worker"} for _ in range(workers))]
    return json.dumps({"kind": "Cluster", "apiVersion": "kind.x-k8s.io/v1alpha4", "nodes": nodes})


def steps(output: str) -> tuple[int, str]:
    """How many steps of a creation are done, and the one that runs now, out of what kind has said so far."""
    named = _STEP.findall(output)
    what = re.sub(r"[^\w\s().:/-]", "", named[-1]).strip() if named else "starting"
    return len(_DONE.findall(output)), what


def complaint(output: str) -> str:
    """Why kind gave up: its own line. After it come often hundreds of lines that a tool in a node said."""
    errors = [line for line in output.splitlines() if line.startswith("ERROR: ")]
    return errors[-1] if errors else output


@dataclass(frozen=True)
class Kind:
    """The program kind, and what it needs in its environment to reach the engine."""

    program: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def create_command(self, name: str, image: str, kubeconfig: Path) -> list[str]:
        """The command that makes a cluster out of a configuration on its stdin."""
        options = ("--name", name, "--image", image, "--kubeconfig", str(kubeconfig), "--config", "-")
        return [str(self.program), "create", "cluster", *options]

    def kubeconfig(self, name: str) -> str:
        """An administrator's way into a cluster, as kubectl reads it. Raises ToolError, also for nodes that are off."""
        return run([self.program, "get", "kubeconfig", "--name", name], timeout_s=20, env=self.environment).out

    def export_kubeconfig(self, name: str, kubeconfig: Path) -> None:
        """Enter a cluster into a kubeconfig, as its current context. Raises ToolError."""
        words = ("export", "kubeconfig", "--name", name, "--kubeconfig", kubeconfig)
        run([self.program, *words], timeout_s=20, env=self.environment)

    def load_image(self, name: str, tag: str) -> None:
        """Copy an image of the engine to every node of a cluster. Raises ToolError when there is no such image."""
        run([self.program, "load", "docker-image", tag, "--name", name], timeout_s=300, env=self.environment)
