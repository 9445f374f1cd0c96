"""SIGKILL in lab 05: kernel, kind, kubectl and `lab`, while a cluster is made and while a Deployment is rolled out.

It is the machine's own engine, which is never killed: kind's nodes need what only that one was set up for.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lab_helpers.images.node_image import find_node_image
from tests.fakes.own_engine import machines_engine
from tests.kills.conftest import seeds
from tests.kills.scene import Murder, Scene

pytestmark = [pytest.mark.live, pytest.mark.engine, pytest.mark.full]

LAB = "05-kubernetes"
WAYS = (
    *(("notebook", ("kernel",), "cluster"), ("notebook", ("kind", "kernel"), "cluster")),
    *(("solve", ("lab",), "cluster"), ("notebook", ("kubectl", "kernel"), "deploy")),
)
CREATE_S = 20
DEPLOY_S = 50


@pytest.mark.parametrize("seed", seeds(*range(1, 5)))
def test_killed_at_any_moment_nothing_is_lost(scene: Callable[..., Scene], seed: int) -> None:
    if find_node_image(machines_engine()) is None:
        pytest.skip("the node image is not made yet: `lab prepare 05`")
    act, victims, task = WAYS[(seed - 1) % len(WAYS)]
    name = f"{LAB} {seed}"
    the = scene(LAB)
    the.play(act, Murder.draw(name, victims, CREATE_S if task == "cluster" else DEPLOY_S), task)
    the.progress_is_whole()
    the.works_again(task, straight=False)
    the.clean_leaves_nothing()
