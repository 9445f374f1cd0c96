"""An image that the course makes in the engine: known by its tag, and by the hash of its recipe in its labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from lab_helpers.tools.engine import LABEL, Engine


@dataclass(frozen=True)
class OwnImage:
    """Such an image as the engine has it."""

    tag: str
    id: str
    key: str
    """Which recipe it was made by."""
    way: str
    """How it was made, for the doctor."""
    seconds: float
    """How long that took."""


def find_own_image(engine: Engine, tag: str, key_for: Callable[[str], str]) -> OwnImage | None:
    """The image of that tag, if it was made by today's recipe: `key_for` names it for the image's architecture."""
    import docker

    with engine.client() as client:
        try:
            image = client.images.get(tag)
        except docker.errors.NotFound:
            return None
    labels = image.labels
    key = labels.get(f"{LABEL}.key", "")
    if key != key_for(str(image.attrs.get("Architecture", ""))):
        return None
    return OwnImage(tag, str(image.id), key, labels.get(f"{LABEL}.way", ""), float(labels.get(f"{LABEL}.seconds", 0)))
