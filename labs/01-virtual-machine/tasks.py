"""Lab 01: boot a guest, see that it has a kernel of its own, and serve Pinboard from it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from lab_helpers.boundaries.guest import Guest
from lab_helpers.course.declare import Lab
from lab_helpers.course.verdict import Evidence
from lab_helpers.course.world import World
from lab_helpers.tools.qemu import Forward

from . import near
from .guest import NO_GUEST_HINTS, find_guest
from .names import CPUS, GUEST_PORT, HOST_PORT, MEMORY_MIB, VM
from .questions import QUESTIONS
from .stamp import served

LAB = Lab(
    "01-virtual-machine",
    title="A virtual machine",
    minutes=30,
    memory_mib=1200,
    disk_mib=1000,
    guest=True,
    vms=("first-vm", "pinboard-vm"),
    questions=QUESTIONS,
    shared=("pinboard/pinboard",),
)


# -- boot ------------------------------------------------------------------------------------------------------------


@LAB.task(
    "boot",
    "Boot a guest of your own",
    criteria={
        "running": (1, f"a guest {VM} runs on the course's disk"),
        "memory": (1, f"its kernel was given {MEMORY_MIB} MiB"),
        "cpus": (1, f"it has {CPUS} CPUs"),
    },
    hints={
        **NO_GUEST_HINTS,
        "other-memory": (
            "The guest runs with another amount of memory. That is decided when it is made.",
            f"Make it anew: `!lab vm remove {VM}`, then create it with `--memory {MEMORY_MIB}`.",
        ),
        "other-cpus": (
            "The guest runs with another number of processors. That is decided when it is made.",
            f"Make it anew: `!lab vm remove {VM}`, then create it with `--cpus {CPUS}`.",
        ),
    },
)
def boot(world: World) -> Iterator[Evidence]:
    found = find_guest(world)
    yield Evidence(
        criterion="running",
        ok=found.guest is not None,
        looked="the QEMU processes on this machine and the disks that they use",
        expected=f"one that runs a guest {VM} on a disk built upon the course's, and the guest answers",
        saw=found.saw,
        command="lab vm list",
        state=found.state,
    )
    if found.guest is None:
        return
    ram = found.guest.shell("grep 'System RAM' /proc/iomem; nproc").splitlines()
    ranges = re.findall(r"([0-9a-f]+)-([0-9a-f]+) : System RAM", "\n".join(ram))
    mib = sum(int(end, 16) - int(begin, 16) + 1 for begin, end in ranges) / 2**20
    fits = abs(mib - MEMORY_MIB) <= 8  # the firmware keeps a little for itself
    yield Evidence(
        criterion="memory",
        ok=fits,
        looked="the map of memory that the guest's kernel got from its firmware",
        expected=f"{MEMORY_MIB} MiB",
        saw=f"{round(mib)} MiB",
        command=f"ssh {VM} 'grep \"System RAM\" /proc/iomem; free -m'",
        state="" if fits else "other-memory",
    )
    cpus = int(ram[-1])
    yield Evidence(
        criterion="cpus",
        ok=cpus == CPUS,
        looked="the processors that the guest's kernel runs on",
        expected=f"{CPUS}",
        saw=f"{cpus}",
        command=f"ssh {VM} nproc",
        state="" if cpus == CPUS else "other-cpus",
    )


boot.near_miss("other-memory", fails="memory", state="other-memory")(near.other_memory)
boot.near_miss("one-cpu", fails="cpus", state="other-cpus")(near.one_cpu)
boot.near_miss("created-only", fails="running", state="off")(near.created_only)
boot.near_miss("paused", fails="running", state="paused")(near.paused)
boot.near_miss("only-the-name", fails="running", state="off")(near.only_the_name)


# -- own-kernel ------------------------------------------------------------------------------------------------------


@LAB.task(
    "own-kernel",
    "See that the guest has a kernel of its own",
    criteria={
        "boot-id": (1, "guest and host were started apart: two boot ids"),
        "setting": (1, "a setting of the guest's kernel was changed, and the host's has another value"),
    },
    hints={
        **NO_GUEST_HINTS,
        "same-kernel": ("What you look at shares the host's kernel, so it is no virtual machine.",),
        "no-record": (
            "The guest has no record of its settings at boot, so it was not booted from the course's disk as it is.",
            f"Make it anew: `!lab vm remove {VM}`, then create and start it.",
        ),
        "unchanged": (
            "All settings of the guest's kernel are what they were when it started. A restart puts them back, too.",
            f"`!ssh {VM} 'sysctl -w NAME=VALUE'` changes one in the guest. `sysctl -a` lists the names.",
            f"For example: `!ssh {VM} 'sysctl -w kernel.pid_max=4444'`",
        ),
        "same-as-host": (
            "You changed a setting in the guest, but to the very value that your own machine has. That proves little.",
            "Choose a value that your machine does not have.",
        ),
    },
    after=("boot",),
)
def own_kernel(world: World) -> Iterator[Evidence]:
    found = find_guest(world)
    guest_id = found.guest.shell("cat /proc/sys/kernel/random/boot_id").strip() if found.guest else ""
    host_id = world.host_boot_id()
    apart = bool(guest_id) and guest_id != host_id
    yield Evidence(
        criterion="boot-id",
        ok=apart,
        looked="the boot id of the guest's kernel and that of the host's",
        expected="two different ones",
        saw=f"guest {guest_id}, host {host_id}" if guest_id else found.saw,
        command=f"ssh {VM} cat /proc/sys/kernel/random/boot_id",
        state="" if apart else "same-kernel" if guest_id else found.state,
    )
    if found.guest is None or not apart:
        return
    answer = found.guest.run(["/bin/sh", "-c", "test -s /run/lab/sysctl.boot && lab-sysctl changed"], check=False)
    changed = dict(line.split("\t", 1) for line in answer.out.splitlines() if "\t" in line)
    differing = {path: value for path, value in changed.items() if world.host_sysctl(path) != value}
    if answer.code != 0:
        saw, state = "no record of the settings at boot in this guest", "no-record"
    elif differing:
        path, value = next(iter(differing.items()))
        saw, state = (
            f"{_name(path)} is {value} in the guest and {world.host_sysctl(path) or 'not there'} on the host",
            "",
        )
    elif changed:
        saw, state = f"{_name(next(iter(changed)))} was changed in the guest to the host's own value", "same-as-host"
    else:
        saw, state = "no setting of the guest's kernel was changed since it started", "unchanged"
    yield Evidence(
        criterion="setting",
        ok=not state,
        looked="the settings under /proc/sys in the guest, now and when it started, and the same ones on the host",
        expected="at least one that was changed in the guest and has another value on the host",
        saw=saw,
        command=f"ssh {VM} lab-sysctl changed",
        state=state,
    )


def _name(path: str) -> str:
    return path.removeprefix("/proc/sys/").replace("/", ".")


own_kernel.near_miss("put-back", fails="setting", state="unchanged")(near.settings_put_back)
own_kernel.near_miss("rebooted-since", fails="setting", state="unchanged")(near.rebooted_since)
own_kernel.near_miss("the-hosts-value", fails="setting", state="same-as-host")(near.the_hosts_value)
own_kernel.near_miss("on-the-host", fails="setting", state="unchanged")(near.on_the_host)


# -- serve -----------------------------------------------------------------------------------------------------------


@LAB.task(
    "serve",
    "Serve Pinboard from the guest",
    criteria={
        "answers": (1, "Pinboard answers on a port of your machine"),
        "inside": (1, "the one who answers is a process in the guest"),
        "pin": (1, "there is a pin on the board"),
        "comes-back": (2, "service and pin come back by themselves after a restart of the guest"),
    },
    hints={
        **NO_GUEST_HINTS,
        "not-running": (
            "In the guest nobody listens on port 8000. Did the service start?",
            f"`!ssh {VM} 'systemctl status pinboard; journalctl -u pinboard -n 20'` says what happened to it.",
        ),
        "loopback": (
            "In the guest the service listens on 127.0.0.1 only, where the forward does not arrive.",
            "The setting PINBOARD_HOST in the unit file says where it listens: `0.0.0.0` is every address.",
            "After a change of the unit: `systemctl daemon-reload`, then `systemctl restart pinboard`.",
        ),
        "no-forward": (
            "The service listens in the guest, but no port of your machine leads there.",
            f"`!lab vm forward {VM} {HOST_PORT}:{GUEST_PORT}`",
        ),
        "no-pinboard": (
            "Something answers there, but it does not speak like Pinboard. Which program listens on that port?",
            f"`!curl -i http://127.0.0.1:{HOST_PORT}/api/whoami` shows what it says.",
        ),
        "not-the-guest": (
            "Pinboard answers, but not out of this guest: its boot id or its process is another machine's.",
            "Does a Pinboard run on your own machine? End it, and forward the port to the guest: "
            f"`!lab vm forward {VM} {HOST_PORT}:{GUEST_PORT}`",
        ),
        "no-pin": (
            f"The board is empty. Open http://127.0.0.1:{HOST_PORT} in your browser and pin something.",
            f"Or: `!curl -X POST http://127.0.0.1:{HOST_PORT}/api/pins -H 'Content-Type: application/json' -d "
            '\'{"text": "My first pin"}\'`',
        ),
        "by-hand": (
            "The service runs because somebody started it by hand. Nobody will be there after a power cut.",
            "Let the guest's service manager run it, as the unit file `pinboard.service` says.",
        ),
        "not-enabled": (
            "The service runs, but nothing starts it when the guest boots.",
            f"`!ssh {VM} systemctl enable pinboard` ties it to the boot.",
        ),
        "not-restarted": (
            "Everything is set, and nothing is shown yet: no pin on the board is older than the guest's last start.",
            f"Turn the guest off and on again: `!lab vm stop {VM}`, then `!lab vm start {VM}`.",
        ),
    },
    after=("boot",),
)
def serve(world: World) -> Iterator[Evidence]:
    found = find_guest(world)
    if found.guest is None:
        yield _answers(False, found.saw, found.state)
        return
    guest = found.guest
    leads = [forward for forward in guest.forwards() if forward.guest_port != 22]
    ports = list(dict.fromkeys([*(forward.host_port for forward in leads), HOST_PORT]))
    answers = {port: world.get(f"http://127.0.0.1:{port}/api/whoami") for port in ports}
    port = next((port for port in ports if _is_whoami(answers[port].json())), None)
    if port is None:
        yield _answers(False, *_why_silent(guest, leads, any(answer.status for answer in answers.values())))
        return
    who = answers[port].json()
    yield _answers(True, f"Pinboard {who.get('version', '')} answers on port {port}", "")

    service = _service(guest, int(who["pid"]))
    inside = who["boot_id"] == service.boot_id and bool(service.unit)
    yield Evidence(
        criterion="inside",
        ok=inside,
        looked="the boot id and the process number in the answer, and both in the guest",
        expected="the guest's boot id, and a process that listens in the guest",
        saw=f"answered by process {who['pid']} under boot id {who['boot_id']}; the guest's is {service.boot_id}",
        command=f"curl -s http://127.0.0.1:{port}/api/whoami",
        state="" if inside else "not-the-guest",
    )
    if not inside:
        return
    listed = world.get(f"http://127.0.0.1:{port}/api/pins").json()
    pins = [pin for pin in listed if isinstance(pin, dict)] if isinstance(listed, list) else []
    yield Evidence(
        criterion="pin",
        ok=bool(pins),
        looked="the pins on the board",
        expected="at least one",
        saw=f"{len(pins)} pin(s)",
        command=f"curl -s http://127.0.0.1:{port}/api/pins",
        state="" if pins else "no-pin",
    )
    older = [pin for pin in pins if _made_at(pin) < service.booted_at]
    state = service.state or ("" if older else "not-restarted")
    yield Evidence(
        criterion="comes-back",
        ok=not state,
        looked="who started that process, whether it is tied to the boot, and when the guest and the pins were made",
        expected="a service that is started at boot, and a pin from before the guest's last start",
        saw=f"{service.told}; {len(older)} of {len(pins)} pin(s) older than the guest's last start",
        command=f"ssh {VM} 'systemctl is-enabled pinboard; uptime -s'",
        state=state,
    )


def _answers(ok: bool, saw: str, state: str) -> Evidence:
    return Evidence(
        criterion="answers",
        ok=ok,
        looked=f"the ports of 127.0.0.1 that lead into the guest, and port {HOST_PORT}",
        expected="Pinboard's answer at /api/whoami",
        saw=saw,
        command=f"curl -s http://127.0.0.1:{HOST_PORT}/api/whoami",
        state=state,
    )


def _is_whoami(body: Any) -> bool:
    return isinstance(body, dict) and isinstance(body.get("pid"), int) and "boot_id" in body


def _why_silent(guest: Guest, leads: list[Forward], somebody: bool) -> tuple[str, str]:
    """What is between the learner and an answer: what was seen, and its state."""
    listening = guest.shell("ss -Hltn", check=False)
    targets = {forward.guest_port for forward in leads} or {GUEST_PORT}
    at = [line.split()[3] for line in listening.splitlines() if int(line.split()[3].rsplit(":", 1)[1]) in targets]
    if not at:
        return f"in the guest nobody listens on port {', '.join(map(str, sorted(targets)))}", "not-running"
    if all(address.startswith(("127.", "[::1]")) for address in at):
        return f"in the guest the service listens on {at[0]} only", "loopback"
    if not leads:
        return f"in the guest somebody listens on {at[0]}, but no port of the host leads there", "no-forward"
    return "an answer that is not Pinboard's" if somebody else "no answer", "no-pinboard" if somebody else "not-running"


@dataclass(frozen=True)
class Service:
    """What the guest says about the process that answered."""

    boot_id: str
    booted_at: float
    unit: str
    """The unit that it belongs to; empty: there is no such process that listens."""
    state: str
    told: str


BY_HAND = ("ssh.service", "lab-guest-agent.service", "lab-console.service", "init.scope", "user.slice")


def _service(guest: Guest, pid: int) -> Service:
    script = f"""
        cat /proc/sys/kernel/random/boot_id; date +%s.%N; cat /proc/uptime
        ss -Hltnp | grep -q 'pid={pid},' && unit=$(sed -n 's/^0::.*\\/\\([^/]*\\)$/\\1/p' /proc/{pid}/cgroup)
        echo "unit=$unit"
        [ -z "$unit" ] || systemctl show "$unit" -p WantedBy -p RequiredBy -p TriggeredBy
    """
    lines = guest.shell(script, check=False).splitlines()
    boot_id, now, uptime = lines[0], float(lines[1]), float(lines[2].split()[0])
    facts = dict(line.split("=", 1) for line in lines[3:] if "=" in line)
    unit = facts.pop("unit", "")
    tied = any(value.strip() for value in facts.values())
    if unit in BY_HAND or unit.startswith("session-"):
        return Service(boot_id, now - uptime, unit, "by-hand", f"started by hand (it belongs to {unit})")
    told = f"{unit} " + ("is started at boot" if tied else "is not tied to the boot")
    return Service(boot_id, now - uptime, unit, "" if tied else "not-enabled", told)


def _made_at(pin: dict[str, Any]) -> float:
    return datetime.fromisoformat(str(pin["created_at"]).replace("Z", "+00:00")).timestamp()


serve.stamp(served)
serve.near_miss("on-the-host", fails="inside", state="not-the-guest")(near.pinboard_on_the_host)
serve.near_miss("guests-loopback", fails="answers", state="loopback")(near.guests_loopback)
serve.near_miss("gone-after-a-reboot", fails="answers", state="not-running")(near.gone_after_a_reboot)
serve.near_miss("not-enabled", fails="comes-back", state="not-enabled")(near.not_enabled)
serve.near_miss("by-hand", fails="comes-back", state="by-hand")(near.by_hand)
serve.near_miss("never-restarted", fails="comes-back", state="not-restarted")(near.never_restarted)
serve.near_miss("empty-board", fails="pin", state="no-pin")(near.empty_board)
