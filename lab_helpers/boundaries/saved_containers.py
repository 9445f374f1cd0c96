"""The course's containers kept as they are, with their images, volumes and networks, and made again from there.

A container is kept as what it was made with (the engine's own words for it), the files in which it differs from its
image, and what is in its volumes. Its processes are not: brought back, they start anew. Images stay in the engine under
a tag of ours that nothing else uses, so that they cost nothing and are there at once.
Source: https://docs.docker.com/reference/api/engine/version/v1.41/
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from lab_helpers.boundaries.engine_objects import NAMESPACE, SAVED, Thing, sort_out
from lab_helpers.core.errors import LabError
from lab_helpers.core.events import Progress, Tell, silent
from lab_helpers.core.settings import Place
from lab_helpers.core.store import write_atomic
from lab_helpers.images.base_image import BASE
from lab_helpers.tools.engine import LABEL, find_engine, need_engine

if TYPE_CHECKING:
    import docker

RECORD = "containers.json"
MANY = 40
"""A container that differs from its image in more places than this is kept as an image, which takes longer."""
LIMIT_BYTES = 2**30
"""More than this is not kept of what is in one volume, or in one container."""
INSIDE = "/kept"
"""Where a volume is mounted in the container that only carries it."""
CHANGED, ADDED, DELETED = 0, 1, 2
"""How the engine writes in which way a path differs."""
IS_FOLDER = 1 << 31
"""In the mode of a file, as Go writes it."""

Facts = dict[str, Any]


def engine_key() -> str:
    """What kept containers depend on besides themselves: this very engine and the base image in it.

    Raises MachineError (ENGINE) when none answers.
    """
    import docker

    with need_engine().client() as client:
        info = client.info()
        try:
            base = str(client.api.inspect_image(BASE)["Id"])
        except docker.errors.ImageNotFound:
            base = ""
    return f"{info['ID']} {info.get('DockerRootDir', '')} {base}"


# -- keeping ----------------------------------------------------------------------------------------------------------


def save(place: Place, folder: Path, name: str) -> None:
    """Keep all that is this place's in the engine, clusters aside, in `folder`. What runs stands still meanwhile.

    `name` is used in tags, and in no other state of this place.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with need_engine().client() as client:
        ours = sort_out(place, client).ours
        with contextlib.ExitStack() as still:
            boxes = [client.api.inspect_container(thing.id) for thing in ours if thing.sort == "container"]
            boxes.sort(key=lambda box: str(box["Created"]))
            for box in boxes:
                if box["State"]["Running"] and not box["State"]["Paused"]:
                    still.enter_context(_paused(client, box["Id"]))
            tag = f"{SAVED}{place.mark}:{name}"
            record = {
                "images": [_keep_image(client, thing, tag, n) for n, thing in enumerate(_images(client, ours, boxes))],
                "networks": [client.api.inspect_network(thing.id) for thing in ours if thing.sort == "network"],
                "volumes": [_keep_volume(client, thing, folder) for thing in ours if _named_volume(thing)],
                "containers": [_keep_container(client, box, folder, tag, n) for n, box in enumerate(boxes)],
            }
    write_atomic(folder / RECORD, json.dumps(record, indent=1))


@contextlib.contextmanager
def _paused(client: docker.DockerClient, identity: str) -> Iterator[None]:
    """Without that (an engine that cannot) its files are kept as they happen to be."""
    import docker

    try:
        client.api.pause(identity)
    except docker.errors.APIError:
        yield
        return
    try:
        yield
    finally:
        client.api.unpause(identity)


def _named_volume(thing: Thing) -> bool:
    return thing.sort == "volume" and not thing.nameless


def _images(client: docker.DockerClient, ours: Iterable[Thing], boxes: Iterable[Facts]) -> list[Facts]:
    """The images to keep: those with a name of this place, and those that its containers were made of."""
    wanted = dict.fromkeys(thing.id for thing in ours if thing.sort in ("image", "tag") and thing.names)
    wanted |= dict.fromkeys(str(box["Image"]) for box in boxes)
    found = {facts["Id"]: facts for facts in map(client.api.inspect_image, wanted)}
    return list(found.values())


def _keep_image(client: docker.DockerClient, facts: Facts, tag: str, number: int) -> Facts:
    tags = [name for name in facts.get("RepoTags") or () if not name.startswith(SAVED)]
    if any(name.startswith(NAMESPACE) for name in tags):  # the course's own: it stays by itself
        return {"id": facts["Id"], "tags": tags, "kept": ""}
    repository, _, version = tag.rpartition(":")
    client.api.tag(facts["Id"], repository, f"{version}-{number}")
    return {"id": facts["Id"], "tags": tags, "kept": f"{tag}-{number}"}


def _keep_volume(client: docker.DockerClient, thing: Thing, folder: Path) -> Facts:
    file = f"volume-{thing.id}.tar"
    with _carrier(client, thing.id) as carrier:
        _fetch(client, carrier, f"{INSIDE}/.", folder / file)
    return {**client.api.inspect_volume(thing.id), "file": file}


