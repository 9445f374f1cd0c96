"""Virtual machines, for real: their whole life, and what happens to them when things are killed."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from lab_helpers.boundaries import snapshots
from lab_helpers.boundaries.guest import QemuEndedError, running_guest, running_guests
from lab_helpers.boundaries.vm import Vm, all_vms
from lab_helpers.core import host, journal
from lab_helpers.core.errors import LabError, MachineError, ToolError, UsageError
from lab_helpers.core.ports import free_port
from lab_helpers.core.processes import start_detached
from lab_helpers.core.settings import Place
from lab_helpers.core.waiting import wait_for
from lab_helpers.course.world import World
from lab_helpers.images.guest_image import GuestImage
from lab_helpers.record import jobs, recorder
from lab_helpers.tools import ssh
from lab_helpers.tools.qemu import Forward

pytestmark = pytest.mark.live


@pytest.fixture
def extra(shared_place: Place, image: GuestImage) -> Iterator[Vm]:
    """A VM that does not run and that a test may do anything to."""
    vm = Vm.create(shared_place, "extra", image, memory_mib=384, cpus=1)
    yield vm
    World(shared_place, "").reset_vms(("extra",))


# -- made and found again


@pytest.mark.parametrize("name", ["", "Pinboard", "1vm", "a_b", "../up", "x" * 40, "vm\n", "-rf"])
def test_an_odd_name_is_refused_and_nothing_is_made(here: Place, image: GuestImage, name: str) -> None:
    with pytest.raises(UsageError):
        Vm.create(here, name, image, memory_mib=512, cpus=1)
    assert not here.vms.exists() or not list(here.vms.iterdir())


@pytest.mark.parametrize(("memory", "cpus"), [(0, 1), (10, 1), (10**9, 1), (512, 0), (512, 1000)])
def test_impossible_hardware_is_refused(here: Place, image: GuestImage, memory: int, cpus: int) -> None:
    with pytest.raises(UsageError):
        Vm.create(here, "vm", image, memory_mib=memory, cpus=cpus)
    assert all_vms(here) == []


def test_a_name_is_taken_once_and_a_half_made_vm_is_made_anew(here: Place, image: GuestImage) -> None:
    (here.vms / "vm").mkdir(parents=True)
    (here.vms / "vm" / "disk.qcow2").write_text("what a killed create left")
    made = Vm.create(here, "vm", image, memory_mib=512, cpus=1)
    assert made.disk.read_bytes()[:4] == b"QFI\xfb"
    with pytest.raises(UsageError, match="already"):
        Vm.create(here, "vm", image, memory_mib=512, cpus=1)
    assert [vm.name for vm in all_vms(here)] == ["vm"]
    assert Vm.load(here, "vm").record == made.record
    second = Vm.create(here, "second", image, memory_mib=512, cpus=1)
    assert second.record.ssh_port != made.record.ssh_port


def test_a_vm_that_is_not_there_names_those_that_are(here: Place, image: GuestImage) -> None:
    Vm.create(here, "alpha", image, memory_mib=512, cpus=1)
    with pytest.raises(UsageError) as caught:
        Vm.load(here, "beta")
    assert "alpha" in str(caught.value)


def test_a_damaged_record_is_told_and_removable(here: Place, image: GuestImage) -> None:
    vm = Vm.create(here, "vm", image, memory_mib=512, cpus=1)
    (vm.folder / "vm.json").write_text('{"name": ')
    with pytest.raises(LabError, match="cannot be read"):
        Vm.load(here, "vm")
    assert all_vms(here) == []
    World(here, "").clean()
    assert not vm.folder.exists()


# -- a running one


def test_its_kernel_memory_and_processors_are_its_own(vm: Vm) -> None:
    guest = vm.running()
    assert guest.shell("cat /proc/sys/kernel/random/boot_id").strip() != host.boot_id()
    assert guest.shell("nproc").strip() == "2"
    assert 400_000 < int(guest.shell("sed -n 's/MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo")) < 512 * 1024
    assert guest.shell("hostname").strip() == "shared"


def test_its_services_are_up_and_none_has_failed(vm: Vm) -> None:
    guest = vm.running()
    assert guest.shell("systemctl is-system-running").strip() == "running"
    answer = guest.shell("runuser -u pinboard -- psql -Atc 'select current_user' postgresql:///pinboard")
    assert answer.strip() == "pinboard"
    # The shell on the console waits for somebody; a program that could not run there would be started again and again.
    assert guest.shell("systemctl show -p ActiveState -p NRestarts lab-console").split() == [
        "NRestarts=0",
        "ActiveState=active",
    ]


def test_starting_it_again_leaves_it_as_it_is(vm: Vm) -> None:
    process = vm.running().process
    assert vm.start().process == process


def test_ssh_by_name_works_with_the_courses_config(vm: Vm) -> None:
    argv = ["ssh", "-F", str(vm.place.state / "ssh_config"), "shared", "echo $HOSTNAME; exit 7"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    assert (done.stdout, done.returncode) == ("shared\n", 7)
    assert (vm.place.state / "keys" / "id_ed25519").stat().st_mode & 0o777 == 0o600


def test_the_contract_of_run_holds_over_ssh_too(vm: Vm) -> None:
    over_ssh = replace(vm.running(), agent=None)
    done = over_ssh.run(["/bin/sh", "-c", "echo out; echo err >&2; exit 3"], check=False)
    assert (done.out, done.err, done.code) == ("out\n", "err\n", 3)
    assert over_ssh.run(["cat"], stdin="grüße\n").out == "grüße\n"
    assert over_ssh.run(["/bin/echo", "two words", "$HOME", "a'b"]).out == "two words $HOME a'b\n"
    with pytest.raises(ToolError, match="failed"):
        over_ssh.run(["false"])


def test_a_guest_without_a_way_in_says_so(vm: Vm) -> None:
    sealed = replace(vm.running(), agent=None, ssh=None)
    assert "no way to look inside" in sealed.silence()


def test_files_and_folders_are_copied(vm: Vm, tmp_path: Path) -> None:
    (tmp_path / "folder with space").mkdir()
    (tmp_path / "folder with space" / "file").write_text("content")
    vm.copy(tmp_path / "folder with space", "/tmp/copied")
    assert vm.running().shell("cat /tmp/copied/file; rm -r /tmp/copied") == "content"
    with pytest.raises(UsageError):
        vm.copy(tmp_path / "nothing", "/tmp/")


def test_a_forward_leads_in_at_once_and_can_be_taken_away(vm: Vm) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        port = other.getsockname()[1]
        with pytest.raises(LabError, match="could not listen"):
            vm.forward(Forward(port, 22))
    lead = Forward(port, 22)
    vm.forward(lead)
    vm.forward(lead)
    assert lead in vm.running().forwards()
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        assert connection.recv(4) == b"SSH-"
    vm.drop_forward(lead)
    assert lead not in vm.running().forwards()
    assert lead not in Vm.load(vm.place, vm.name).record.forwards


def test_another_place_does_not_see_it(vm: Vm, here: Place) -> None:
    assert running_guests(here) == []
    assert [guest.name for guest in running_guests(vm.place) if guest.name == "shared"] == ["shared"]


def test_a_place_inside_of_the_checkout_leaves_the_learners_guests_alone(vm: Vm) -> None:
    """`lab prove` works in such a place, while the learner's VMs go on."""
    state = vm.place.state / "prove-test"
    inner = replace(vm.place, root=vm.place.state.parent, state=state, work=state / "work")
    assert running_guests(inner) == []
    assert World(inner, "").clean() == []
    assert vm.running().process.alive()


