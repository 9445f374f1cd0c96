"""Lab 01: states that look done and are not. Each is made out of the solved state, and taken back."""

from __future__ import annotations

from collections.abc import Iterator

from lab_helpers.boundaries.guest import Guest
from lab_helpers.course import staging
from lab_helpers.course.world import World
from lab_helpers.tools.qemu import Forward

from .names import GUEST_PORT, HOST_PORT, VM

# -- boot


def _with_other_hardware(world: World, option: str, value: str) -> Iterator[None]:
    """The same guest, by a plain QEMU command with one option changed; then the saved one again."""
    with staging.kept(world, VM) as vm:
        argv = vm.command()
        argv[argv.index(option) + 1] = value
        vm.stop(force=True)
        staging.run_plain_qemu(world, argv)
        try:
            yield
        finally:
            vm.stop(force=True)


def other_memory(world: World) -> Iterator[None]:
    yield from _with_other_hardware(world, "-m", "576")


def one_cpu(world: World) -> Iterator[None]:
    yield from _with_other_hardware(world, "-smp", "1")


def created_only(world: World) -> Iterator[None]:
    with staging.kept(world, VM) as vm:
        vm.stop(force=True)
        yield


def paused(world: World) -> Iterator[None]:
    guest = world.running(VM)
    assert guest.qmp
    guest.qmp.execute("stop")
    try:
        yield
    finally:
        guest.qmp.execute("cont")


def only_the_name(world: World) -> Iterator[None]:
    """A process that calls itself QEMU, with all the right words on its command line."""
    with staging.kept(world, VM) as vm:
        argv = vm.command()
        vm.stop(force=True)
        with staging.process_called(argv):
            yield


# -- own-kernel


def _put_back(guest: Guest) -> None:
    """Give every changed setting of the guest the value that it had at boot."""
    guest.shell(
        "lab-sysctl changed | cut -f1 | while read -r path; do"
        ' grep "^$path:" /run/lab/sysctl.boot | head -n 1 | sed "s/^[^:]*://" > "$path"; done'
    )


def settings_put_back(world: World) -> Iterator[None]:
    with staging.kept(world, VM) as vm:
        _put_back(vm.running())
        yield


def rebooted_since(world: World) -> Iterator[None]:
    with staging.kept(world, VM) as vm:
        vm.stop(force=True)
        world.start_vm(vm)
        yield


def the_hosts_value(world: World) -> Iterator[None]:
    with staging.kept(world, VM) as vm:
        guest = vm.running()
        _put_back(guest)
        for path in ("/proc/sys/kernel/threads-max", "/proc/sys/kernel/panic", "/proc/sys/vm/swappiness"):
            value = world.host_sysctl(path)
            # Where the host has the guest's value already, another setting is tried.
            if value and guest.shell(f"cat {path}; echo {value} > {path}").strip() != value:
                break
        yield


def on_the_host(world: World) -> Iterator[None]:
    """The same change, made on the wrong side: in a network namespace of the host, whose kernel is the host's."""
    with staging.kept(world, VM) as vm:
        _put_back(vm.running())
        with staging.host_namespace_with_setting("/proc/sys/net/ipv4/ip_default_ttl", "77"):
            yield


# -- serve


def _wait_for_pinboard(world: World) -> None:
    staging.wait_for_answer(world, f"http://127.0.0.1:{HOST_PORT}/readyz")


def pinboard_on_the_host(world: World) -> Iterator[None]:
    """The port answers, with pins and all; but it is a process of the host."""
    with staging.kept(world, VM) as vm:
        vm.drop_forward(Forward(HOST_PORT, GUEST_PORT))
        with staging.pinboard_on_the_host(world, HOST_PORT):
            world.post(f"http://127.0.0.1:{HOST_PORT}/api/pins", {"text": "made on the host"})
            yield


def guests_loopback(world: World) -> Iterator[None]:
    with staging.kept(world, VM) as vm:
        vm.running().shell(
            "sed -i s/PINBOARD_HOST=0.0.0.0/PINBOARD_HOST=127.0.0.1/ /etc/systemd/system/pinboard.service;"
            "systemctl daemon-reload; systemctl restart pinboard;"
            f"curl -s --retry 60 --retry-delay 1 --retry-connrefused http://127.0.0.1:{GUEST_PORT}/readyz",
            timeout_s=60,
        )
        yield


def gone_after_a_reboot(world: World) -> Iterator[None]:
    with staging.kept(world, VM) as vm:
        vm.running().shell("systemctl disable pinboard; sync")
        vm.stop()
        world.start_vm(vm)
        yield


def not_enabled(world: World) -> Iterator[None]:
    with staging.kept(world, VM) as vm:
        vm.running().shell("systemctl disable pinboard")
        yield


def by_hand(world: World) -> Iterator[None]:
    """Stopped as a service, and started from a login."""
    with staging.kept(world, VM) as vm:
        vm.running().shell("systemctl stop pinboard")
        environment = "DATABASE_URL=postgresql:///pinboard PINBOARD_HOST=0.0.0.0"
        command = (
            f"cd /opt; {environment} setsid runuser -u pinboard -- python3 -m pinboard > /dev/null 2>&1 < /dev/null &"
        )
        staging.log_in(vm, command)
        _wait_for_pinboard(world)
        yield


def never_restarted(world: World) -> Iterator[None]:
    with staging.kept(world, VM):
        address = f"http://127.0.0.1:{HOST_PORT}/api/pins"
        for pin in world.get(address).json():
            world.delete(f"{address}/{pin['id']}")
        world.post(address, {"text": "made after the last start"})
        yield


def empty_board(world: World) -> Iterator[None]:
    with staging.kept(world, VM):
        address = f"http://127.0.0.1:{HOST_PORT}/api/pins"
        for pin in world.get(address).json():
            world.delete(f"{address}/{pin['id']}")
        yield
