"""What there is in the container engine, and which of it is ours.

The engine is one for all of a machine, so that this decides what the course may list and remove. Ours, for one place,
is what appeared since the place began and

- was made from an image of the course: image and container carry the course's label, which every image inherits from
  the one that it was built upon, and every container from the image that it runs; or
- has a name that the course reserves: `pinboard`, or what begins with `pinboard-` (for Compose: as its project's name);

unless it says that another place of this machine made it: the docker command of each place labels what it makes.

Images in the namespace lab.local/ are caches of the course and stay. Never listed and never removed here are kind's
nodes with their networks and volumes (boundaries.cluster does that), and containers to which the course's own builders
and probes gave a label of their own: whoever makes these sweeps them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from lab_helpers.core.settings import Place
from lab_helpers.core.store import locked, write_atomic
from lab_helpers.core.waiting import wait_for
from lab_helpers.tools.engine import LABEL, PLACE_LABEL, find_engine
from lab_helpers.tools.kind import CLUSTER_LABEL

if TYPE_CHECKING:
    import docker

NAMESPACE = "lab.local/"
SAVED = f"{NAMESPACE}saved-"
"""Tags that keep the images of saved states (boundaries.saved_containers). Whose an image is they do not decide."""
RESERVED = re.compile(r"pinboard(-.*)?")
COMPOSE_LABEL = "com.docker.compose.project"
BUILT_IN_NETWORKS = ("bridge", "host", "none", "ingress", "docker_gwbridge", "podman")
GOING_S = 20
"""How long the engine may take to remove a container, in seconds."""

Sort = Literal["container", "network", "volume", "image", "tag"]
"""A tag of ours on an image that is not: only the tag goes. In this order things are removed."""


@dataclass(frozen=True)
class Thing:
    """One thing in the engine. `id` is a name with volumes and tags."""

    sort: Sort
    id: str
    names: tuple[str, ...] = ()
    """A container's name, an image's tags."""
    labels: Mapping[str, str] = field(default_factory=dict)
    created: float = 0.0
    """Seconds since the epoch, by the engine's clock; whole ones with containers and images."""
    image: str = ""
    """The ID of the image that a container runs, or of the one before a layer of the classic builder."""
    volumes: tuple[str, ...] = ()
    """The volumes that a container uses."""
    kept: bool = False
    """A saved state needs this image."""

    @property
    def words(self) -> str:
        """The thing as one reads of it."""
        if self.sort == "image" and not self.names:
            return f"the untagged image {self.id.removeprefix('sha256:')[:12]}"
        if self.nameless:
            return f"the nameless volume {self.id[:12]}"
        return f"the {'image' if self.sort == 'tag' else self.sort} {', '.join(self.names)}"

    @property
    def nameless(self) -> bool:
        """It is a volume that was made along with a container."""
        return self.sort == "volume" and re.fullmatch(r"[0-9a-f]{64}", self.id) is not None

    @property
    def reserved(self) -> bool:
        """It has a name of the course."""
        names = [name.rpartition(":")[0] if self.sort in ("image", "tag") else name for name in self.names]
        return any(RESERVED.fullmatch(name) for name in [*names, self.labels.get(COMPOSE_LABEL, "")])

    @property
    def cached(self) -> bool:
        """It is an image in the course's own namespace."""
        return self.sort == "image" and any(name.startswith(NAMESPACE) for name in self.names)


class _Known(BaseModel):
    """What one engine held when a place began; or, when it answered later only, what was older than the place."""

    model_config = ConfigDict(frozen=True)

    containers: frozenset[str] = frozenset()
    images: dict[str, tuple[str, ...]] = {}
    """ID -> tags."""
    networks: frozenset[str] = frozenset()
    volumes: frozenset[str] = frozenset()

    def holds(self, thing: Thing) -> bool:
        known = {
            "container": self.containers,
            "network": self.networks,
            "volume": self.volumes,
            "image": self.images,
            "tag": {tag for tags in self.images.values() for tag in tags},
        }
        return thing.id in known[thing.sort]


class Baseline(BaseModel):
    """When a place began, and what was in the engines then: none of that is ever ours."""

    model_config = ConfigDict(frozen=True)

    began: float
    """Seconds since the epoch."""
    engines: dict[str, _Known] = {}
    """By the engine's ID and folder: there may be several (contexts), and one may be made anew."""


def record_baseline(place: Place) -> None:
    """Write down, once, what the engine holds as this place begins. Without an engine only the time is kept.

    An engine that answers for the first time later is recorded then: what is in it from before the place began.
    """
    engine = find_engine()
    if engine is None:
        _baseline(place)
        return
    with engine.client() as client:
        _known(place, client, _things(client))


def read_baseline(place: Place) -> Baseline | None:
    """The place's baseline; None while there is none."""
    try:
        return Baseline.model_validate_json((place.state / "engine-baseline.json").read_text())
    except (OSError, ValueError):
        return None


def _baseline(place: Place) -> Baseline:
    found = read_baseline(place)
    if found is None:
        found = Baseline(began=time.time())
        _write(place, found)
    return found


