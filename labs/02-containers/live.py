"""Pinboard in production: the container that the incidents of this lab are about. The learner's own ones stay.

`lab break 02` runs it of the learner's image, with a volume, walls and some pins of users; then something happens.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from lab_helpers.boundaries.container import Container, Image, base, containers, image_of, images
from lab_helpers.core.errors import LabError, ToolError
from lab_helpers.core.ports import is_free
from lab_helpers.core.waiting import wait_for
from lab_helpers.course import staging
from lab_helpers.course.staging_containers import docker
from lab_helpers.course.world import World
from lab_helpers.tools.engine import need_engine

from .image import is_whoami
from .looks import inside
from .names import CONTAINER_PORT, IMAGE, LIVE, LIVE_PORT, MEMORY_MIB

if TYPE_CHECKING:
    from lab_helpers.course.oncall import Facts

URL = f"http://127.0.0.1:{LIVE_PORT}"
DATA = "/data"
DATABASE = f"DATABASE_URL=sqlite:///{DATA}/pins.db"
PORT = ("-p", f"127.0.0.1:{LIVE_PORT}:{CONTAINER_PORT}")
VOLUME = ("-v", f"{LIVE}:{DATA}")
MEMORY = (f"--memory={MEMORY_MIB}m", f"--memory-swap={MEMORY_MIB}m")
BRIEF = (
    f"container {LIVE}: image {IMAGE}, its port {CONTAINER_PORT} published on 127.0.0.1:{LIVE_PORT} and nowhere else,\n"
    f"at most {MEMORY_MIB} MiB of memory and no swap, the pins in the volume {LIVE}, mounted on {DATA},\n"
    f"-e {DATABASE}"
)
PINS = ("Lunch is at twelve today", "The printer on the second floor is back", "Who took the blue umbrella?")


def run(
    world: World,
    *options: str,
    port: Iterable[str] = PORT,
    volume: Iterable[str] = VOLUME,
    memory: Iterable[str] = MEMORY,
    name: str = LIVE,
) -> None:
    """Run it as it is meant to be, but for what is given."""
    docker(world, "run", "-d", "--name", name, *port, *volume, *memory, "-e", DATABASE, *options, IMAGE)


def replace(world: World, **changed: Any) -> None:
    """Another container in its place, on the same volume."""
    remove(world)
    run(world, *changed.pop("options", ()), **changed)


def remove(world: World) -> None:
    """Its container goes, whatever it is called by now; the volume stays."""
    for one in ours(world):
        docker(world, "rm", "-f", one.name, check=False)


def ours(world: World) -> list[Container]:
    """The containers that stand in its place: by their name, or by the port that they have, running or not."""
    found = []
    with need_engine().client() as client:
        for one in containers(world.place):
            config = client.api.inspect_container(one.id)["HostConfig"].get("PortBindings") or {}
            wanted = {int(way.get("HostPort") or 0) for ways in config.values() for way in ways or ()}
            if one.name == LIVE or LIVE_PORT in wanted:
                found.append(one)
    return found


def begin(world: World) -> Facts:
    """Run it anew, and let users pin something. Raises LabError while the learner has no image of Pinboard."""
    upon = base()
    if not any(IMAGE in image.tags and image.builds_upon(upon) for image in images(world.place)):
        raise LabError(
            f"There is no image {IMAGE} of yours yet, so nothing of yours runs that could break.",
            do="do the step about images first: `lab check 02 image`, or let `lab solve 02 image` do it",
        )
    if not (_as_it_is_meant_to_be(world) and world.get(f"{URL}/readyz").ok):
        _begin_anew(world)
    return {"pins": world.get(f"{URL}/api/pins").json()}


def _as_it_is_meant_to_be(world: World) -> bool:
    """It is there from an incident before: production goes on, with all that users have pinned by now."""
    there = ours(world)
    newest = next((image.id for image in images(world.place) if IMAGE in image.tags), "")
    if [(one.name, one.status, one.image_id) for one in there] != [(LIVE, "running", newest)]:
        return False
    with need_engine().client() as client:
        mounts = client.api.inspect_container(there[0].id)["Mounts"]
    return [(mount.get("Name"), mount["Destination"]) for mount in mounts] == [(LIVE, DATA)]


def _begin_anew(world: World) -> None:
    end(world, {})
    if not is_free("127.0.0.1", LIVE_PORT):
        raise LabError(
            f"The port {LIVE_PORT} of this machine is taken, and Pinboard is to run there.",
            do=f"find out who has it (`ss -ltnp | grep {LIVE_PORT}`), and end that program",
        )
    run(world)
    wait_until_it_works(world)
    for number, text in enumerate(PINS):
        said = world.post(f"{URL}/api/pins", {"text": text, "author": f"user {number + 1}"})
        if said.status != 201:
            raise LabError("Pinboard takes no pins, so there is nothing to break.", why=said.text[:300])


def rescue(world: World, facts: Facts) -> None:
    """As it is meant to be, with what is in the volume."""
    del facts
    replace(world)
    wait_until_it_works(world)


def end(world: World, facts: Facts) -> None:
    """Nothing of it is left."""
    del facts
    remove(world)
    docker(world, "volume", "rm", LIVE, check=False)


def wait_until_it_works(world: World) -> None:
    try:
        staging.wait_for_answer(world, f"{URL}/readyz")
    except LabError as error:
        said = next((one.logs(3) for one in ours(world)), "")
        raise LabError(f"Pinboard does not answer on port {LIVE_PORT}.", why=said or error.why) from None


def wait_until_ended(world: World) -> None:
    """Wait until its process has ended."""

    def ended() -> bool:
        return not any(one.running for one in ours(world))

    wait_for(ended, f"the process in {LIVE} to end", timeout_s=60, interval_s=0.2)


def start_again(world: World) -> None:
    """`docker start`, which some engines refuse when the process is killed at once."""
    with contextlib.suppress(ToolError):
        docker(world, "start", LIVE)


def who_answers(world: World, facts: dict[str, Any]) -> Container | None:
    """The container of ours from which this answer to "who are you?" comes, of an image that the learner built."""
    if not is_whoami(facts):
        return None
    for one in ours(world):
        around = inside(one, "around") if one.running and one.hostname == facts["host"] else None
        made: Image | None = image_of(one) if around else None
        if around and made and facts["pid"] in around["pids"] and made.builds_upon(base()):
            return one
    return None
