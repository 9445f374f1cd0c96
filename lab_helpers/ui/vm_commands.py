"""`lab vm`: virtual machines from the command line. `--print` shows the real command beneath."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lab_helpers.core.errors import UsageError
from lab_helpers.core.settings import place

if TYPE_CHECKING:
    from lab_helpers.boundaries.vm import Vm
    from lab_helpers.tools.qemu import Forward
    from lab_helpers.ui.terminal import Screen
    from lab_helpers.ui.vm_list import VmList

vm_app = typer.Typer(
    help="Virtual machines: create, start, stop, log in, snapshot, remove.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="the VM's name")]
Tag = Annotated[str, typer.Argument(metavar="TAG", help="the snapshot's name")]
Print = Annotated[bool, typer.Option("--print", help="only show the command that would run")]
Forwards = Annotated[
    list[str] | None,
    typer.Option("--forward", metavar="HOST:GUEST", help="a port of 127.0.0.1 that leads to a port of the guest"),
]


@vm_app.command()
def create(
    name: Name,
    memory: Annotated[int, typer.Option(metavar="MIB", help="memory in MiB")] = 512,
    cpus: Annotated[int, typer.Option(help="how many CPUs")] = 1,
    forward: Forwards = None,
) -> None:
    """Make a VM with a disk of its own, built upon the course's. It does not run yet."""
    from lab_helpers.boundaries.vm import Vm, check_request
    from lab_helpers.images.guest_image import guest_image

    check_request(name, memory, cpus)
    forwards = tuple(_forward(text) for text in forward or ())
    with _screen() as screen:
        image = guest_image(place(), screen.tell)
        vm = Vm.create(place(), name, image, memory_mib=memory, cpus=cpus, forwards=forwards)
        screen.say(f"{vm.name} is made: {memory} MiB, {cpus} CPU(s). Start it: lab vm start {vm.name}")


@vm_app.command()
def start(name: Name, show: Print = False) -> None:
    """Start a VM and wait until it has booted."""
    from lab_helpers.core.processes import pasteable
    from lab_helpers.course.world import world_for

    vm = _load(name)
    if show:
        # One option a line, as one would write it by hand.
        typer.echo(re.sub(r" (?=-[a-z])", " \\\n    ", pasteable(vm.command())))
        return
    with _screen() as screen:
        guest = world_for(place(), "").start_vm(vm, screen.tell)
        screen.say(f"{vm.name} runs (process {guest.process.pid}). Log in: lab vm ssh {vm.name}")


@vm_app.command()
def stop(
    name: Name, force: Annotated[bool, typer.Option("--force", help="pull the plug instead of shutting down")] = False
) -> None:
    """Shut a VM down. Its disk stays."""
    vm = _load(name)
    with _screen() as screen:
        vm.stop(screen.tell, force=force)
        screen.say(f"{vm.name} is off.")


@vm_app.command(context_settings={"ignore_unknown_options": True})
def ssh(
    name: Name,
    command: Annotated[list[str] | None, typer.Argument(metavar="[COMMAND]...", help="run only this")] = None,
) -> None:
    """Log in to a VM as root, or run one command in it."""
    vm = _load(name)
    vm.running()
    argv = vm.endpoint().argv(*(command or ()))
    os.execv(argv[0], argv)  # noqa: S606 - ssh takes our place, terminal and exit code included


@vm_app.command()
def copy(
    name: Name,
    source: Annotated[Path, typer.Argument(metavar="SOURCE", help="a file or folder of the host")],
    target: Annotated[str, typer.Argument(metavar="TARGET", help="where it goes in the guest")],
) -> None:
    """Copy a file or a folder into a VM."""
    vm = _load(name)
    vm.copy(source, target)
    with _screen() as screen:
        screen.say(f"{source} is now {target} in {vm.name}.")


@vm_app.command()
def forward(
    name: Name,
    ports: Annotated[
        str | None, typer.Argument(metavar="[HOST:GUEST]", help="for example 8001:8000; none: list")
    ] = None,
) -> None:
    """Let a port of 127.0.0.1 lead into a VM, from now on; or list the forwards in force."""
    vm = _load(name)
    with _screen() as screen:
        if ports:
            vm.forward(_forward(ports))
            screen.say(f"{vm.name}: {_forward(ports)}")
            return
        guest = vm.guest()
        for entry in guest.forwards() if guest else vm.record.forwards:
            screen.say(f"{vm.name}: {entry}")


