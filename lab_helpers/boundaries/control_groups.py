"""What this machine's own kernel knows of a container: the control group that its processes are in.

Files: https://docs.kernel.org/admin-guide/cgroup-v2.html and .../cgroup-v1/memory.html
"""

from __future__ import annotations

from pathlib import Path

PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def is_here(container: str, pid: int, proc: Path = PROC) -> bool:
    """A container's process runs on this machine's kernel: its number leads to the control group of that container.

    What this kernel runs, it lists. The processes of another one it does not know: the same number is somebody else's.
    """
    return bool(_groups(container, pid, proc))


def used_bytes(container: str, pid: int, proc: Path = PROC, cgroups: Path = CGROUPS) -> int | None:
    """The memory that a container uses, as `docker stats` counts it: without the files that the kernel only keeps for
    later. None where its control group is not to be seen from here.
    """
    for controllers, path in _groups(container, pid, proc):
        if controllers == "":
            folder, usage, cache = cgroups / path, "memory.current", "inactive_file"
        elif "memory" in controllers.split(","):
            folder, usage, cache = cgroups / "memory" / path, "memory.usage_in_bytes", "total_inactive_file"
        else:
            continue
        try:
            used = int((folder / usage).read_text())
            lines = (folder / "memory.stat").read_text().splitlines()
        except (OSError, ValueError):
            continue
        kept = next((int(line.split()[1]) for line in lines if line.split()[:1] == [cache]), 0)
        return used - kept if kept < used else used
    return None


def _groups(container: str, pid: int, proc: Path) -> list[tuple[str, str]]:
    """Controllers and path of the container's own groups; what a process of it made further down is cut off."""
    if pid <= 0:
        return []
    try:
        lines = (proc / str(pid) / "cgroup").read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        before, own, after = path.partition(container)
        if own:
            found.append((controllers, (before + own + after.partition("/")[0]).lstrip("/")))
    return found