def test_a_snapshot_brings_back_memory_and_disk_and_the_clock_is_right(vm: Vm) -> None:
    guest = vm.running()
    guest.shell("echo before > /root/mark; echo before > /run/mark; sync")
    boot_id = guest.shell("cat /proc/sys/kernel/random/boot_id")
    snapshots.save(vm, "one")
    guest.shell("echo after > /root/mark; rm /run/mark; sync")
    assert subprocess.run(vm.endpoint().argv("true"), check=False, timeout=60).returncode == 0  # a shared connection
    snapshots.restore(vm, "one")
    assert guest.shell("cat /root/mark /run/mark") == "before\nbefore\n"
    assert guest.shell("cat /proc/sys/kernel/random/boot_id") == boot_id
    assert abs(float(guest.shell("date +%s")) - float(subprocess.check_output(["date", "+%s"]))) < 5
    assert subprocess.run(vm.endpoint().argv("true"), check=False, timeout=60).returncode == 0
    snapshots.delete(vm, "one")
    assert snapshots.tags(vm) == []
    with pytest.raises(UsageError, match="no snapshot"):
        snapshots.restore(vm, "one")
    kinds = [event["kind"] for event in journal.read(vm.place.journal, "vm:shared")]
    assert kinds.index("snapshot") < kinds.index("restore")


