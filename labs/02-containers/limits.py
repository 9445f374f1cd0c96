"""The task limits: what the check looks at, and how it tries them."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

from lab_helpers.boundaries.container import Container, containers
from lab_helpers.core.errors import MachineError
from lab_helpers.course.verdict import Evidence
from lab_helpers.course.world import World
from lab_helpers.tools.engine import need_engine

from .looks import INSIDE, best, idle, inside
from .names import CPUS, MEMORY_MIB, PROCESSES

MIB = 2**20
MORE_MIB = 64
"""By how much the try asks for more memory than is allowed: little enough for every machine."""
MORE_PROCESSES = 8


def look(world: World) -> Iterator[Evidence]:
    _need_limits()
    ours = containers(world.place)
    running = [one for one in ours if one.running]
    if not running:
        saw, state = idle(ours) if ours else ("no container", "no-pinboard")
        yield _serves(False, saw, state)
        return
    seen = best(running, partial(_look_at, ours))
    yield from seen
    if all(evidence.ok for evidence in seen):
        yield _holds(next(one for one in running if seen[0].saw.startswith(f"{one.name}:")))


def _need_limits() -> None:
    """Raises MachineError where the engine cannot set limits at all (rootless, without delegated control groups)."""
    with need_engine().client() as client:
        info = client.info()
    missing = [
        name
        for name, keys in {
            "memory": ("MemoryLimit",),
            "processors": ("CpuCfsQuota", "CPUCfsQuota"),
            "processes": ("PidsLimit",),
        }.items()
        if not any(info.get(key, key == "PidsLimit") for key in keys)
    ]
    if missing:
        raise MachineError(
            f"This container engine cannot limit {', '.join(missing)}.",
            finding="CGROUP",
            why="the kernel, or the one who started the engine, does not hand it those control groups",
        )


def _serves(ok: bool, saw: str, state: str) -> Evidence:
    return Evidence(
        criterion="serves",
        ok=ok,
        looked="the running containers of this course, and who answers in them",
        expected="a Pinboard in one of them",
        saw=saw,
        command="docker ps",
        state=state,
    )


def _look_at(ours: list[Container], one: Container) -> list[Evidence]:
    who = inside(one, "whoami")
    if not who:
        return [_serves(False, f"{one.name}: no Pinboard answers in it", "no-pinboard")]
    held = inside(one, "limits") or {}
    elsewhere = [other.name for other in ours if other.id != one.id and other.limits.memory_bytes]
    return [
        _serves(True, f"{one.name}: Pinboard {who.get('version', '')} answers in it", ""),
        _memory(one, held.get("memory"), elsewhere),
        _swap(one, held),
        _cpu(one, held.get("cpus")),
        _processes(one, held.get("processes")),
    ]


def _memory(one: Container, limit: int | None, elsewhere: list[str]) -> Evidence:
    state = "" if limit and limit <= MEMORY_MIB * MIB else "too-much-memory"
    saw = f"{limit / MIB:.0f} MiB" if limit else "no limit"
    if not limit:
        if one.limits.reservation_bytes:
            saw, state = f"no limit, only a reservation of {one.limits.reservation_bytes / MIB:.0f} MiB", "reservation"
        elif elsewhere:
            saw, state = f"no limit; {elsewhere[0]}, another container, has one", "another-container"
        else:
            state = "no-memory-limit"
    return Evidence(
        criterion="memory",
        ok=not state,
        looked=f"the memory that the kernel grants {one.name}, read in the container",
        expected=f"{MEMORY_MIB} MiB at most",
        saw=saw,
        command=_cat(one, "memory.max", "memory/memory.limit_in_bytes"),
        state=state,
    )


def _cat(one: Container, *files: str) -> str:
    """The command that shows a limit: version 2 of control groups has it in the first file, version 1 in the other."""
    return f"docker exec {one.name} cat {' '.join(f'/sys/fs/cgroup/{file}' for file in files)} 2> /dev/null"


def _swap(one: Container, held: dict[str, Any]) -> Evidence:
    counted = "swap" in held
    swap = held.get("swap")
    ok = swap == 0 if counted else held.get("memory") is not None
    saw = "as much as there is" if swap is None else f"{swap / MIB:.0f} MiB"
    return Evidence(
        criterion="swap",
        ok=ok,
        looked=f"the swap space that {one.name} may use beside its memory",
        expected="none",
        saw="this kernel does not count it, so it cannot be limited here" if ok and not counted else saw,
        command=f"docker inspect -f '{{{{.HostConfig.Memory}}}} {{{{.HostConfig.MemorySwap}}}}' {one.name}",
        state="" if ok else "swap",
    )


def _cpu(one: Container, limit: float | None) -> Evidence:
    ok = limit is not None and limit <= CPUS + 0.001
    shares = limit is None and one.limits.cpu_shares not in (0, 1024)
    saw = f"{limit:.2f}" if limit is not None else "no limit" + (", only a share when others want it too" * shares)
    return Evidence(
        criterion="cpu",
        ok=ok,
        looked=f"the processors that the kernel grants {one.name}, read in the container",
        expected=f"{CPUS} at most",
        saw=saw,
        command=_cat(one, "cpu.max", "cpu/cpu.cfs_quota_us"),
        state="" if ok else "shares" if shares else "no-cpu-limit" if limit is None else "too-much-cpu",
    )


def _processes(one: Container, limit: int | None) -> Evidence:
    ok = limit is not None and limit <= PROCESSES
    return Evidence(
        criterion="processes",
        ok=ok,
        looked=f"the processes and threads that the kernel grants {one.name}, read in the container",
        expected=f"{PROCESSES} at most",
        saw="no limit" if limit is None else f"{limit}",
        command=_cat(one, "pids.max", "pids/pids.max"),
        state="" if ok else "no-process-limit" if limit is None else "too-many-processes",
    )


def _holds(one: Container) -> Evidence:
    """Go against each limit from inside, and see whether Pinboard lives on."""
    before, held = inside(one, "whoami"), inside(one, "limits")
    mib = str(held["memory"] // MIB + MORE_MIB) if held else "0"
    hog = one.exec(["python3", "-c", INSIDE, "memory", mib])
    crowd = inside(one, "processes", str(held["processes"] + MORE_PROCESSES)) if held else None
    burnt = inside(one, "cpu", "5") if held else None
    lives = before is not None and inside(one, "whoami") == before
    told = {
        f"a process that wanted {mib} MiB was {'killed' if hog.code == 137 else 'not killed'}": hog.code == 137,
        f"{crowd['started'] if crowd else 'no'} more processes could start": bool(crowd and crowd["refused"]),
        "two busy processes were " + _cpu_told(burnt): bool(burnt and _held_back(burnt)),
        "Pinboard " + ("goes on" if lives else "did not live through it"): lives,
    }
    return Evidence(
        criterion="holds",
        ok=all(told.values()),
        looked=f"what happens in {one.name} when a process goes beyond each limit",
        expected="the process is killed, refused or held back, and Pinboard goes on",
        saw="; ".join(told),
        command=f"docker exec {one.name} python3 -c \"x = b'x' * ({mib} << 20)\"; echo $?",
        state="" if all(told.values()) else "does-not-hold",
    )


def _held_back(burnt: dict[str, Any]) -> bool:
    """The kernel stopped them for a while; or other work left them too little to be stopped for."""
    return bool(burnt["throttled"]) or burnt["cpus"] <= CPUS * 1.3


def _cpu_told(burnt: dict[str, Any] | None) -> str:
    if not burnt:
        return "not to be started"
    return f"held back {burnt['throttled']} times" if burnt["throttled"] else f"given {burnt['cpus']} processors"
