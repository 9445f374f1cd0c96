"""Lab 02: see what a container is, make an image of Pinboard and serve from it, and put walls around it."""

from __future__ import annotations

from collections.abc import Iterator

from lab_helpers.course.declare import Lab
from lab_helpers.course.verdict import Evidence
from lab_helpers.course.world import World

from . import image as image_check
from . import limits as limits_check
from . import near
from . import same_kernel as kernel_check
from .looks import START_HINTS
from .names import CONTAINER_PORT, HOST_PORT, IMAGE, MEMORY_MIB, PROCESSES
from .questions import QUESTIONS
from .stamp import served

LAB = Lab(
    "02-containers",
    title="A container",
    minutes=35,
    memory_mib=500,
    disk_mib=400,
    needs_engine=True,
    containers=True,
    questions=QUESTIONS,
    shared=("pinboard/pinboard",),
)

RUN = f"docker run -d --name pinboard -p 127.0.0.1:{HOST_PORT}:{CONTAINER_PORT} {IMAGE}"


# -- same-kernel -----------------------------------------------------------------------------------------------------


@LAB.task(
    "same-kernel",
    "Find a container's process where the engine runs",
    criteria={
        "running": (1, "a container of yours runs"),
        "kernel": (1, "it has no kernel of its own"),
        "answers": (1, f"{kernel_check.FILE} has your three answers"),
        "pid": (1, "the number is that of a process of this container, where the engine runs"),
        "namespace": (1, "the PID namespace is the one that this container has to itself"),
    },
    hints={
        **START_HINTS,
        "no-container": (
            "There is no container yet. The worked example shows how `visitor` was started.",
            "Yours needs a program that goes on: `!docker run -d --name NAME lab.local/python:3.13 sleep 5000`",
        ),
        "gone": (
            "The container that your file names is not there. Was it removed since, or started anew by another name?",
            "`!docker ps` shows what runs. Numbers of a container that is gone belong to nobody: look them up anew.",
        ),
        "no-python": (
            "The check looks from inside, with the Python of the course's image, and did not find it there.",
            "Start your container from `lab.local/python:3.13`.",
        ),
        "own-kernel": (
            "This container sees another kernel than the engine: it runs in a small VM of its own. Its engine has a "
            "runtime that does so.",
            "Start it with the ordinary one: `docker run --runtime runc ...`",
        ),
        "no-file": (
            f"The check reads the file `{kernel_check.FILE}` beside this notebook, and it is not there.",
            "Write it anew, three lines: `container = ...`, `pid_on_host = ...`, `pid_namespace = ...`.",
        ),
        "open": (
            f"There is still a question mark in `{kernel_check.FILE}`. Did you save the file?",
            "All three are found with commands of the worked example, with your container's name in the place of "
            "`visitor`.",
        ),
        "number-inside": (
            "That is how the container numbers its processes. Outside of it the same process has another number.",
            "`!docker top NAME` asks from outside; so does `docker inspect`.",
        ),
        "other-container": (
            "That is a process of a container, and of another one. Which name is in your file?",
            "`!docker top NAME` with the very name that you wrote down.",
        ),
        "not-its-process": (
            "No process of your container has this number. After a restart it has a new one.",
            "`!docker top NAME` shows the number of today, in the column PID.",
        ),
        "other-namespace": (
            "That is another PID namespace: the host's own perhaps, or one of a container from before.",
            "Ask about the number that your process has where the engine runs: `readlink /proc/NUMBER/ns/pid`, in a "
            "container with `--pid=host`.",
            "Or from inside: `!docker exec NAME readlink /proc/self/ns/pid`",
        ),
        "shared-namespace": (
            "This container was started with `--pid`: it has no PID namespace of its own, and sees somebody else's "
            "processes. Take one without.",
        ),
    },
)
def same_kernel(world: World) -> Iterator[Evidence]:
    yield from kernel_check.look(world)


same_kernel.near_miss("another-containers-process", fails="pid", state="other-container")(near.another_process)
same_kernel.near_miss("the-number-inside", fails="pid", state="number-inside")(near.number_inside)
same_kernel.near_miss("a-process-of-the-host", fails="pid", state="not-its-process")(near.process_of_the_host)
same_kernel.near_miss("removed-since", fails="running", state="gone")(near.removed_since)
same_kernel.near_miss("the-hosts-namespace", fails="namespace", state="other-namespace")(near.hosts_namespace)
same_kernel.near_miss("shares-the-hosts-processes", fails="namespace", state="shared-namespace")(near.shares_processes)


# -- image -----------------------------------------------------------------------------------------------------------


