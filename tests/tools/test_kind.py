"""What we say to kind, and what we read out of what it says."""

from __future__ import annotations

import json

import pytest

from lab_helpers.tools.kind import NAME, Port, complaint, config, steps

SAID = """cgroup v1 is deprecated in Kubernetes and will not be supported in a future kind release
Creating cluster "pinboard" ...
 • Ensuring node image (lab.local/node:v1.37.0) 🖼  ...
 ✓ Ensuring node image (lab.local/node:v1.37.0) 🖼
 • Preparing nodes 📦 📦   ...
"""


def test_a_configuration_has_one_control_plane_and_listens_on_loopback_only() -> None:
    made = json.loads(config(2, (Port(8005, 30080),)))
    assert [node["role"] for node in made["nodes"]] == ["control-plane", "worker", "worker"]
    assert made["nodes"][0]["extraPortMappings"] == [
        {"containerPort": 30080, "hostPort": 8005, "listenAddress": "127.0.0.1"}
    ]


def test_steps_are_counted_and_named_without_pictures() -> None:
    assert steps("") == (0, "starting")
    assert steps(SAID) == (1, "Preparing nodes")
    assert steps(SAID[: SAID.index(" ✓")]) == (0, "Ensuring node image (lab.local/node:v1.37.0)")


def test_of_a_failure_the_line_that_names_it_is_told() -> None:
    said = (
        SAID + " ✗ Preparing nodes\nERROR: failed to create cluster: port is taken\nCommand Output: ...\nI1124 noise\n"
    )
    assert complaint(said) == "ERROR: failed to create cluster: port is taken"
    assert complaint("no such command") == "no such command"


@pytest.mark.parametrize("name", ["", "Pinboard", "a_b", "../up", "x" * 51, "a\n"])
def test_odd_names_do_not_fit(name: str) -> None:
    assert NAME.fullmatch(name) is None
