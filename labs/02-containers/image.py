"""The task image: what the check looks at."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from lab_helpers.boundaries.container import Container, Image, Port, base, containers, image_of, images
from lab_helpers.course.verdict import Evidence
from lab_helpers.course.world import World

from .looks import best, hashes, idle, inside
from .names import HOST_PORT


def look(world: World) -> Iterator[Evidence]:
    ours = containers(world.place)
    upon = base() if ours else None
    made = {c.id: image for c in ours if upon and (image := image_of(c)) and image.builds_upon(upon)}
    running = [c for c in ours if c.running and c.id in made]
    if running:
        yield from best(running, partial(_look_at, world, made))
        return
    saw, state = _why_none(world, ours, [c for c in ours if c.id in made])
    yield _image(False, saw, state)


def _why_none(world: World, ours: list[Container], built: list[Container]) -> tuple[str, str]:
    bare = sorted((c for c in ours if c.running), key=lambda c: not c.ports)
    if built and not any(c.ports for c in bare):
        return idle(built)
    if bare:
        return f"{bare[0].name} runs {bare[0].image}, to which nothing was added", "nothing-added"
    if made := images(world.place):
        return f"an image {', '.join(made[0].tags)}, and no container of it", "only-built"
    return "no image of yours, and no container", "no-image"


def _image(ok: bool, saw: str, state: str) -> Evidence:
    return Evidence(
        criterion="image",
        ok=ok,
        looked="the containers of this course, and the layers of the images that they run",
        expected="one that runs an image of your own: the layers of the course's base image and something upon them",
        saw=saw,
        command="docker ps -a",
        state=state,
    )


def _look_at(world: World, made: dict[str, Image], one: Container) -> list[Evidence]:
    seen = [_image(True, f"{one.name} runs {one.image}", "")]
    ports = [port for port in one.ports if port.local]
    answers = {port: world.get(f"http://127.0.0.1:{port.host_port}/api/whoami").json() for port in ports}
    port = next((port for port, answer in answers.items() if is_whoami(answer)), None)
    at = port.host_port if port else ports[0].host_port if ports else HOST_PORT
    saw, state = (f"Pinboard answers on port {at}", "") if port else _why_silent(world, one, ports)
    seen.append(
        Evidence(
            criterion="answers",
            ok=port is not None,
            looked=f"the ports of this machine that lead into {one.name}",
            expected="Pinboard's answer at /api/whoami on one of them",
            saw=saw,
            command=f"curl -s http://127.0.0.1:{at}/api/whoami",
            state=state,
        )
    )
    if port is None:
        return seen
    return [*seen, *_behind(world, one, made[one.id], port, answers[port])]


def _behind(world: World, one: Container, image: Image, port: Port, who: dict[str, Any]) -> Iterator[Evidence]:
    """Who stands behind that port, and with which code."""
    address = f"http://127.0.0.1:{port.host_port}"
    around = inside(one, "around") or {"boot_id": "", "pids": []}
    itself = who["boot_id"] == around["boot_id"] and who["host"] == one.hostname and who["pid"] in around["pids"]
    yield Evidence(
        criterion="itself",
        ok=itself,
        looked="the boot id, the host name and the process number in the answer, and the container's",
        expected=f"boot id {around['boot_id']}, host {one.hostname}, a process of {one.name}",
        saw=f"boot id {who['boot_id']}, host {who['host']}, process {who['pid']}",
        command=f"curl -s {address}/api/whoami; docker exec {one.name} ps ax",
        state="" if itself else "somebody-else",
    )
    text = "a pin that the check makes and takes away again"
    pin = world.post(f"{address}/api/pins", {"text": text, "author": "check"})
    made = pin.json() if pin.status == 201 else None
    kept = isinstance(made, dict) and made in (world.get(f"{address}/api/pins").json() or [])
    if kept:
        world.delete(f"{address}/api/pins/{made['id']}")
    yield Evidence(
        criterion="pin",
        ok=kept,
        looked="what happens to a new pin (the check makes one, and takes it away again)",
        expected="201, and it is on the board",
        saw="it is on the board" if kept else f"{pin.status or 'no answer'}: {pin.text.strip()[:160]}",
        command=f"curl -s {address}/api/pins",
        state="" if kept else "no-pin",
    )
    yield _current(world, one, image, str(who["pid"]))
    yield Evidence(
        criterion="private",
        ok=all(port.private for port in one.ports),
        looked=f"the addresses of this machine on which the ports of {one.name} are open",
        expected="127.0.0.1 alone",
        saw=", ".join(f"{port.address or 'every address'}:{port.host_port}" for port in one.ports),
        command=f"docker port {one.name}",
        state="" if all(port.private for port in one.ports) else "open-to-all",
    )


def _current(world: World, one: Container, image: Image, pid: str) -> Evidence:
    """Is the code in the image, and is it today's?"""
    today = hashes(world.work / "pinboard")
    found = inside(one, "code", pid) or {"folder": "", "files": {}}
    folder, files = found["folder"], found["files"]
    differ = sorted(name for name, digest in today.items() if files.get(name) != digest)
    changed = [path for path in one.changes() if path.removeprefix(f"{folder}/") in today]
    mounted = [path for path in one.mounts if folder == path or folder.startswith(path.rstrip("/") + "/")]
    mounted += [path for path in one.mounts if path.startswith(f"{folder}/")]
    if not today:
        saw, state = "no folder pinboard beside your notebook", "no-source"
    elif not folder:
        saw, state = f"no package pinboard where process {pid} would find it", "no-code"
    elif mounted:
        saw, state = f"{folder} is mounted into the container from outside of its image", "mounted"
    elif changed:
        saw, state = f"{changed[-1]} was changed in the container, after it was started", "patched"
    elif differ:
        saw, state = f"{differ[0]} is another one in the image" + (", and more" if differ[1:] else ""), "older"
    else:
        saw, state = f"the {len(today)} files in {folder} are the same", ""
    return Evidence(
        criterion="current",
        ok=not state,
        looked="the files of the package pinboard in the image, and those in your folder",
        expected=f"in {', '.join(image.tags) or one.image} what is in your folder now",
        saw=saw,
        command=f"docker exec {one.name} ls -l pinboard; ls -l pinboard",
        state=state,
    )


def is_whoami(answer: Any) -> bool:
    """It speaks like Pinboard."""
    return isinstance(answer, dict) and {"boot_id", "host", "pid", "started_at"} <= answer.keys()


def _why_silent(world: World, one: Container, ports: list[Port]) -> tuple[str, str]:
    """What is in the way between this machine and the service."""
    if not ports:
        if is_whoami(world.get(f"http://127.0.0.1:{HOST_PORT}/api/whoami").json()):
            return f"a Pinboard answers on port {HOST_PORT}, but no port leads into {one.name}", "not-the-container"
        return f"no port of 127.0.0.1 leads into {one.name}", "no-port"
    wanted = [port.container_port for port in ports]
    listening = (inside(one, "around") or {}).get("listeners", [])
    here = [address for address, port in listening if port in wanted]
    where = ", ".join(map(str, wanted))
    if here and all(address.startswith("127.") or address == "::1" for address in here):
        return f"in {one.name} the service listens on {here[0]} only", "loopback"
    if here:
        return "an answer that is not Pinboard's, or none", "no-pinboard"
    elsewhere = sorted({port for address, port in listening if not address.startswith("127.")})
    if elsewhere:
        return f"the port leads to {where} in {one.name}, and the service listens on {elsewhere[0]}", "wrong-port"
    return f"in {one.name} nobody listens on port {where}", "nobody-listens"
