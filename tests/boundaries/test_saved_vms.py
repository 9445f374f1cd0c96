"""VMs kept in a folder and brought back: a guest that goes on in another place, while the first one does too."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from lab_helpers.boundaries import saved_vms
from lab_helpers.boundaries.guest import Guest
from lab_helpers.boundaries.vm import Vm, all_vms
from lab_helpers.core.errors import LabError
from lab_helpers.core.settings import Place
from lab_helpers.course.world import World
from lab_helpers.images.guest_image import GuestImage


def test_a_copy_is_the_same_and_its_holes_stay_holes(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    with source.open("wb") as file:
        file.write(b"begin")
        file.seek(50 * 2**20)
        file.write(b"middle")
        file.truncate(100 * 2**20)
    source.chmod(0o600)
    saved_vms.copy_file(source, target)
    assert target.read_bytes() == source.read_bytes()
    assert target.stat().st_mode & 0o777 == 0o600
    assert target.stat().st_blocks <= source.stat().st_blocks + 16
    empty = tmp_path / "empty"
    empty.touch()
    saved_vms.copy_file(empty, target)
    assert target.read_bytes() == b""


@pytest.mark.live
def test_a_running_guest_comes_back_with_its_memory_and_its_disk(vm: Vm, here: Place, tmp_path: Path) -> None:
    guest = vm.running()
    token = os.urandom(8).hex()

    def sql(guest: Guest, line: str) -> str:
        return guest.run(["runuser", "-u", "pinboard", "--", "psql", "-qAt", "-c", line, "postgresql:///pinboard"]).out

    guest.shell(f"echo {token} > /run/in-memory")
    sql(guest, "create table kept (word text)")
    sql(guest, f"insert into kept values ('{token}')")  # noqa: S608 - our own
    boot_id = guest.shell("cat /proc/sys/kernel/random/boot_id")
    try:
        saved_vms.save(vm.place, (vm.name,), tmp_path / "kept")
        assert guest.status() == "running"
        guest.shell("rm /run/in-memory")
        sql(guest, "delete from kept")

        assert saved_vms.bring(here, tmp_path / "kept") == [vm.name]
        back = Vm.load(here, vm.name).running()
        assert back.process != guest.process
        assert back.status() == "running"
        assert back.shell("cat /run/in-memory").strip() == token
        assert sql(back, "select word from kept").strip() == token
        assert back.shell("cat /proc/sys/kernel/random/boot_id") == boot_id
        now, then = (float(one.shell("date +%s.%N")) for one in (back, guest))
        assert abs(now - then) < 30, "its clock is right"
        assert guest.shell("cat /run/in-memory", check=False) == "", "the first one goes its own way"
        with pytest.raises(LabError, match="already"):
            saved_vms.bring(here, tmp_path / "kept")
        World(here, "").remove_vms((vm.name,))
        assert (tmp_path / "kept" / vm.name / saved_vms.MEMORY).exists(), "it can come back as often as one likes"
    finally:
        guest.shell("rm -f /run/in-memory")
        sql(guest, "drop table kept")


@pytest.mark.live
def test_one_that_is_off_comes_back_off(here: Place, image: GuestImage, tmp_path: Path) -> None:
    made = Vm.create(here, "idle", image, memory_mib=384, cpus=1)
    Vm.create(here, "another", image, memory_mib=384, cpus=1)
    disk = made.disk.read_bytes()
    saved_vms.save(here, ("idle", "not-there"), tmp_path / "kept")
    assert [path.name for path in (tmp_path / "kept").iterdir()] == ["idle"]
    made.remove()
    assert saved_vms.bring(here, tmp_path / "kept") == ["idle"]
    back = Vm.load(here, "idle")
    assert (back.record, back.disk.read_bytes(), back.guest()) == (made.record, disk, None)
    assert [vm.name for vm in all_vms(here)] == ["another", "idle"]
