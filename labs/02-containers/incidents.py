"""Lab 02: what can happen to Pinboard in production, how one sees that it is over, and what only looks like it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from random import Random
from typing import TYPE_CHECKING

from lab_helpers.course.staging_containers import docker, started
from lab_helpers.course.verdict import Evidence
from lab_helpers.images.base_image import BASE

from . import live
from .live import URL
from .names import CONTAINER_PORT, IMAGE, LIVE, LIVE_PORT, MEMORY_MIB

if TYPE_CHECKING:
    from lab_helpers.course.declare import Lab
    from lab_helpers.course.oncall import Facts, OnCall
    from lab_helpers.course.world import World

CRITERIA = {
    "serves": (2, f"Pinboard, out of your image, answers the users at {URL}"),
    "writes": (1, "a user can pin something"),
    "data": (2, "the pins from before are all there"),
    "walls": (2, f"the walls hold: {MEMORY_MIB} MiB of memory at most, and open to this machine only"),
}
LOOK_FIRST = f"`!docker ps -a` shows what runs and what has ended; `!docker logs {LIVE}` what it said."
HINTS = {
    "gone": (
        "No container is there that would answer. Did you remove it? Run it anew, as it is meant to be.",
        f"`!docker run -d --name {LIVE}` with the port, the memory, the volume and the setting that `lab break` named, "
        f"and {IMAGE} at the end.",
    ),
    "ended": (
        "Nobody answers, because its process has ended. It often says why before it goes, or its exit code does.",
        LOOK_FIRST,
        f"`!docker inspect -f '{{{{json .State}}}}' {LIVE}` tells the exit code, and whether memory ran out.",
    ),
    "refused": (
        "The container runs, and who knocks at the users' address is turned away. So look at the way between the two.",
        f"The way has three parts: what `!docker port {LIVE}` says, the network that the container is in (`!docker "
        f"inspect {LIVE}`), and where Pinboard listens (the first line of `!docker logs {LIVE}`). Which one does not "
        "fit?",
    ),
    "silent": (
        "Whoever asks gets no answer, not even a refusal. Is its process doing anything?",
        "`!docker ps` and `!docker top " + LIVE + " -o pid,stat,args` show the state that it is in.",
    ),
    "error": (
        "Pinboard answers, and says that something is wrong. Read what it says: "
        f"`!curl -s {URL}/readyz`, and `!docker logs {LIVE}`.",
    ),
    "not-pinboard": (
        "Something answers there, and it is not Pinboard out of your image. Users want their board, not a page.",
        f"`!curl -i -m 5 {URL}/api/whoami` and `!docker ps` tell who answers.",
    ),
    "no-write": (
        "Reading works, and writing does not. The answer to a new pin says where Pinboard tried to put it: "
        f'`!curl -s {URL}/api/pins -d \'{{"text": "hello"}}\'`',
        f"How does the place where the pins are get into the container? `!docker inspect -f '{{{{json .Mounts}}}}' "
        f"{LIVE}`",
    ),
    "pins-lost": (
        "It serves again, with an empty board: for a user that is worse than no board. What they wrote is in the "
        f"volume {LIVE}.",
        f"Run it with that volume: `-v {LIVE}:/data -e {live.DATABASE}`",
    ),
    "no-limit": (
        "It serves, and a wall is gone: without a limit one bad day of it takes all the memory of this machine.",
        f"`!docker update --memory {MEMORY_MIB}m --memory-swap {MEMORY_MIB}m {LIVE}`",
    ),
    "open-to-all": (
        "It serves, to the whole network around you as well. Before, only this machine could reach it.",
        f"Publish it with the address: `-p 127.0.0.1:{LIVE_PORT}:{CONTAINER_PORT}`. That is set when it is made.",
    ),
}


def declare(lab: Lab) -> OnCall:
    """Let the lab have these incidents."""
    duty = lab.on_call(
        "On call: find out what happened, and mend it",
        brief=live.BRIEF,
        criteria=CRITERIA,
        hints=HINTS,
        after=("image",),
        begin=live.begin,
        rescue=live.rescue,
        end=live.end,
    )(outcome)
    _faults(duty)
    _wrong_mends(duty)
    return duty


# -- the outcome -------------------------------------------------------------------------------------------------------


def outcome(world: World, facts: Facts) -> Iterator[Evidence]:
    answer = world.get(f"{URL}/readyz")
    who = world.get(f"{URL}/api/whoami") if answer.ok else answer
    one = live.who_answers(world, who.json()) if who.ok else None
    if one:
        saw, state = f"{one.name} answers", ""
    elif answer.ok:
        saw, state = "an answer that does not come from a container of your image", "not-pinboard"
    elif answer.status:
        saw, state = f"{answer.status}: {answer.text.strip()[:160]}", "error"
    else:
        saw, state = _why_nobody(world, answer.text)
    yield Evidence(
        criterion="serves",
        ok=one is not None,
        looked=f"what a user gets at {URL}, and from where",
        expected="an answer of Pinboard that is ready, out of a container of your image",
        saw=saw,
        command=f"curl -i -m 5 {URL}/readyz",
        state=state,
    )
    if one is None:
        return
    text = "a pin that the check makes and takes away again"
    pin = world.post(f"{URL}/api/pins", {"text": text, "author": "check"})
    made = pin.json() if pin.status == 201 else None
    board = world.get(f"{URL}/api/pins").json() or []
    if made:
        world.delete(f"{URL}/api/pins/{made['id']}")
    yield Evidence(
        criterion="writes",
        ok=bool(made) and made in board,
        looked="what happens to a new pin (the check makes one, and takes it away again)",
        expected="201, and it is on the board",
        saw="it is on the board" if made in board else f"{pin.status or 'no answer'}: {pin.text.strip()[:160]}",
        command=f'curl -s {URL}/api/pins -d \'{{"text": "hello"}}\'',
        state="" if made and made in board else "no-write",
    )
    kept = sum(pin in board for pin in facts["pins"])
    yield Evidence(
        criterion="data",
        ok=kept == len(facts["pins"]),
        looked="the board, for what users had pinned before",
        expected=f"their {len(facts['pins'])} pins",
        saw=f"{kept} of them",
        command=f"curl -s {URL}/api/pins",
        state="" if kept == len(facts["pins"]) else "pins-lost",
    )
    memory = one.limits.memory_bytes // 2**20
    limited, private = 0 < memory <= MEMORY_MIB, all(port.private for port in one.ports)
    where = ", ".join(f"{port.address or 'every address'}:{port.host_port}" for port in one.ports)
    yield Evidence(
        criterion="walls",
        ok=limited and private,
        looked=f"the limit of memory of {one.name}, and where its port is open",
        expected=f"{MEMORY_MIB} MiB at most; 127.0.0.1 alone",
        saw=f"{f'{memory} MiB' if memory else 'no limit'}; {where}",
        command=f"docker inspect -f '{{{{.HostConfig.Memory}}}}' {one.name}; docker port {one.name}",
        state="" if limited and private else "open-to-all" if limited else "no-limit",
    )


def _why_nobody(world: World, said: str) -> tuple[str, str]:
    """Nobody answers: what a user sees, and how the container is."""
    there = live.ours(world)
    if not there:
        return f"no answer: {said}; and no container for it", "gone"
    if not any(one.running or one.status == "paused" for one in there):
        return f"no answer: {said}; {there[0].name} has ended", "ended"
    return f"no answer: {said}", "silent" if "timed out" in said else "refused"


# -- the faults --------------------------------------------------------------------------------------------------------


def _faults(duty: OnCall) -> None:
    @duty.incident(
        "starved",
        symptom='"The board is gone! It worked this morning; now the browser says that nobody is there."',
        explanation="the limit of memory had been set lower than Pinboard needs to live, so the kernel killed it "
        "(exit code 137, OOMKilled) each time. A limit too low is an outage, no limit is the next one: measure, and "
        "leave some room.",
        fails="serves",
        state="ended",
        hints=(
            "137 is 128 + 9: it was killed, and not by you. `!docker inspect -f '{{.State.OOMKilled}} "
            f"{{{{.HostConfig.Memory}}}}' {LIVE}`: how many bytes may it have, and how many should it?",
            f"`!docker update --memory {MEMORY_MIB}m --memory-swap {MEMORY_MIB}m {LIVE}`, then `!docker start {LIVE}`",
        ),
        mend=_fed,
    )
    def starved(world: World, chance: Random, facts: Facts) -> None:
        del facts
        mib = chance.randint(12, 16)
        live.remove(world)
        with contextlib.suppress(Exception):  # some engines say at once that it was killed
            live.run(world, memory=(f"--memory={mib}m", f"--memory-swap={mib}m"))
        live.wait_until_ended(world)

    @duty.incident(
        "wrong-door",
        symptom="\"Since somebody tidied up the start script I only get 'connection reset'.\"",
        explanation="the container was published with a port on which nobody listens in it. From outside the port "
        "looks open, for it is the engine that opens it.",
        fails="serves",
        state="refused",
        hints=(
            f"`!docker port {LIVE}` names the container's port first. `!docker logs {LIVE}` begins with the port on "
            "which Pinboard listens.",
            f"The ports of a container are set when it is made: `!docker rm -f {LIVE}`, and run it anew with "
            f"`-p 127.0.0.1:{LIVE_PORT}:{CONTAINER_PORT}`. The pins are in the volume, and stay.",
        ),
        mend=live.rescue,
    )
    def wrong_door(world: World, chance: Random, facts: Facts) -> None:
        del facts
        port = chance.choice((80, 3000, 5000, 8080, 9000))
        live.replace(world, port=("-p", f"127.0.0.1:{LIVE_PORT}:{port}"))

    @duty.incident(
        "frozen",
        symptom='"The page does not load. No error either, the browser just turns and turns."',
        explanation="its process was held still (paused by the engine, or by the signal STOP): alive for whoever "
        "counts processes, and dead for whoever asks it. That is why one watches answers, and not processes.",
        fails="serves",
        state="silent",
        hints=(
            "A process that is held still has the state T or D in `docker top`; of a paused container `docker ps` says "
            "so.",
            f"`!docker unpause {LIVE}`, or, if it is not paused: `!docker kill --signal CONT {LIVE}`",
        ),
        mend=_thawed,
    )
    def frozen(world: World, chance: Random, facts: Facts) -> None:
        del facts
        docker(world, *chance.choice((("pause", LIVE), ("kill", "--signal", "STOP", LIVE))))

    @duty.incident(
        "cut-off",
        symptom="\"Nothing but 'connection reset'. And the new colleague swears that he only looked at the networks.\"",
        explanation="the container was taken off its network. It lived on, with no way in or out; `docker ps` said Up "
        "all the time.",
        fails="serves",
        state="refused",
        hints=(
            f"`!docker inspect -f '{{{{json .NetworkSettings.Networks}}}}' {LIVE}`: which networks is it in?",
            f"`!docker network connect bridge {LIVE}`; a port may need `!docker restart {LIVE}` after that.",
        ),
        mend=_connected,
    )
    def cut_off(world: World, chance: Random, facts: Facts) -> None:
        del chance, facts
        docker(world, "network", "disconnect", "bridge", LIVE)

    @duty.incident(
        "read-only",
        symptom='"I can read the board, but each time I pin something it says that it cannot store it."',
        explanation="the place of the pins was there to be read only. Reading, and every probe that only reads, went "
        "on well: the outage was in what nobody watched.",
        fails="writes",
        state="no-write",
        hints=(
            "In the list of mounts look at `RW`: may it be written? And as whom does Pinboard run: `!docker top "
            f"{LIVE}`?",
            f"Mounts are set when a container is made: `!docker rm -f {LIVE}`, and run it anew as it is meant to be.",
        ),
        mend=live.rescue,
    )
    def read_only(world: World, chance: Random, facts: Facts) -> None:
        del facts
        if chance.random() < 0.5:
            live.replace(world, volume=("-v", f"{LIVE}:{live.DATA}:ro"))
        else:
            live.replace(world, options=("--user", str(chance.randint(10_000, 60_000))))
        live.wait_until_it_works(world)


def _fed(world: World, facts: Facts) -> None:
    del facts
    docker(world, "update", f"--memory={MEMORY_MIB}m", f"--memory-swap={MEMORY_MIB}m", LIVE)
    docker(world, "start", LIVE)
    live.wait_until_it_works(world)


def _thawed(world: World, facts: Facts) -> None:
    del facts
    docker(world, "unpause", LIVE, check=False)
    docker(world, "kill", "--signal", "CONT", LIVE)
    live.wait_until_it_works(world)


def _connected(world: World, facts: Facts) -> None:
    del facts
    docker(world, "network", "connect", "bridge", LIVE)
    docker(world, "restart", LIVE)
    live.wait_until_it_works(world)


# -- what only looks mended --------------------------------------------------------------------------------------------


def _wrong_mends(duty: OnCall) -> None:
    @duty.wrong_mend("starved", "only-restarted", fails="serves", state="ended:starved")
    def only_restarted(world: World, facts: Facts) -> Iterator[None]:
        del facts
        live.start_again(world)
        live.wait_until_ended(world)
        yield

    @duty.wrong_mend("starved", "without-a-limit", fails="walls", state="no-limit")
    def without_a_limit(world: World, facts: Facts) -> Iterator[None]:
        del facts
        live.replace(world, memory=())
        live.wait_until_it_works(world)
        yield

    @duty.wrong_mend("wrong-door", "open-to-all", fails="walls", state="open-to-all")
    def open_to_all(world: World, facts: Facts) -> Iterator[None]:
        del facts
        live.replace(world, port=("-p", f"{LIVE_PORT}:{CONTAINER_PORT}"))
        live.wait_until_it_works(world)
        yield

    @duty.wrong_mend("wrong-door", "canned", fails="serves", state="not-pinboard")
    def canned(world: World, facts: Facts) -> Iterator[None]:
        """Something says "ready" on that port, so that the alarm falls silent."""
        del facts
        live.remove(world)
        serve = (
            f"mkdir /tmp/site && touch /tmp/site/readyz && cd /tmp/site && exec python3 -m http.server {CONTAINER_PORT}"
        )
        with started(world, LIVE, *live.PORT, *live.MEMORY, BASE, "sh", "-c", serve):
            live.wait_until_it_works(world)
            yield

    @duty.wrong_mend("cut-off", "another-one-beside", fails="serves", state="refused:cut-off")
    def another_one_beside(world: World, facts: Facts) -> Iterator[None]:
        del facts
        with started(world, f"{LIVE}-2", *live.VOLUME, *live.MEMORY, "-e", live.DATABASE, IMAGE):
            yield

    @duty.wrong_mend("read-only", "into-the-container", fails="data", state="pins-lost")
    def into_the_container(world: World, facts: Facts) -> Iterator[None]:
        """Pins can be stored again: somewhere else, and without those that were there."""
        del facts
        live.replace(world, volume=("--tmpfs", live.DATA))
        live.wait_until_it_works(world)
        yield
