"""What this machine's kernel knows of a container, under both versions of control groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab_helpers.boundaries.control_groups import is_here, used_bytes

ID = "0123456789abcdef" * 4
V1 = f"12:cpu,cpuacct:/docker/{ID}\n9:memory:/docker/{ID}/init.scope\n1:name=systemd:/docker/{ID}/init.scope\n"
V2 = f"0::/system.slice/docker-{ID}.scope/init\n"


def machine(folder: Path, groups: str, memory: dict[str, str]) -> tuple[Path, Path]:
    """A process 7 in these groups, and the files of the control groups."""
    (folder / "proc" / "7").mkdir(parents=True)
    (folder / "proc" / "7" / "cgroup").write_text(groups)
    for path, text in memory.items():
        file = folder / "cgroup" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder / "proc", folder / "cgroup"


@pytest.mark.parametrize(
    ("groups", "folder", "usage", "cache"),
    [
        (V1, f"memory/docker/{ID}", "memory.usage_in_bytes", "total_inactive_file"),
        (V2, f"system.slice/docker-{ID}.scope", "memory.current", "inactive_file"),
    ],
)
def test_the_whole_container_counts_without_what_is_only_kept(
    tmp_path: Path, groups: str, folder: str, usage: str, cache: str
) -> None:
    files = {f"{folder}/{usage}": "5000\n", f"{folder}/memory.stat": f"cache 9\n{cache} 1000\n"}
    proc, cgroups = machine(tmp_path, groups, files)
    assert is_here(ID, 7, proc)
    assert used_bytes(ID, 7, proc, cgroups) == 4000


def test_a_number_that_is_somebody_elses_here_is_not_the_containers(tmp_path: Path) -> None:
    proc, cgroups = machine(tmp_path, "0::/user.slice\n", {"user.slice/memory.current": "5000"})
    for pid in (7, 8, 0):
        assert not is_here(ID, pid, proc)
        assert used_bytes(ID, pid, proc, cgroups) is None


def test_files_that_are_not_to_be_seen_are_no_number(tmp_path: Path) -> None:
    proc, cgroups = machine(tmp_path, V2, {})
    assert is_here(ID, 7, proc)
    assert used_bytes(ID, 7, proc, cgroups) is None
