"""Looks around inside of a container, and tries its limits: `python3 -c SOURCE WHAT ...` there. It prints JSON.

This file never runs on the host: the checks hand its text to the Python in the learner's container.
"""

import hashlib
import json
import os
import sys
import time
import urllib.request
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
MIB = 2**20


# -- who is here -------------------------------------------------------------------------------------------------------


def listeners():
    """The addresses where somebody listens: [address, port]. See proc_net(5); state 0A is LISTEN."""
    found = []
    for name in ("tcp", "tcp6"):
        try:
            lines = Path("/proc/net", name).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            local, state = (line.split()[column] for column in (1, 3))
            address, port = local.rsplit(":", 1)
            if state == "0A":
                found.append([_readable(address), int(port, 16)])
    return sorted(found)


def _readable(address):
    if len(address) == 8:
        return ".".join(str(byte) for byte in reversed(bytes.fromhex(address)))
    named = {"0" * 32: "::", "0" * 24 + "01000000": "::1"}
    return named.get(address, "another address")


def whoami():
    """What Pinboard answers here, on whichever port it listens; None where it does not."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for address, port in listeners():
        host = address if address.count(".") == 3 and address.strip("0.") else "127.0.0.1"
        try:
            with direct.open(f"http://{host}:{port}/api/whoami", timeout=3) as reply:
                said = json.load(reply)
        except (OSError, ValueError):
            continue
        if isinstance(said, dict) and "started_at" in said:
            return said
    return None


def around():
    """The kernel, the PID namespace and the processes, as they look from in here."""
    return {
        "boot_id": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        "pid_namespace": str(Path("/proc/self/ns/pid").readlink()),
        "pids": sorted(int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()),
        "listeners": listeners(),
    }


def code(pid):
    """Where the process `pid` takes its package `pinboard` from, and the SHA-256 of each file in it."""
    process = Path("/proc", pid)
    try:
        settings = dict(entry.split("=", 1) for entry in (process / "environ").read_text().split("\0") if "=" in entry)
        folders = [str((process / "cwd").readlink()), *settings.get("PYTHONPATH", "").split(":"), *sys.path]
    except OSError:
        folders = [str(Path.cwd()), *sys.path]
    for folder in folders:
        package = Path(folder, "pinboard")
        if folder and (package / "__init__.py").is_file():
            files = [path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
            hashes = {p.relative_to(package).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
            return {"folder": str(package.resolve()), "files": hashes}
    return {"folder": "", "files": {}}


# -- its limits --------------------------------------------------------------------------------------------------------


def limits():
    """The limits that the kernel holds this container to; None: no limit, absent: this kernel does not count it.

    Bytes, processors, processes. Version 2 of control groups has one tree, version 1 one for each resource:
    https://docs.kernel.org/admin-guide/cgroup-v2.html and https://docs.kernel.org/admin-guide/cgroup-v1/
    """
    found = {}
    if (CGROUPS / "cgroup.controllers").exists():
        group = _group()
        _put(found, "memory", _number(group / "memory.max"))
        _put(found, "swap", _number(group / "memory.swap.max"))
        quota, _, period = (_text(group / "cpu.max") or "max").partition(" ")
        found["cpus"] = None if quota == "max" else int(quota) / int(period)
        _put(found, "processes", _number(group / "pids.max"))
        return found
    memory, cpu = CGROUPS / "memory", CGROUPS / "cpu"
    _put(found, "memory", _number(memory / "memory.limit_in_bytes"))
    both = _number(memory / "memory.memsw.limit_in_bytes")
    if _text(memory / "memory.swappiness") == "0":
        found["swap"] = 0
    elif both != "absent":
        found["swap"] = None if both is None or found.get("memory") is None else both - found["memory"]
    quota, period = _number(cpu / "cpu.cfs_quota_us"), _number(cpu / "cpu.cfs_period_us")
    found["cpus"] = quota / period if isinstance(quota, int) and quota > 0 else None
    _put(found, "processes", _number(CGROUPS / "pids" / "pids.max"))
    return found


def _group():
    """This container's own folder in the one tree: the top of it, unless it sees the host's tree."""
    for line in (_text(Path("/proc/self/cgroup")) or "").splitlines():
        if line.startswith("0::/"):
            own = CGROUPS / line[4:]
            return own if (own / "memory.max").exists() else CGROUPS
    return CGROUPS


def _text(path):
    try:
        return path.read_text().strip()
    except OSError:
        return None


def _number(path):
    """A limit in a file: a number, None for no limit, "absent" where there is no such file."""
    text = _text(path)
    if text is None:
        return "absent"
    return None if text == "max" or int(text) >= 2**60 else int(text)


def _put(found, name, value):
    if value != "absent":
        found[name] = value


def _first_to_go():
    """When memory runs out, the kernel is to take this process and not Pinboard. See proc_pid_oom_score_adj(5)."""
    Path("/proc/self/oom_score_adj").write_text("1000")


def try_memory(mib):
    """Take that much memory, and really write to it. Who gets to the end was not stopped."""
    _first_to_go()
    taken = []
    for _ in range(int(mib) // 4):
        taken.append(b"x" * (4 * MIB))
    return {"mib": len(taken) * 4}


def try_processes(wanted):
    """Start that many processes; returns how many there were before the kernel said no."""
    _first_to_go()
    started, refused = [], ""
    try:
        for _ in range(int(wanted)):
            started.append(os.posix_spawn("/bin/sleep", ["sleep", "30"], os.environ))
    except OSError as error:
        refused = error.strerror
    for pid in started:
        os.kill(pid, 9)
    for pid in started:
        os.waitpid(pid, 0)
    return {"started": len(started), "refused": refused}


def try_cpu(seconds):
    """Keep two processes busy, until the kernel holds them back or the time is over.

    Returns how often it did, and how many processors they had in the end.
    """
    before, began = _throttled(), time.monotonic()
    other = os.fork()
    while time.monotonic() - began < float(seconds) and (not other or _throttled() <= before or _young(began)):
        sum(range(20_000))
    if not other:
        os._exit(0)
    os.kill(other, 9)
    used = os.wait4(other, 0)[2]
    took = time.monotonic() - began
    busy = time.process_time() + used.ru_utime + used.ru_stime
    return {"throttled": _throttled() - before, "cpus": round(busy / took, 2)}


def _young(began):
    return time.monotonic() - began < 1


def _throttled():
    v2 = _group() / "cpu.stat"
    text = _text(v2 if (CGROUPS / "cgroup.controllers").exists() else CGROUPS / "cpu" / "cpu.stat") or ""
    facts = dict(line.split() for line in text.splitlines())
    return int(facts.get("nr_throttled", 0))


WHAT = {
    "around": around,
    "whoami": whoami,
    "code": code,
    "limits": limits,
    "memory": try_memory,
    "processes": try_processes,
    "cpu": try_cpu,
}

if __name__ == "__main__":
    json.dump(WHAT[sys.argv[1]](*sys.argv[2:]), sys.stdout)
