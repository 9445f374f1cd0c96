"""What near misses need to set their scene: keep a VM and bring it back, run things in the wrong place. For `prove`."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from lab_helpers.boundaries import snapshots
from lab_helpers.boundaries.vm import Vm
from lab_helpers.core.errors import LabError
from lab_helpers.core.processes import need_program, start_detached
from lab_helpers.core.waiting import wait_for
from lab_helpers.course.world import World
from lab_helpers.record import recorder
from lab_helpers.tools import ssh

KEPT = "kept-by-staging"


@contextlib.contextmanager
def kept(world: World, name: str) -> Iterator[Vm]:
    """Keep a running VM as it is now; whatever is done to it inside of the block, it goes on from there afterwards."""
    vm = Vm.load(world.place, name)
    vm.running()
    snapshots.save(vm, KEPT)
    forwards = vm.record.forwards
    try:
        yield vm
    finally:
        for forward in set(vm.record.forwards) - set(forwards):
            vm.drop_forward(forward)
        for forward in forwards:
            vm.forward(forward)
        snapshots.restore(vm, KEPT)
        snapshots.delete(vm, KEPT)
        recorder.follow(world.place, name)


def run_plain_qemu(world: World, argv: Sequence[str]) -> None:
    """Run a QEMU command as a learner would by hand, and wait until its guest answers."""
    start_detached(argv, log=world.place.state / "logs" / "plain-qemu.log", cwd=world.work)

    def answers() -> bool:
        return any(guest.argv == tuple(argv) and not guest.silence() for guest in world.guests())

    wait_for(answers, "the guest of a plain QEMU to answer", timeout_s=120, interval_s=0.2)


@contextlib.contextmanager
def process_called(argv: Sequence[str]) -> Iterator[None]:
    """A process that has this command line, and is only a `cat` that waits."""
    with subprocess.Popen(
        argv, executable=need_program("cat", "SHELL"), stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield
        finally:
            process.kill()


@contextlib.contextmanager
def host_namespace_with_setting(path: str, value: str) -> Iterator[None]:
    """A setting changed in a network namespace of the host: the host's kernel, another value."""
    rights = ["-n"] if os.getuid() == 0 else ["-r", "-n"]
    script = f'echo "$1" > {path} && echo set && cat'
    with subprocess.Popen(
        [str(need_program("unshare", "SHELL")), *rights, "sh", "-c", script, "sh", value],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        try:
            assert process.stdout
            if process.stdout.readline() != b"set\n":
                raise LabError("A network namespace with a setting of its own could not be made on the host.")
            yield
        finally:
            process.kill()


@contextlib.contextmanager
def pinboard_on_the_host(world: World, port: int) -> Iterator[None]:
    """Pinboard as a process of the host."""
    data = world.place.state / "staging"
    data.mkdir(parents=True, exist_ok=True)
    environment = {
        **os.environ,
        "PYTHONPATH": str(world.place.labs / "pinboard"),
        "DATABASE_URL": f"sqlite:///{data}/pins.db",
        "PINBOARD_PORT": str(port),
    }
    with subprocess.Popen(
        [sys.executable, "-m", "pinboard"], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            wait_for_answer(world, f"http://127.0.0.1:{port}/readyz")
            yield
        finally:
            process.terminate()
            process.wait(10)
            shutil.rmtree(data, ignore_errors=True)


def wait_for_answer(world: World, url: str) -> None:
    """Wait until an address is answered well."""
    wait_for(lambda: world.get(url).ok, f"an answer at {url}", timeout_s=90, interval_s=0.2)


def log_in(vm: Vm, script: str) -> None:
    """Run a script as a learner would who logs in over SSH."""
    ssh.run_in(vm.endpoint(), ["/bin/sh", "-c", script])


def replaced(path: Path, text: str) -> Iterator[None]:
    """Write another text into a file of the learner, yield, and put the old one back."""
    before = path.read_text()
    path.write_text(text)
    try:
        yield
    finally:
        path.write_text(before)