def test_the_recorder_writes_down_what_qemu_says(vm: Vm) -> None:
    process = recorder.follow(vm.place, vm.name)
    assert recorder.follow(vm.place, vm.name) == process  # one is enough
    guest = vm.running()
    assert guest.qmp

    def heard() -> bool:
        guest.qmp.execute("stop")  # type: ignore[union-attr]
        guest.qmp.execute("cont")  # type: ignore[union-attr]
        by_qemu = [e["kind"] for e in journal.read(vm.place.journal, "vm:shared") if e.get("by") == "qemu"]
        return {"pause", "resume"} <= set(by_qemu)

    wait_for(heard, "the recorder to write", timeout_s=20)
    jobs.stop(vm.place, recorder.job_name(vm.name))
    assert not process.alive()
    recorder.follow(vm.place, vm.name)


# -- started, killed, stopped


def _ready_in_a_shell(vm: Vm) -> str:
    """A log in by name over a shared connection, as the learner's cells do it: the guest's boot id."""
    argv = vm.endpoint().argv("cat /proc/sys/kernel/random/boot_id")
    return subprocess.run(argv, check=True, timeout=60, capture_output=True, text=True).stdout


def test_a_whole_life_and_all_that_can_happen_in_it(here: Place, image: GuestImage) -> None:
    """One machine for all of it, since a boot is what takes long."""
    vm = Vm.create(here, "vm", image, memory_mib=384, cpus=1)

    # it outlives the process that started it
    script = (
        "from lab_helpers.boundaries.vm import Vm; from lab_helpers.core.settings import place\n"
        "Vm.load(place(), 'vm').start(lambda event: print(event, flush=True))"
    )
    environment = {**os.environ, "LAB_STATE": str(here.state), "LAB_HOME": str(here.home)}
    starter = subprocess.Popen([sys.executable, "-c", script], env=environment, stdout=subprocess.PIPE, text=True)
    assert starter.stdout and "boots" in starter.stdout.readline()
    os.kill(starter.pid, signal.SIGKILL)  # in the middle of the boot
    starter.communicate()
    found = running_guest(here, "vm")
    assert found
    found.wait_until_ready(timeout_s=180)

    # a plug that is pulled loses no synced file, and the VM starts again
    found.shell("echo kept > /root/mark; sync")
    os.kill(found.process.pid, signal.SIGKILL)
    wait_for(lambda: vm.guest() is None, "QEMU to be gone", timeout_s=30)
    threads = [threading.Thread(target=vm.start) for _ in range(2)]  # two hurried learners: still one machine
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [guest.name for guest in running_guests(here)] == ["vm"]
    assert vm.running().shell("cat /root/mark") == "kept\n"
    boot_id = _ready_in_a_shell(vm)

    # it is shut down, and goes on from a snapshot, in the very boot that it was in, with its network
    snapshots.save(vm, "warm")
    vm.stop()
    assert vm.guest() is None
    with pytest.raises(LabError, match="is off"):
        vm.running()
    assert [event["kind"] for event in journal.read(here.journal, "vm:vm")][-1] == "stop"
    snapshots.restore(vm, "warm")
    assert _ready_in_a_shell(vm) == boot_id

    # and clean leaves nothing
    recorder.follow(here, vm.name)
    process = vm.running().process
    world = World(here, "")
    assert len(world.leftovers()) >= 3
    world.clean()
    assert world.leftovers() == []
    assert not process.alive()
    assert not here.sockets.exists()


def test_a_qemu_that_is_killed_while_its_guest_boots_is_told_and_not_waited_for(extra: Vm) -> None:
    def shoot(event: object) -> None:
        if guest := extra.guest():
            os.kill(guest.process.pid, signal.SIGKILL)

    with pytest.raises(QemuEndedError):
        extra.start(shoot)
    assert extra.guest() is None


