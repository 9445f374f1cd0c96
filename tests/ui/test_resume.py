"""`lab` itself, on a real VM: Ctrl-C ends a boot, and `lab resume` brings back what was killed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from lab_helpers.boundaries.guest import running_guests
from lab_helpers.boundaries.vm import Vm
from lab_helpers.core.processes import ProcessId
from lab_helpers.core.settings import Place
from lab_helpers.core.waiting import wait_for
from lab_helpers.course.progress import record_opened
from lab_helpers.images.guest_image import GuestImage
from lab_helpers.ui.jupyter import stop_jupyter
from tests.toy_cli import Toy

NAME = "first-vm"
"""A VM of lab 01."""


def environment(here: Place) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "JPY_PARENT_PID")}
    return {**env, "LAB_STATE": str(here.state), "LAB_HOME": str(here.home), "TERM": "xterm-256color"}


def lab(here: Place, *words: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "lab_helpers.cli", *words]
    return subprocess.run(
        argv, env=environment(here), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False
    )


def on_terminal(here: Place, *words: str) -> pexpect.spawn:
    """`lab` on a terminal; Ctrl-C means what it usually does, whoever started the tests."""
    return pexpect.spawn(
        sys.executable,
        ["-m", "lab_helpers.cli", *words],
        env=environment(here),
        timeout=240,
        encoding="utf-8",
        dimensions=(40, 120),
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.live
def test_a_boot_that_was_interrupted_and_a_vm_that_was_killed_come_back(here: Place, image: GuestImage) -> None:
    vm = Vm.create(here, NAME, image, memory_mib=320, cpus=1)
    record_opened(here, "01-virtual-machine")

    terminal = on_terminal(here, "vm", "start", NAME)
    terminal.expect_exact(f"{NAME} boots")
    wait_for(lambda: bool(running_guests(here)), "QEMU", timeout_s=60)
    terminal.expect_exact("Ctrl-C stops")  # how to stop stands on the same line
    assert "\n" not in terminal.before
    terminal.sendintr()
    terminal.expect_exact("Stopped. Run it again to go on.")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 130
    assert running_guests(here) == []

    terminal = on_terminal(here, "resume")
    terminal.expect_exact("You were in 01-virtual-machine")
    terminal.expect_exact(f"the VM {NAME} is off, and it was on")
    terminal.expect_exact("Bring it back? [y/N]")
    terminal.sendline("y")
    terminal.expect_exact(f"Back: the VM {NAME}.")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0

    guest = vm.running()
    guest.shell("echo mine > /root/kept && sync")
    os.kill(guest.process.pid, signal.SIGKILL)
    wait_for(lambda: not guest.process.alive(), "QEMU to be gone", timeout_s=60)
    assert f"Off, and it was on: the VM {NAME}. `lab resume` brings it back." in lab(here, "status").stdout
    asked = lab(here, "resume")
    assert asked.returncode == 1, "nobody could be asked"
    assert "its QEMU ended without shutting it down" in asked.stdout
    assert running_guests(here) == []

    back = lab(here, "resume", "--yes")
    assert (back.returncode, back.stderr.count("Traceback")) == (0, 0), back.stdout + back.stderr
    assert vm.running().shell("cat /root/kept") == "mine\n"
    again = lab(here, "resume", "--yes")
    assert again.returncode == 0
    assert f"the VM {NAME} runs" in again.stdout
    assert "Nothing has to be brought back." in again.stdout

    vm.stop(force=True)
    on_purpose = lab(here, "resume", "--yes")
    assert "Nothing has to be brought back." in on_purpose.stdout
    assert f"`lab vm start {NAME}` starts it" in on_purpose.stdout
    assert running_guests(here) == []


def test_ctrl_c_while_jupyterlab_starts_leaves_none_running(here: Place) -> None:
    terminal = on_terminal(here, "open", "00", "--no-browser")
    record = here.state / "jupyter.json"
    wait_for(record.exists, "JupyterLab to be started", timeout_s=120)
    facts = json.loads(record.read_text())
    terminal.sendintr()
    ended = terminal.expect_exact(["Stopped. Run it again to go on.", "goes on in the background"])
    terminal.expect(pexpect.EOF)
    terminal.close()
    try:
        assert ended == 1 or not ProcessId(facts["pid"], facts["started"]).alive()  # 1: it was ready sooner
    finally:
        stop_jupyter(here)


def test_resume_before_anything_was_done_says_how_to_begin(tmp_path: Path) -> None:
    toy = Toy.make(tmp_path)
    done = toy.lab("resume")
    assert done.returncode == 0
    assert "lab open 00-toy" in done.stdout


def test_resume_says_where_one_was(tmp_path: Path) -> None:
    toy = Toy.make(tmp_path)
    toy.lab("check", "00", "file")
    (toy.state / "last-run.json").write_text('{"boot": "of-yesterday"}')
    (toy.state / "jupyter.json").write_text('{"pid": 1, "started": 1, "port": 1}')
    status = toy.lab().stdout
    assert "This machine was restarted since you last worked here." in status
    assert "Off, and it was on: JupyterLab. `lab resume` brings it back." in status
    done = toy.lab("resume")
    assert done.returncode == 1
    assert re.search(r"You were in 00-toy \(A toy\), task file: NOT YET, just now\.", done.stdout)
    assert "JupyterLab is off, and it was on" in done.stdout
    (toy.state / "jupyter.json").unlink()
    assert toy.lab("resume").returncode == 0
    assert "restarted" not in toy.lab("resume").stdout
