"""Lab 02: states that look done and are not. Each is made out of the solved state, and taken back."""

from __future__ import annotations

import contextlib
import ipaddress
import json
from collections.abc import Iterator

import psutil

from lab_helpers.boundaries.container import Container, container, containers
from lab_helpers.core.ports import is_free
from lab_helpers.core.waiting import wait_for
from lab_helpers.course import staging
from lab_helpers.course.staging_containers import docker, set_aside, started
from lab_helpers.course.world import World
from lab_helpers.images.base_image import BASE

from .looks import inside
from .names import CONTAINER_PORT, CPUS, HOST_PORT, IMAGE, MEMORY_MIB, PROCESSES
from .same_kernel import FILE, answers_of

NEAR = "pinboard-near-miss"
PUBLISHED = ("-p", f"127.0.0.1:{HOST_PORT}:{CONTAINER_PORT}")
PUBLIC = f"{HOST_PORT}:{CONTAINER_PORT}"


def _the(world: World, name: str) -> Container:
    found = container(world.place, name)
    assert found, f"no container {name}"
    return found


# -- same-kernel


def _answering(world: World, **changed: str) -> Iterator[None]:
    """Other answers in the learner's file."""
    answers = {**(answers_of(world) or {}), **changed}
    yield from staging.replaced(world.work / FILE, "".join(f"{key} = {value}\n" for key, value in answers.items()))


def _sleeper(world: World, *options: str) -> contextlib.AbstractContextManager[str]:
    return started(world, NEAR, *options, BASE, "sleep", "1000")


def another_process(world: World) -> Iterator[None]:
    with _sleeper(world):
        yield from _answering(world, pid_on_host=str(_the(world, NEAR).pid))


def number_inside(world: World) -> Iterator[None]:
    yield from _answering(world, pid_on_host="1")


def process_of_the_host(world: World) -> Iterator[None]:
    contained = {pid for one in containers(world.place) for pid in one.processes()}
    yield from _answering(world, pid_on_host=str(max(set(psutil.pids()) - contained)))


def removed_since(world: World) -> Iterator[None]:
    with _sleeper(world):
        pid = _the(world, NEAR).pid
        namespace = docker(world, "exec", NEAR, "readlink", "/proc/self/ns/pid")
    yield from _answering(world, container=NEAR, pid_on_host=str(pid), pid_namespace=namespace)


def _hosts_namespace(world: World) -> str:
    return docker(world, "run", "--rm", "--pid=host", BASE, "readlink", "/proc/self/ns/pid")


def hosts_namespace(world: World) -> Iterator[None]:
    yield from _answering(world, pid_namespace=_hosts_namespace(world))


def shares_processes(world: World) -> Iterator[None]:
    with _sleeper(world, "--pid=host"):
        pid = str(_the(world, NEAR).pid)
        yield from _answering(world, container=NEAR, pid_on_host=pid, pid_namespace=_hosts_namespace(world))


# -- image


@contextlib.contextmanager
def _in_place_of(world: World, name: str, *words: str) -> Iterator[None]:
    """Another container runs, and the learner's own is stopped."""
    with set_aside(world, name), started(world, NEAR, *words):
        yield
    if name == "pinboard":
        staging.wait_for_answer(world, f"http://127.0.0.1:{HOST_PORT}/readyz")


def _wait_for_pinboard(world: World, name: str = NEAR) -> None:
    one = _the(world, name)
    wait_for(lambda: inside(one, "whoami"), f"a Pinboard in {name}", timeout_s=60, interval_s=0.2)


def loopback_only(world: World) -> Iterator[None]:
    with _in_place_of(world, "pinboard", *PUBLISHED, "-e", "PINBOARD_HOST=127.0.0.1", IMAGE):
        _wait_for_pinboard(world)
        yield


def _canned(world: World, *options: str) -> Iterator[None]:
    """A server of files, one of which says what Pinboard once said."""
    said = world.get(f"http://127.0.0.1:{HOST_PORT}/api/whoami").text
    serve = (
        'mkdir -p /tmp/site/api && printf %s "$SAID" > /tmp/site/api/whoami && cd /tmp/site &&'
        f" exec python3 -m http.server {CONTAINER_PORT}"
    )
    if options:
        options = (*options, json.loads(said)["host"])
    with _in_place_of(world, "pinboard", *PUBLISHED, *options, "-e", f"SAID={said}", IMAGE, "sh", "-c", serve):
        staging.wait_for_answer(world, f"http://127.0.0.1:{HOST_PORT}/api/whoami")
        yield


def canned_answer(world: World) -> Iterator[None]:
    yield from _canned(world)


def canned_and_disguised(world: World) -> Iterator[None]:
    yield from _canned(world, "--hostname")


@contextlib.contextmanager
def _newer_page(world: World) -> Iterator[None]:
    """The learner's folder goes on: a line more in the page."""
    page = world.work / "pinboard" / "page" / "index.html"
    before = page.read_bytes()
    page.write_bytes(before + b"<!-- a newer page -->\n")
    try:
        yield
    finally:
        page.write_bytes(before)