@pytest.mark.full
def test_a_reboot_from_inside_brings_back_network_and_services(extra: Vm) -> None:
    guest = extra.start()
    boot_id = _ready_in_a_shell(extra)
    subprocess.run(extra.endpoint().argv("reboot"), check=False, timeout=60)
    ssh.hang_up(extra.endpoint())
    wait_for(
        lambda: guest.shell("cat /proc/sys/kernel/random/boot_id", timeout_s=5) != boot_id,
        "another boot",
        timeout_s=180,
        interval_s=0.5,
    )
    guest.wait_until_ready(timeout_s=180)
    assert guest.process == extra.running().process
    assert _ready_in_a_shell(extra) != boot_id
    assert "default via 10.0.2.2" in guest.shell("ip route")
    assert guest.shell("systemctl is-system-running --wait || true").strip() == "running"


def _typed(console: Path, line: str, answer: str) -> str:
    """Type a line at a guest's serial console, again while nothing answers; what came back."""
    with socket.socket(socket.AF_UNIX) as terminal:
        terminal.connect(str(console))
        terminal.settimeout(2)
        seen = ""

        def answered() -> bool:
            nonlocal seen
            terminal.sendall(line.encode() + b"\n")  # the shell may not read yet: what is typed before it is dropped
            with contextlib.suppress(TimeoutError):
                while answer not in seen:
                    seen += terminal.recv(4096).decode(errors="replace")
            return answer in seen

        wait_for(answered, f"the console to answer {answer!r}", timeout_s=60, log=lambda: seen)
        return seen


def test_one_of_plain_qemu_is_found_looked_into_and_typed_at(extra: Vm, vm: Vm) -> None:
    work = extra.place.work / "01-virtual-machine"
    work.mkdir(parents=True, exist_ok=True)
    disk = work / "mine.qcow2"
    base = extra.place.images / extra.record.image
    subprocess.run(
        ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", base / "disk.qcow2", disk], check=True
    )
    console = extra.place.sockets / "plain.console"
    append = f"root=/dev/vda console=ttyS0 {ssh.credential(extra.place.state / 'keys' / 'id_ed25519.pub')}"
    argv = [
        *("qemu-system-x86_64", "-m", "320", "-display", "none", "-accel", "tcg", "-cpu", "max"),
        *("-kernel", str(base / "vmlinuz"), "-initrd", str(base / "initrd.img"), "-append", append),
        *("-drive", "file=mine.qcow2,if=virtio", "-nic", f"user,model=virtio,hostfwd=tcp:127.0.0.1:{free_port()}-:22"),
        *("-serial", f"unix:{console},server=on,wait=off"),
    ]
    _, popen = start_detached(argv, log=work / "qemu.log", cwd=work)
    found = running_guest(extra.place, "pinboard-vm")
    assert found and not found.managed and found.disk == disk.resolve()
    assert sorted(guest.name for guest in running_guests(vm.place)) == ["", "shared"]  # several at once, each found
    found.wait_until_ready(timeout_s=180)  # over SSH: this one has no agent
    assert found.shell("nproc") == "1\n"
    assert found.shell("cat /proc/sys/kernel/random/boot_id") != vm.running().shell(
        "cat /proc/sys/kernel/random/boot_id"
    )

    # a shell on its console, and another one for whoever leaves it
    assert "/dev/" in _typed(console, "echo $((6 * 7))-$(id -un)-$(tty)", "42-root-/dev/")
    _typed(console, "exec echo gone $((3 * 4))", "gone 12")
    _typed(console, "cd /; echo again-$PWD-$HOME", "again-/-/root")
    assert found.shell("systemctl is-active lab-console") == "active\n"
    assert World(extra.place, "").remove_vms(("another-vm",)) == []
    assert found.process.alive()
    assert World(extra.place, "01-virtual-machine").reset_vms(("pinboard-vm",))
    popen.wait(10)
    assert running_guest(extra.place, "pinboard-vm") is None


def test_a_port_that_is_taken_is_told_before_anything_starts(extra: Vm) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        extra.forward(Forward(other.getsockname()[1], 8000))
        with pytest.raises(LabError, match="another program"):
            extra.start()
        assert extra.guest() is None


def test_a_qemu_that_ends_at_once_says_what_it_said(extra: Vm) -> None:
    extra.disk.write_text("this is no disk")
    with pytest.raises(MachineError) as caught:
        extra.start()
    assert caught.value.finding == "QEMU"
    assert "disk.qcow2" in caught.value.why
    assert extra.guest() is None
