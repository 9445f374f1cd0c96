"""Lab 05: what it asks about earlier labs, and before it shows."""

from __future__ import annotations

from lab_helpers.boundaries.container import boot_id_of_engine
from lab_helpers.course.predictions import Truth, prediction, recall
from lab_helpers.course.world import World

NODE_KERNELS = (
    Truth("four: every node is a machine", ""),
    Truth(
        "two: the nodes share a kernel of their own",
        "The nodes are three containers in one engine, and your engine runs in a VM: its kernel is the one that the "
        "three share, and your machine's is the other. kind makes no machines, whatever the word node suggests.",
    ),
    Truth(
        "one",
        "The nodes are three containers in your engine, which runs right on your machine, and a container shares the "
        "kernel of where it runs. kind makes no machines, whatever the word node suggests.",
    ),
)


def node_kernels(world: World) -> Truth:
    """Kind's nodes run on the kernel of the engine, which is the host's or that of a VM around the engine."""
    _, two, one = NODE_KERNELS
    return one if boot_id_of_engine() == world.host_boot_id() else two


QUESTIONS = (
    recall(
        "boot-id",
        "Does a container have a boot id of its own?",
        choices=("yes, since it was started at another time", "no: it has that of the kernel where the engine runs"),
        answer="no: it has that of the kernel where the engine runs",
        because="A boot id belongs to a kernel, and a container has none of its own. A VM has one, and so its boot id "
        "differed from your machine's.",
    ),
    recall(
        "listen",
        "A service in a container listens on 127.0.0.1, and you publish its port with `-p`. Who can reach it?",
        choices=("your machine, through the published port", "only who is inside of the container"),
        answer="only who is inside of the container",
        because="The container has a loopback of its own, and a published port arrives at its network card. It is "
        "the guest of lab 01 once more, and it waits for you in every pod as well.",
    ),
    prediction(
        "node-kernels",
        "Three nodes and your own machine: how many different boot ids will you see?",
        choices=tuple(truth.answer for truth in NODE_KERNELS),
        answer=node_kernels,
    ),
    prediction(
        "node-images",
        "The image is in your engine, and the nodes are containers of this engine. Can a node run `pinboard:1` at "
        "once?",
        choices=("yes: it is the same engine", "no: something is missing"),
        answer="no: something is missing",
        because="Each node has a container runtime of its own, with a store of its own, inside of the node's "
        "container. The engine's images are not in it, just as they would not be on another machine.",
    ),
    prediction(
        "deleted-pod",
        "You delete the only pod. A minute later, what do you see?",
        choices=("nothing: it is deleted", "the same pod again", "another pod in its place"),
        answer="another pod in its place",
        because="You told the Deployment how many there should be, and nobody took that back. It counted one too few "
        "and made a new one: with another name, another address and an empty disk.",
    ),
    prediction(
        "three-boards",
        "You pin something through the Service and read the board six times. How often will your pin be there?",
        choices=("each time", "never", "sometimes"),
        answer="sometimes",
        because="Each of the three pods keeps a board of its own, your pin is on one of them, and each request goes to "
        "one by lot: about two of six find it. (With luck all six missed it; then read once more.)",
    ),
    prediction(
        "hanging-rollout",
        "A rollout hangs. What do the users get at this moment?",
        choices=("nothing: the old pods are gone", "now and then an error", "the old version, as before"),
        answer="the old version, as before",
        because="A Deployment takes old pods away only as new ones get ready. None got ready, so enough of the old "
        "ones still stand behind the Service and answer.",
    ),
)