def older_build(world: World) -> Iterator[None]:
    """The folder was changed and the image built anew; the container runs the image from before."""
    try:
        with _newer_page(world):
            docker(world, "build", "-q", "-t", IMAGE, ".")
            yield
    finally:
        docker(world, "build", "-q", "-t", IMAGE, ".")


def on_the_host(world: World) -> Iterator[None]:
    """A container that runs, a port that answers, and nothing between the two."""
    with _in_place_of(world, "pinboard", IMAGE), staging.pinboard_on_the_host(world, HOST_PORT):
        yield


def mounted_into_base(world: World) -> Iterator[None]:
    code = ("-v", f"{world.work}/pinboard:/srv/pinboard:ro", "-w", "/srv", "-e", "PINBOARD_HOST=0.0.0.0")
    with _in_place_of(world, "pinboard", *PUBLISHED, *code, BASE, "python3", "-m", "pinboard"):
        _wait_for_pinboard(world)
        yield


def mounted_over(world: World) -> Iterator[None]:
    with _in_place_of(world, "pinboard", *PUBLISHED, "-v", f"{world.work}/pinboard:/srv/pinboard:ro", IMAGE):
        _wait_for_pinboard(world)
        yield


def patched(world: World) -> Iterator[None]:
    """The newest page was copied into the running container, and into no image."""
    with _in_place_of(world, "pinboard", *PUBLISHED, IMAGE), _newer_page(world):
        docker(world, "cp", "pinboard/page/index.html", f"{NEAR}:/srv/pinboard/page/index.html")
        _wait_for_pinboard(world)
        yield


def open_to_all(world: World) -> Iterator[None]:
    """Published on another address than the loopback's, too: the bridge's, so that no network around sees it."""
    address = _bridge_address(world)
    ports = (*PUBLISHED, "-p", f"{address}:{HOST_PORT}:{CONTAINER_PORT}") if address else ("-p", PUBLIC)
    with _in_place_of(world, "pinboard", *ports, IMAGE):
        _wait_for_pinboard(world)
        yield


def _bridge_address(world: World) -> str:
    """The host's own address in the engine's network, if it can be listened on; an engine in a VM has it there.

    An engine that has made its bridge itself tells only the network, and takes the first address of it.
    """
    told = docker(world, "network", "inspect", "bridge", "-f", "{{range .IPAM.Config}}{{.Gateway}} {{.Subnet}} {{end}}")
    for word in told.split():
        first = ipaddress.ip_network(word)[1] if "/" in word else word
        if ":" not in str(first) and is_free(str(first), HOST_PORT):
            return str(first)
    return ""


# -- limits

SMALL = "pinboard-small"
MEMORY = f"--memory={MEMORY_MIB}m"
NO_SWAP = f"--memory-swap={MEMORY_MIB}m"
CPU = f"--cpus={CPUS}"
PIDS = f"--pids-limit={PROCESSES}"


def _limited(world: World, *options: str) -> Iterator[None]:
    """Pinboard in a container with these options, in the place of the learner's."""
    with _in_place_of(world, SMALL, *options, IMAGE):
        _wait_for_pinboard(world)
        yield
    _wait_for_pinboard(world, SMALL)


def reservation_only(world: World) -> Iterator[None]:
    yield from _limited(world, f"--memory-reservation={MEMORY_MIB}m", CPU, PIDS)


def another_container(world: World) -> Iterator[None]:
    """All limits are there, around a container that does nothing; Pinboard runs beside it."""
    with _in_place_of(world, SMALL, MEMORY, NO_SWAP, CPU, PIDS, BASE, "sleep", "1000"):
        yield
    _wait_for_pinboard(world, SMALL)


def a_stopped_one(world: World) -> Iterator[None]:
    with set_aside(world, SMALL):
        yield
    _wait_for_pinboard(world, SMALL)


def _counts_swap(world: World) -> bool:
    return "swap" in (inside(_the(world, SMALL), "limits") or {})


def swap_unlimited(world: World) -> Iterator[None]:
    """Where the kernel does not count swap, only a container without any limit of memory may swap as it likes."""
    memory = (MEMORY, "--memory-swap=-1") if _counts_swap(world) else ()
    yield from _limited(world, *memory, CPU, PIDS)


def swap_by_default(world: World) -> Iterator[None]:
    memory = (MEMORY,) if _counts_swap(world) else ()
    yield from _limited(world, *memory, CPU, PIDS)


def shares_only(world: World) -> Iterator[None]:
    yield from _limited(world, MEMORY, NO_SWAP, "--cpu-shares=512", PIDS)


def ulimit_only(world: World) -> Iterator[None]:
    yield from _limited(world, MEMORY, NO_SWAP, CPU, f"--ulimit=nproc={PROCESSES}")
