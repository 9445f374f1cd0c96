"""The task same-kernel: what the check looks at."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lab_helpers.boundaries.container import Container, boot_id_of_engine, container, containers
from lab_helpers.course.verdict import Evidence
from lab_helpers.course.world import World

from .looks import idle, inside

FILE = "process.txt"


def answers_of(world: World) -> dict[str, str] | None:
    """The learner's answers, without those that are open; None when there is no such file."""
    try:
        text = (world.work / FILE).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    found = re.findall(r"^\s*(container|pid_on_host|pid_namespace)\s*[=:][ \t]*(\S+)", text, re.MULTILINE)
    return {key: value.strip("\"'`,") for key, value in found if value != "?"}


def look(world: World) -> Iterator[Evidence]:
    answers = answers_of(world)
    named = (answers or {}).get("container", "")
    ours = containers(world.place)
    one = container(world.place, named) if named else next((c for c in ours if c.running), None)
    running = one is not None and one.running
    if one is None:
        running_ones = ", ".join(c.name for c in ours if c.running) or "none"
        saw, state = (
            (f"no container {named}; running: {running_ones}", "gone")
            if named
            else (idle(ours) if ours else ("no container", "no-container"))
        )
    else:
        saw, state = (f"{one.name} runs {one.image}", "") if running else idle([one])
    yield Evidence(
        criterion="running",
        ok=running,
        looked=f"the containers of this course, and the name in {FILE}",
        expected="one of yours that runs",
        saw=saw,
        command="docker ps -a",
        state=state,
    )
    if one is None or not running:
        return
    around = inside(one, "around")
    if around is None:
        yield _kernel(False, f"{one.name} does not run the Python of the course's image", "no-python")
        return
    engine = boot_id_of_engine()
    same = around["boot_id"] == engine
    yield _kernel(
        same,
        f"{around['boot_id']} in {one.name}, {engine} where the engine runs",
        "" if same else "own-kernel",
    )
    open_ones = [key for key in ("container", "pid_on_host", "pid_namespace") if key not in (answers or {})]
    yield Evidence(
        criterion="answers",
        ok=not open_ones,
        looked=f"the file {FILE} in your folder {world.lab}",
        expected="three answers",
        saw="no such file" if answers is None else f"open: {', '.join(open_ones)}" if open_ones else "three answers",
        command=f"cat {FILE}",
        state="" if not open_ones else "no-file" if answers is None else "open",
    )
    if open_ones or answers is None:
        return
    yield _pid(one, answers["pid_on_host"], around["pids"], [c for c in ours if c.id != one.id])
    own = not one.pid_mode
    told = answers["pid_namespace"].removesuffix("]").rpartition("[")[2]
    right = told == re.sub(r"\D", "", around["pid_namespace"])
    yield Evidence(
        criterion="namespace",
        ok=right and own,
        looked=f"the PID namespace of the processes in {one.name}",
        expected=f"the one that you wrote down, and that the container has to itself: pid:[{told}]",
        saw=around["pid_namespace"] + ("" if own else f", shared: it was started with --pid={one.pid_mode}"),
        command=f"docker exec {one.name} readlink /proc/self/ns/pid",
        state="" if right and own else "other-namespace" if own else "shared-namespace",
    )


def _kernel(ok: bool, saw: str, state: str) -> Evidence:
    return Evidence(
        criterion="kernel",
        ok=ok,
        looked="the boot id that the container sees, and that of the kernel where the engine runs",
        expected="the same",
        saw=saw,
        command="docker exec NAME cat /proc/sys/kernel/random/boot_id",
        state=state,
    )


def _pid(one: Container, told: str, in_there: list[int], others: list[Container]) -> Evidence:
    pids = one.processes()
    ok = told.isdigit() and int(told) in pids
    state, saw = "", f"process {told} belongs to {one.name}"
    if not ok:
        owner = next((c.name for c in others if told.isdigit() and int(told) in c.processes()), "")
        if owner:
            state, saw = "other-container", f"process {told} belongs to the container {owner}"
        elif told.isdigit() and int(told) in in_there:
            state, saw = "number-inside", f"{told} is its number in the container; where the engine runs it has another"
        else:
            state, saw = "not-its-process", f"{told} is no process of {one.name}"
    return Evidence(
        criterion="pid",
        ok=ok,
        looked=f"the processes of {one.name}, with the numbers that they have where the engine runs",
        expected="the number that you wrote down",
        saw=saw,
        command=f"docker top {one.name}",
        state=state,
    )