@LAB.task(
    "image",
    "Make an image of Pinboard, and serve from it",
    criteria={
        "image": (1, "a container of yours runs an image that you built upon the course's"),
        "answers": (2, "Pinboard answers on a port of this machine that leads into it"),
        "itself": (1, "it is this container that answers"),
        "pin": (1, "it takes a pin"),
        "current": (2, "the image holds Pinboard as it is in your folder now"),
        "private": (1, "nobody but this machine can reach that port"),
    },
    hints={
        **START_HINTS,
        "no-image": (
            "There is no image of yours yet. Complete the three lines of `Dockerfile`, then build.",
            "The three lines: `COPY pinboard ./pinboard`, `ENV PINBOARD_HOST=0.0.0.0`, "
            '`CMD ["python3", "-m", "pinboard"]`.',
            f"Build it with `!docker build -q -t {IMAGE} .` (the point is this folder), then run it: `!{RUN}`",
        ),
        "only-built": ("The image is there. An image does nothing by itself: run a container of it.", f"`!{RUN}`"),
        "nothing-added": (
            "Your container runs the course's image as it is. What it serves is not in an image of yours.",
            f"Complete `Dockerfile`, build with `!docker build -q -t {IMAGE} .`, and run that image.",
        ),
        "no-port": (
            "The container runs, and no port of your machine leads into it. EXPOSE in a Dockerfile opens "
            "nothing; it is a note for the reader.",
            f"A port is published when the container is made. `!docker rm -f NAME`, then: `!{RUN}`",
        ),
        "not-the-container": (
            "A Pinboard answers on that port, and it is not the one in your container: no port leads there.",
            f"End that other one, and publish your container's port: `-p 127.0.0.1:{HOST_PORT}:{CONTAINER_PORT}`.",
        ),
        "loopback": (
            "You have met this one in lab 01: the service listens on 127.0.0.1, and in a container that is the "
            "container's own loopback.",
            "In the Dockerfile: `ENV PINBOARD_HOST=0.0.0.0`. Then build anew, and make a new container of it.",
        ),
        "wrong-port": (
            "The port of your machine leads to a port of the container on which nobody listens.",
            f"In `-p 127.0.0.1:{HOST_PORT}:{CONTAINER_PORT}` the last number is the container's. `docker logs NAME` "
            "says on which one Pinboard listens.",
        ),
        "nobody-listens": (
            "The container runs, and nobody listens in it. What is its process doing?",
            "`!docker top NAME` and `!docker logs NAME` tell. What runs is the last line of the Dockerfile, CMD.",
        ),
        "no-pinboard": (
            "Something answers there, or hangs, but it does not speak like Pinboard.",
            f"`!curl -i -m 5 http://127.0.0.1:{HOST_PORT}/api/whoami` shows what it says, `!docker top NAME` who.",
        ),
        "somebody-else": (
            "An answer comes, and it is about another process than the ones in this container.",
            "Is it really Pinboard that runs there? Compare `docker top NAME` with the answer at `/api/whoami`.",
        ),
        "no-pin": (
            "It answers, and it does not take a pin. The answer of the service says why; so does `docker logs NAME`.",
            "Pins go into a file in the folder in which it runs, unless `DATABASE_URL` says otherwise. Whoever runs it "
            "must be allowed to write there.",
        ),
        "no-source": (
            "Your folder has no `pinboard` to compare with. `lab reset 02` brings it back, and keeps what you wrote.",
        ),
        "no-code": (
            "Something answers like Pinboard, and there is no Pinboard where that process runs.",
            "`COPY pinboard ./pinboard` puts it into the image; WORKDIR is where `python3 -m pinboard` looks for it.",
        ),
        "mounted": (
            "The code comes into the container from outside. The image alone would not run anywhere else.",
            "Leave out `-v` (or `--mount`) for the code, and let the Dockerfile copy it.",
        ),
        "patched": (
            "You changed the code in the running container. The next container of this image knows nothing about it.",
            f"Put the change into your folder, and build: `!docker build -q -t {IMAGE} .`. Then make a new container.",
        ),
        "older": (
            "What runs was built from another state of your folder. Neither a container nor an image follows the files "
            "that it was made of.",
            f"Build once more: `!docker build -q -t {IMAGE} .`. Is the running container one of the new image?",
            f"A container stays with the image that it was made of: `!docker rm -f NAME`, then `!{RUN}`",
        ),
        "open-to-all": (
            "It works, and the whole network that this machine is in can use it, past most firewalls: `-p 8002:8000` "
            "publishes on every address.",
            f"Name the address as well: `-p 127.0.0.1:{HOST_PORT}:{CONTAINER_PORT}`. That is set when it is made.",
        ),
    },
)
def image(world: World) -> Iterator[Evidence]:
    yield from image_check.look(world)