@contextlib.contextmanager
def _carrier(client: docker.DockerClient, volume: str) -> Iterator[str]:
    """A container that never runs, and through which one reads and writes what is in a volume."""
    binds = client.api.create_host_config(binds=[f"{volume}:{INSIDE}"], network_mode="none")
    made = client.api.create_container(BASE, ["true"], host_config=binds, labels={LABEL: "carries a volume"})
    try:
        yield str(made["Id"])
    finally:
        client.api.remove_container(made["Id"], force=True)


def _keep_container(client: docker.DockerClient, box: Facts, folder: Path, tag: str, number: int) -> Facts:
    mounts = [mount for mount in box.get("Mounts") or () if mount.get("Type") == "volume"]
    nameless = [mount for mount in mounts if re.fullmatch(r"[0-9a-f]{64}", mount.get("Name") or "")]
    archives = []
    for n, mount in enumerate(nameless):
        file = f"{number}-mount-{n}.tar"
        _fetch(client, box["Id"], mount["Destination"] + "/.", folder / file)
        archives.append({"file": file, "into": mount["Destination"]})
    where = [mount["Destination"] for mount in box.get("Mounts") or ()]
    paths = differences(client.api.diff(box["Id"]) or (), where)
    image = ""
    if paths is None:
        repository, _, version = tag.rpartition(":")
        image = f"{tag}-container-{number}"
        client.api.commit(box["Id"], repository, f"{version}-container-{number}", pause=False)
    for n, (path, new) in enumerate((paths or {}).items()):
        file = f"{number}-path-{n}.tar"
        if _fetch(client, box["Id"], path, folder / file, whole_folders=new):
            archives.append({"file": file, "into": str(PurePosixPath(path).parent)})
    return {"facts": box, "image": image, "archives": archives}


def differences(diff: Iterable[Mapping[str, Any]], mounts: Iterable[str]) -> dict[str, bool] | None:
    """The paths to copy out of a container, out of the engine's list of what differs from its image; True: it is new.

    None: copying does not tell it all, since something was deleted, or it is too much.
    """
    mounts = tuple(mounts)
    kinds = {str(each["Path"]): int(each["Kind"]) for each in diff}
    kinds = {path: kind for path, kind in kinds.items() if not any(_within(path, mount) for mount in mounts)}
    if DELETED in kinds.values():
        return None
    above = {str(parent) for path in kinds for parent in PurePosixPath(path).parents}
    added = {path for path, kind in kinds.items() if kind == ADDED}
    paths = {}
    for path, kind in kinds.items():
        if any(str(parent) in added for parent in PurePosixPath(path).parents):
            continue  # it comes along with its folder
        if kind == ADDED and not any(_within(mount, path) for mount in mounts):
            paths[path] = True
        elif kind == CHANGED and path not in above:
            paths[path] = False
    return paths if len(paths) <= MANY else None


