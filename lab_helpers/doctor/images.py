"""What the labs build upon: the guest's disk, container images, kind and kubectl; and which way each came here."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lab_helpers.core.settings import Place
from lab_helpers.doctor import engine
from lab_helpers.doctor.report import Finding, Level

if TYPE_CHECKING:
    from lab_helpers.images.own_image import OwnImage
    from lab_helpers.images.programs import Tool
    from lab_helpers.tools.engine import Engine


def guest_image(place: Place) -> Finding:
    """The guest's disk."""
    from lab_helpers.images.guest_image import TYPICAL_S, find_guest_image

    image = find_guest_image(place)
    if image is None:
        return _missing("GUEST-IMAGE", "Guest disk", f"not here yet; making it takes about {TYPICAL_S} s", "01")
    return Finding(
        id="GUEST-IMAGE",
        level=Level.OK,
        title="Guest disk",
        saw=f"{image.key}, {image.way}",
        facts={"key": image.key, "folder": str(image.folder), "way": image.way},
    )


def base_image(place: Place) -> Finding:
    """The image that the labs' Dockerfiles build upon."""
    from lab_helpers.images.base_image import BASE, find_base_image

    del place
    return _in_engine("BASE-IMAGE", "Base container image", BASE, find_base_image, "02")


def node_image(place: Place) -> Finding:
    """The image of kind's nodes."""
    from lab_helpers.images.node_image import NODE, find_node_image

    del place
    return _in_engine("NODE-IMAGE", "Node image for kind", NODE, find_node_image, "05")


def _in_engine(name: str, title: str, tag: str, find: Callable[[Engine], OwnImage | None], lab: str) -> Finding:
    seen = engine.look().engine
    image = find(seen) if seen else None
    if image is None:
        return _missing(name, title, f"{tag} is not in the engine yet" if seen else "no engine to hold it", lab)
    return Finding(id=name, level=Level.OK, title=title, saw=f"{image.tag}, {image.way}", facts={"way": image.way})


def kind(place: Place) -> Finding:
    """kind, which makes clusters out of containers."""
    from lab_helpers.images.programs import find_kind

    return _program("KIND", "kind", find_kind(place))


def kubectl(place: Place) -> Finding:
    """kubectl, which talks to clusters."""
    from lab_helpers.images.programs import find_kubectl

    return _program("KUBECTL", "kubectl", find_kubectl(place))


def registry(place: Place) -> Finding:
    """Whether images can be fetched; where they cannot, the course builds its own."""
    from lab_helpers.images.registry import answering, mirror

    del place
    names = [name for name in (mirror(), "docker.io", "registry.k8s.io") if name and answering(name)]
    saw = (
        f"answers: {', '.join(names)}" if names else "none answers, so images are built here from packages and modules"
    )
    if (chosen := mirror()) and chosen not in names:
        saw += f"; LAB_REGISTRY names {chosen}, which does not answer"
    return Finding(id="REGISTRY", level=Level.OK if names else Level.NOTE, title="Container registries", saw=saw)


def _missing(name: str, title: str, saw: str, lab: str) -> Finding:
    return Finding(id=name, level=Level.NOTE, title=title, saw=saw, advice=f"lab prepare {lab}")


def _program(name: str, title: str, tool: Tool | None) -> Finding:
    if tool is None:
        return _missing(name, title, "not here yet in the version that the labs use", "05")
    facts = {"path": str(tool.path), "version": tool.version, "way": tool.way}
    return Finding(id=name, level=Level.OK, title=title, saw=f"{tool.version}, {tool.way}", facts=facts)