image.stamp(served)
image.near_miss("loopback-only", fails="answers", state="loopback")(near.loopback_only)
image.near_miss("canned-answer", fails="itself", state="somebody-else")(near.canned_answer)
image.near_miss("canned-and-disguised", fails="pin", state="no-pin")(near.canned_and_disguised)
image.near_miss("container-of-an-older-build", fails="current", state="older")(near.older_build)
image.near_miss("on-the-host", fails="answers", state="not-the-container")(near.on_the_host)
image.near_miss("code-mounted-into-the-base", fails="image", state="nothing-added")(near.mounted_into_base)
image.near_miss("code-mounted-over-the-image", fails="current", state="mounted")(near.mounted_over)
image.near_miss("patched-in-place", fails="current", state="patched")(near.patched)
image.near_miss("open-to-all", fails="private", state="open-to-all")(near.open_to_all)


# -- limits ----------------------------------------------------------------------------------------------------------

AGAIN = "Limits can be changed while it runs (`docker update`), or given to a new container (`docker run`)."


@LAB.task(
    "limits",
    "Put limits around Pinboard that hold",
    criteria={
        "serves": (1, "a Pinboard answers in a container of yours"),
        "memory": (1, f"it may use at most {MEMORY_MIB} MiB of memory"),
        "swap": (1, "and no swap space beside it"),
        "cpu": (1, "at most half a processor"),
        "processes": (1, f"at most {PROCESSES} processes"),
        "holds": (2, "each of these holds when a process goes against it, and Pinboard goes on"),
    },
    hints={
        **START_HINTS,
        "no-pinboard": (
            f"In no container of yours a Pinboard answers. The image {IMAGE} of the last task has one in it.",
            f"`!docker run -d --name pinboard-small {IMAGE}`, with the limits as further options before the image.",
        ),
        "no-memory-limit": (
            f"The container in which Pinboard runs may take all the memory there is. {AGAIN}",
            "`docker run --help` lists what there is: look for `memory`.",
            f"`--memory {MEMORY_MIB}m --memory-swap {MEMORY_MIB}m`",
        ),
        "too-much-memory": (
            f"There is a limit, and it is above {MEMORY_MIB} MiB.",
            f"`--memory {MEMORY_MIB}m`: without a letter the number means bytes.",
        ),
        "reservation": (
            "A reservation is a wish for hard times: as long as the machine has memory, the container may take it.",
            f"The option for a limit is `--memory {MEMORY_MIB}m`.",
        ),
        "another-container": (
            "Another container has that limit. Limits belong to one container, and to none of the others.",
            f"Give them to the one in which Pinboard runs, such as `!docker update --memory {MEMORY_MIB}m "
            f"--memory-swap {MEMORY_MIB}m NAME`.",
        ),
        "swap": (
            "Beyond its memory the container may still use swap space: it would not be stopped, only get very slow.",
            "Without `--memory-swap` the engine allows as much swap as memory, or more. It counts both *together*.",
            f"Both at the same number mean no swap: `--memory {MEMORY_MIB}m --memory-swap {MEMORY_MIB}m`",
        ),
        "no-cpu-limit": (
            f"The container may use all processors. {AGAIN}",
            "The option is called `--cpus`, and it takes fractions.",
        ),
        "too-much-cpu": ("There is a limit, and it is above half a processor.", "`--cpus 0.5`"),
        "shares": (
            "Shares only say who goes first when several want the processor. Alone, the container takes all of it.",
            "`--cpus 0.5` is a limit at all times.",
        ),
        "no-process-limit": (
            f"The container may start as many processes as it likes. {AGAIN}",
            f"The option is called `--pids-limit`. (A ulimit counts by user, and on the whole machine.) `--pids-limit "
            f"{PROCESSES}`",
        ),
        "too-many-processes": (f"There is a limit, and it is above {PROCESSES}.", f"`--pids-limit {PROCESSES}`"),
        "does-not-hold": (
            "The limits are set, and when tried one of them did not hold, or Pinboard did not live through it.",
            "Is there room enough for Pinboard itself? It needs about 30 MiB and ten threads.",
        ),
    },
    after=("image",),
)
def limits(world: World) -> Iterator[Evidence]:
    yield from limits_check.look(world)


limits.near_miss("reservation-only", fails="memory", state="reservation")(near.reservation_only)
limits.near_miss("another-container", fails="memory", state="another-container")(near.another_container)
limits.near_miss("a-stopped-one", fails="memory", state="another-container")(near.a_stopped_one)
limits.near_miss("swap-unlimited", fails="swap", state="swap")(near.swap_unlimited)
limits.near_miss("swap-by-default", fails="swap", state="swap")(near.swap_by_default)
limits.near_miss("shares-only", fails="cpu", state="shares")(near.shares_only)
limits.near_miss("ulimit-only", fails="processes", state="no-process-limit")(near.ulimit_only)