def _within(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")


def _fetch(client: docker.DockerClient, identity: str, path: str, target: Path, *, whole_folders: bool = True) -> bool:
    """Copy a path of a container into a tar file. Raises LabError when it is too much.

    Without `whole_folders` a folder is passed over, and False returned: what is in it is not what has changed.
    """
    chunks, stat = client.api.get_archive(identity, path)
    if int(stat.get("mode", 0)) & IS_FOLDER and not whole_folders:
        chunks.close()
        return False
    size = 0
    with target.open("wb") as file:
        for chunk in chunks:
            size += len(chunk)
            if size > LIMIT_BYTES:
                raise LabError(f"{path} in a container holds too much to be kept.")
            file.write(chunk)
    return True


# -- bringing back ----------------------------------------------------------------------------------------------------


def missing(folder: Path) -> str:
    """Why what is kept in `folder` cannot be brought back; empty when it can."""
    import docker

    engine = find_engine()
    if engine is None:
        return "no container engine answers"
    record = json.loads((folder / RECORD).read_text())
    with engine.client() as client:
        for name in _kept_tags(record):
            try:
                client.api.inspect_image(name)
            except docker.errors.ImageNotFound:
                return "an image of it is not in the engine any more"
    return ""


def _kept_tags(record: Facts) -> list[str]:
    names = [each["kept"] for each in record["images"]] + [each["image"] for each in record["containers"]]
    return [name for name in names if name]


def bring(folder: Path, tell: Tell = silent) -> list[str]:
    """Make again what is kept in `folder`; what ran, runs. None of it may be there. Returns the containers' names.

    Raises LabError when the engine does not take it, for example because a port is in use by now.
    """
    import docker

    record = json.loads((folder / RECORD).read_text())
    with need_engine().client() as client:
        try:
            _tag_images(client, record["images"])
            for network in record["networks"]:
                _make_network(client, network)
            for volume in record["volumes"]:
                _make_volume(client, volume, folder)
            new_ids: dict[str, str] = {}
            for kept in record["containers"]:
                tell(
                    Progress(
                        f"the container {_name(kept['facts'])} comes back", len(new_ids), len(record["containers"])
                    )
                )
                new_ids[kept["facts"]["Id"]] = _make_container(client, kept, folder, new_ids)
        except docker.errors.APIError as error:
            raise LabError("The engine does not take it.", why=str(error.explanation or error)) from None
    return [_name(kept["facts"]) for kept in record["containers"]]


def _name(facts: Facts) -> str:
    return str(facts["Name"]).removeprefix("/")


def _tag_images(client: docker.DockerClient, images: Iterable[Facts]) -> None:
    for image in images:
        for name in image["tags"] if image["kept"] else ():
            repository, _, version = name.rpartition(":")
            client.api.tag(image["id"], repository, version)


def _make_network(client: docker.DockerClient, facts: Facts) -> None:
    client.api.create_network(
        facts["Name"],
        driver=facts["Driver"],
        options=facts.get("Options") or {},
        ipam=facts.get("IPAM"),
        labels=facts.get("Labels") or {},
        internal=bool(facts.get("Internal")),
        attachable=bool(facts.get("Attachable")) or None,
        enable_ipv6=bool(facts.get("EnableIPv6")),
    )


def _make_volume(client: docker.DockerClient, facts: Facts, folder: Path) -> None:
    client.api.create_volume(
        facts["Name"], facts.get("Driver"), driver_opts=facts.get("Options") or {}, labels=facts.get("Labels") or {}
    )
    with _carrier(client, facts["Name"]) as carrier:
        _put(client, carrier, INSIDE, folder / facts["file"])


def _put(client: docker.DockerClient, identity: str, into: str, file: Path) -> None:
    with file.open("rb") as data:
        client.api.put_archive(identity, into, data)


def _make_container(client: docker.DockerClient, kept: Facts, folder: Path, new_ids: Mapping[str, str]) -> str:
    facts = kept["facts"]
    config = creation(facts, new_ids)
    config["Image"] = kept["image"] or _image_name(client, facts)
    made = client.api.create_container_from_config(config, _name(facts))
    networks = [name for name in facts["NetworkSettings"]["Networks"] if name != facts["HostConfig"]["NetworkMode"]]
    for name in networks:
        if name not in ("bridge", "host", "none"):
            client.api.connect_container_to_network(made["Id"], name)
    for archive in kept["archives"]:
        _put(client, made["Id"], archive["into"], folder / archive["file"])
    if facts["State"]["Running"]:
        client.api.start(made["Id"])
        if facts["State"]["Paused"]:
            client.api.pause(made["Id"])
    return str(made["Id"])


def _image_name(client: docker.DockerClient, facts: Facts) -> str:
    """The image by the name with which it was asked for, if that still means the same one."""
    import docker

    name = str(facts["Config"]["Image"])
    with contextlib.suppress(docker.errors.NotFound):
        if client.api.inspect_image(name)["Id"] == facts["Image"]:
            return name
    return str(facts["Image"])


def creation(facts: Facts, new_ids: Mapping[str, str]) -> Facts:
    """What the engine is asked to make: what the container was made with, without what was only that one's own."""
    words = json.dumps({**facts["Config"], "HostConfig": facts["HostConfig"]})
    for old, new in new_ids.items():  # it may share something with one that was made before it
        words = words.replace(old, new)
    config: Facts = json.loads(words)
    if config.get("Hostname") == facts["Id"][:12]:  # the engine's choice, which it makes anew
        del config["Hostname"]
    if str(config["HostConfig"].get("NetworkMode", "")).startswith(("container:", "host")):
        config.pop("Hostname", None)  # the other one's
    config.pop("MacAddress", None)
    chosen = facts["NetworkSettings"].get("Ports") or {}  # where the engine chose a port, it is that one again
    for inside, ways in (config["HostConfig"].get("PortBindings") or {}).items():
        if any(way.get("HostPort") in ("", "0", None) for way in ways or ()) and chosen.get(inside):
            config["HostConfig"]["PortBindings"][inside] = chosen[inside]
    mode = facts["HostConfig"].get("NetworkMode")
    endpoint = facts["NetworkSettings"]["Networks"].get(mode)
    if endpoint and mode not in ("bridge", "host", "none"):
        aliases = [name for name in endpoint.get("Aliases") or () if name != facts["Id"][:12]]
        config["NetworkingConfig"] = {
            "EndpointsConfig": {mode: {"Aliases": aliases, "IPAMConfig": endpoint.get("IPAMConfig")}}
        }
    return config


# -- forgetting -------------------------------------------------------------------------------------------------------


def sweep(place: Place, folders: Iterable[Path]) -> int:
    """Let go of the images that no state kept in `folders` needs. Returns how many; without an engine none."""
    engine = find_engine()
    if engine is None:
        return 0
    needed: set[str] = set()
    for folder in folders:
        with contextlib.suppress(OSError, ValueError, KeyError):
            needed.update(_kept_tags(json.loads((folder / RECORD).read_text())))
    import docker

    gone = 0
    with engine.client() as client:
        for facts in client.api.images(f"{SAVED}{place.mark}"):
            for name in set(facts.get("RepoTags") or ()) - needed:
                if name.startswith(f"{SAVED}{place.mark}:"):
                    with contextlib.suppress(docker.errors.APIError):  # a container uses it, or it is gone by now
                        client.api.remove_image(name)
                        gone += 1
    return gone
