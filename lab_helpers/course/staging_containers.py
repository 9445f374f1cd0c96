"""What near misses need to set their scene with containers: docker commands as a learner types them. For `prove`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from lab_helpers.core.processes import run
from lab_helpers.course.world import World
from lab_helpers.tools.engine import need_engine


def docker(world: World, *words: str, check: bool = True) -> str:
    """Run a docker command in the learner's folder; returns what it put out."""
    argv = ["docker", *words]
    return run(argv, cwd=world.work, env=need_engine().environment, timeout_s=120, check=check).out.strip()


@contextlib.contextmanager
def started(world: World, name: str, *words: str) -> Iterator[str]:
    """A container of that name (`words`: options, image, command), as long as the block runs. Yields the name."""
    try:
        docker(world, "run", "-d", "--name", name, *words)
        yield name
    finally:
        docker(world, "rm", "-f", "-v", name, check=False)


@contextlib.contextmanager
def set_aside(world: World, name: str) -> Iterator[None]:
    """Stop a container, so that its ports are free and nobody takes it for running; then it runs again."""
    docker(world, "stop", name)
    try:
        yield
    finally:
        docker(world, "start", name)