@vm_app.command()
def console(name: Name, lines: Annotated[int, typer.Option(help="how many lines, from the end")] = 40) -> None:
    """What a VM wrote to its console since it was last started."""
    vm = _load(name)
    text = vm.console.read_text(errors="replace") if vm.console.exists() else ""
    typer.echo("\n".join(without_escapes(text).splitlines()[-lines:]))


# What steers a terminal (ECMA-48): CSI sequences; strings like OSC, that BEL or ST ends; all other escapes.
_ESCAPES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b[]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]?|[\x00-\x08\x0b-\x1f\x7f-\x9f]"
)


def without_escapes(text: str) -> str:
    """The text without what steers a terminal: a console's log is read on a screen that it was not written for."""
    return _ESCAPES.sub("", text.replace("\r", ""))


@vm_app.command()
def snapshot(name: Name, tag: Tag) -> None:
    """Keep a VM as it is now: its disk and, while it runs, its memory."""
    from lab_helpers.boundaries import snapshots

    vm = _load(name)
    with _screen() as screen:
        screen.busy(f"{vm.name}: keeping it as {tag}", 3)
        snapshots.save(vm, tag)
        screen.say(f"{vm.name} is kept as {tag}. Go back to it: lab vm restore {vm.name} {tag}")


@vm_app.command()
def restore(name: Name, tag: Tag) -> None:
    """Bring a VM back to a snapshot. What it did since then is gone."""
    from lab_helpers.boundaries import snapshots
    from lab_helpers.record import recorder

    vm = _load(name)
    with _screen() as screen:
        screen.busy(f"{vm.name}: back to {tag}", 3)
        snapshots.restore(vm, tag, screen.tell)
        if vm.guest():
            recorder.follow(place(), vm.name)
        screen.say(f"{vm.name} is what it was at {tag}.")


@vm_app.command("list")
def list_vms(as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False) -> None:
    """The VMs of this checkout, and guests that were started here with plain QEMU."""
    rows = _rows()
    if as_json:
        typer.echo(rows.model_dump_json(indent=2))
        return
    for row in rows.vms:
        size = f"{row.memory_mib} MiB, {row.cpus} CPU(s)" if row.memory_mib else "started with plain QEMU"
        kept = f"; snapshots: {', '.join(row.snapshots)}" if row.snapshots else ""
        typer.echo(f"{row.name}: {row.state}, {size}{''.join(f'; {entry}' for entry in row.forwards)}{kept}")
    if not rows.vms:
        typer.echo("No VMs here yet. Make one: lab vm create NAME")


@vm_app.command()
def remove(names: Annotated[list[str], typer.Argument(metavar="NAME...", help="the VMs' names")]) -> None:
    """Stop VMs and delete them, with their disks and snapshots."""
    from lab_helpers.course.world import world_for

    for name in names:
        _load(name)
    with _screen() as screen:
        screen.busy(f"removing {', '.join(names)}", 2)
        for what in world_for(place(), "").remove_vms(tuple(names)):
            screen.say(f"Removed {what}.")


def _rows() -> VmList:
    from lab_helpers.boundaries import snapshots
    from lab_helpers.boundaries.guest import running_guests
    from lab_helpers.boundaries.vm import all_vms
    from lab_helpers.ui.vm_list import VmList, VmRow

    guests = running_guests(place())
    rows = []
    for vm in all_vms(place()):
        guest = next((guest for guest in guests if guest.disk == vm.disk.resolve()), None)
        rows.append(
            VmRow(
                name=vm.name,
                state=guest.status() if guest else "off",
                pid=guest.process.pid if guest else None,
                memory_mib=vm.record.memory_mib,
                cpus=vm.record.cpus,
                forwards=[str(entry) for entry in (guest.forwards() if guest else vm.record.forwards)],
                snapshots=snapshots.tags(vm),
            )
        )
    rows += [
        VmRow(
            name=guest.name or f"(process {guest.process.pid})",
            state=guest.status(),
            pid=guest.process.pid,
            forwards=[str(entry) for entry in guest.forwards()],
        )
        for guest in guests
        if not guest.managed
    ]
    return VmList(vms=rows)


def _load(name: str) -> Vm:
    from lab_helpers.boundaries.vm import Vm

    return Vm.load(place(), name)


def _forward(text: str) -> Forward:
    from lab_helpers.tools.qemu import Forward

    match = re.fullmatch(r"(\d{1,5}):(\d{1,5})", text)
    if not match or not all(0 < int(port) < 65536 for port in match.groups()):
        raise UsageError(f"{text!r} is not a forward.", do="write HOST:GUEST, two ports from 1 to 65535: 8001:8000")
    return Forward(int(match[1]), int(match[2]))


def _screen() -> Screen:
    from lab_helpers.ui.terminal import Screen

    return Screen()
