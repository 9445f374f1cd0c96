"""The passport's stamp of this lab: Pinboard in a container."""

from __future__ import annotations

from lab_helpers.boundaries.container import boot_id_of_engine, containers
from lab_helpers.course.passport import Served, over_http
from lab_helpers.course.world import World


def served(world: World) -> list[Served]:
    """The Pinboards that answer on a published port with the name of their container and the engine's kernel."""
    boot_id = boot_id_of_engine()
    found = []
    for one in containers(world.place):
        for port in (port for port in one.ports if one.running and port.local):
            address = f"http://127.0.0.1:{port.host_port}"
            answer = over_http(world, address, container=one.id[:12], boot_id=boot_id)
            if answer and answer.who.get("host") == one.hostname:
                found.append(answer)
    return found