def _write(place: Place, baseline: Baseline) -> None:
    write_atomic(place.state / "engine-baseline.json", baseline.model_dump_json(indent=1) + "\n")


def _known(place: Place, client: docker.DockerClient, things: Iterable[Thing]) -> _Known:
    """What this engine held when the place began."""
    info = client.info()
    engine = f"{info['ID']} {info.get('DockerRootDir', '')}"  # before version 23 all engines of a machine have one ID
    with locked(place.state / "engine-baseline.lock"):
        baseline = read_baseline(place)
        # A place that begins now has nothing in the engine yet, whatever the two clocks say.
        before = baseline.began if baseline else float("inf")
        baseline = baseline or _baseline(place)
        if engine not in baseline.engines:
            old = [thing for thing in things if thing.created < before]
            known = _Known(
                containers=frozenset(thing.id for thing in old if thing.sort == "container"),
                images={thing.id: thing.names for thing in old if thing.sort == "image"},
                networks=frozenset(thing.id for thing in old if thing.sort == "network"),
                volumes=frozenset(thing.id for thing in old if thing.sort == "volume"),
            )
            baseline = baseline.model_copy(update={"engines": {**baseline.engines, engine: known}})
            _write(place, baseline)
    return baseline.engines[engine]


# -- what there is -----------------------------------------------------------------------------------------------------


def _things(client: docker.DockerClient) -> list[Thing]:
    """Everything in the engine but the engine's own networks, and those of kind with its volumes."""
    listed = client.api.containers(all=True)
    nodes = [facts for facts in listed if CLUSTER_LABEL in (facts.get("Labels") or {})]
    volumes_of_kind = {mount.get("Name") for facts in nodes for mount in facts.get("Mounts") or ()}
    networks_of_kind = {name for facts in nodes for name in _networks(facts)} | {"kind"}
    found = [
        Thing(
            sort="container",
            id=facts["Id"],
            # A name with a second slash is what another container calls it (a link).
            names=tuple(name[1:] for name in facts.get("Names") or () if name.count("/") == 1) or (facts["Id"][:12],),
            labels=facts.get("Labels") or {},
            created=float(facts["Created"]),
            image=str(facts.get("ImageID", "")),
            volumes=tuple(str(mount.get("Name")) for mount in facts.get("Mounts") or ()),
        )
        for facts in listed
    ]
    for facts in client.api.networks():
        if facts["Name"] not in {*BUILT_IN_NETWORKS, *networks_of_kind}:
            found.append(_named("network", facts["Id"], facts, facts.get("Created")))
    for facts in client.api.volumes().get("Volumes") or ():
        if facts["Name"] not in volumes_of_kind:
            found.append(_named("volume", facts["Name"], facts, facts.get("CreatedAt")))
    return found + [_image(facts) for facts in client.api.images(all=True)]


def _networks(facts: Mapping[str, Any]) -> Iterable[str]:
    return ((facts.get("NetworkSettings") or {}).get("Networks") or {}).keys()


def _named(sort: Sort, identity: str, facts: Mapping[str, Any], created: str | None) -> Thing:
    return Thing(sort, identity, (facts["Name"],), facts.get("Labels") or {}, moment(created or ""))


def _image(facts: Mapping[str, Any]) -> Thing:
    tags = [tag for tag in facts.get("RepoTags") or () if not tag.startswith("<none>")]
    return Thing(
        sort="image",
        id=facts["Id"],
        names=tuple(tag for tag in tags if not tag.startswith(SAVED)),
        kept=any(tag.startswith(SAVED) for tag in tags),
        labels=facts.get("Labels") or {},
        created=float(facts["Created"]),
        image=str(facts.get("ParentId") or ""),
    )


def moment(text: str) -> float:
    """The engine's way to write a time, as seconds since the epoch; 0 for none.

    It has nine digits behind the point where Python reads six.
    """
    match = re.fullmatch(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d{1,6})?\d*(Z|[+-]\d\d:\d\d)", text)
    if match is None or text.startswith("0001-"):
        return 0.0
    seconds, fraction, zone = match.groups()
    return datetime.fromisoformat(f"{seconds}{fraction or '.0'}{zone.replace('Z', '+00:00')}").timestamp()


# -- whose it is -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sorted:
    """Everything in the engine, by whose it is: ours; older than this place, or of another one; others'."""

    ours: tuple[Thing, ...]
    older: tuple[Thing, ...]
    others: tuple[Thing, ...]


def sort_out(place: Place, client: docker.DockerClient) -> Sorted:
    """Look into the engine, and say of each thing whose it is. The first look records the place's baseline."""
    things = _things(client)
    known = _known(place, client, things)
    images = {thing.id: thing for thing in things if thing.sort == "image"}

    def foreign(thing: Thing) -> bool:
        return known.holds(thing) or made_elsewhere(place, thing.labels)

    ours: list[Thing] = []
    older: list[Thing] = []
    others: list[Thing] = []
    for thing in things:
        if thing.sort == "image" or CLUSTER_LABEL in thing.labels:
            continue
        if foreign(thing):
            older.append(thing)
        elif thing.reserved or _from_the_course(thing, images):
            ours.append(thing)
        elif LABEL not in thing.labels:
            others.append(thing)
    with_ours = {name for thing in ours for name in thing.volumes}
    others = [thing for thing in others if not (thing.nameless and thing.id in with_ours)]  # they go together
    running = {thing.image for thing in things if thing.sort == "container" and thing not in ours}
    needed = _with_ancestors(
        running | {i.id for i in images.values() if i.cached or foreign(i) or LABEL not in i.labels}, images
    )
    kept = _with_ancestors((image.id for image in images.values() if image.kept), images)
    needed |= {identity for identity in kept if not images[identity].names}  # of the others, the names may go
    parents = {image.image for image in images.values()}
    for image in images.values():
        tags = [Thing("tag", tag, (tag,), labels=image.labels, created=image.created) for tag in image.names]
        if image.id not in needed:
            ours.append(image)
            continue
        older += [tag for tag in tags if foreign(tag)]
        ours += [tag for tag in tags if tag.reserved and not foreign(tag)]
        hidden = (
            foreign(image) or image.cached or image.kept or LABEL in image.labels or (not tags and image.id in parents)
        )
        theirs = tuple(tag.id for tag in tags if not tag.reserved)
        if not hidden and (theirs or not tags):
            others.append(replace(image, names=theirs))
    return Sorted(tuple(ours), tuple(older), tuple(others))


def made_elsewhere(place: Place, labels: Mapping[str, str]) -> bool:
    """The docker command of another place made it."""
    return labels.get(PLACE_LABEL, place.mark) != place.mark


def _from_the_course(thing: Thing, images: Mapping[str, Thing]) -> bool:
    """A container of an image of the course, which it says with the very label of that image."""
    value = thing.labels.get(LABEL)
    image = images.get(thing.image)
    return value is not None and (image is None or image.labels.get(LABEL) == value)


def _with_ancestors(wanted: Iterable[str], images: Mapping[str, Thing]) -> set[str]:
    """These images and those that the classic builder made them of: the engine does not part with these."""
    found: set[str] = set()
    for name in wanted:
        while name in images and name not in found:
            found.add(name)
            name = images[name].image  # noqa: PLW2901 - up the chain
    return found


def leftovers(place: Place) -> list[str]:
    """What is ours in the engine, one line each."""
    return [thing.words for thing in _look(place).ours]


def others(place: Place) -> list[str]:
    """What appeared in the engine since the place began and is not the course's, one line each. It is never removed."""
    return [thing.words for thing in _look(place).others]


def taken(place: Place) -> list[str]:
    """What was there before this place under a name that the course reserves, one line each."""
    return [thing.words for thing in _look(place).older if thing.reserved]


def _look(place: Place) -> Sorted:
    engine = find_engine()
    if engine is None:
        return Sorted((), (), ())
    with engine.client() as client:
        return sort_out(place, client)


# -- removing it -------------------------------------------------------------------------------------------------------


def remove_all(place: Place) -> list[str]:
    """Remove what is ours: containers with their nameless volumes, networks, volumes, images. Returns what was removed.

    What the engine does not let go, because something of other people uses it, stays and is among `leftovers`.
    """
    engine = find_engine()
    if engine is None:
        return []
    with engine.client() as client:
        ours = sort_out(place, client).ours
        removed = [
            thing.words
            for sort in ("container", "network", "volume", "tag")
            for thing in ours
            if thing.sort == sort and _remove(client, thing)
        ]
        return removed + list(_remove_images(client, [thing for thing in ours if thing.sort == "image"]))


def _remove_images(client: docker.DockerClient, images: list[Thing]) -> Iterator[str]:
    """Children before their parents, which nobody but the engine can tell: again and again while one goes."""
    images = sorted(images, key=lambda image: not image.names)
    while images:
        gone = [image for image in images if _remove(client, image)]
        yield from (image.words for image in gone)
        still_there = {facts["Id"] for facts in client.api.images(all=True)}
        rest = [image for image in images if image.id in still_there]
        if len(rest) == len(images):
            return
        images = rest


def _remove(client: docker.DockerClient, thing: Thing) -> bool:
    """True when it was there and is gone now."""
    import docker

    try:
        match thing.sort:
            case "container":
                client.api.remove_container(thing.id, v=True, force=True)
            case "network":
                client.api.remove_network(thing.id)
            case "volume":
                client.api.remove_volume(thing.id)
            case "image" | "tag":
                for name in thing.names or (thing.id,):
                    client.api.remove_image(name)
    except docker.errors.NotFound:
        return False
    except docker.errors.APIError as error:
        if thing.sort == "container" and error.status_code == 409:  # somebody else removes it at this moment
            return wait_for(lambda: not _is_there(client, thing.id), f"{thing.words} to be removed", timeout_s=GOING_S)
        if error.status_code in (403, 409):  # in use, by something that is not ours
            return False
        raise
    return True


def _is_there(client: docker.DockerClient, container: str) -> bool:
    import docker

    try:
        client.api.inspect_container(container)
    except docker.errors.NotFound:
        return False
    return True
