"""Errors, waits, settings, the journal: small things that everything else builds upon."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from lab_helpers.core import host, journal, settings
from lab_helpers.core.errors import ExitCode, LabError, MachineError, UsageError, WaitTimeoutError
from lab_helpers.core.waiting import pace, wait_for


def test_an_error_says_what_why_and_what_to_do() -> None:
    error = LabError("It broke.", why="it was old", do="buy a new one")
    assert str(error).splitlines() == ["It broke.", "Why: it was old", "What to do: buy a new one"]
    assert error._render_traceback_() == str(error).splitlines()


def test_exit_codes_are_a_contract() -> None:
    assert [code.value for code in ExitCode] == [0, 1, 2, 3, 4, 130]
    assert UsageError("x").exit_code == 2
    assert MachineError("x", finding="QEMU").exit_code == 3
    assert "QEMU" in MachineError("x", finding="QEMU").do


def test_a_wait_returns_what_the_probe_found() -> None:
    answers = iter([None, False, "here"])
    assert wait_for(lambda: next(answers), "it", timeout_s=5, interval_s=0.001) == "here"


def test_a_wait_that_ends_tells_the_last_state_the_log_and_a_hint() -> None:
    def probe() -> None:
        raise LabError("the door is closed")

    with pytest.raises(WaitTimeoutError) as caught:
        wait_for(probe, "the door", timeout_s=0.05, interval_s=0.01, hint="knock", log=lambda: "knock knock\n")
    for part in ("the door", "last state: the door is closed", "knock knock", "What to do: knock"):
        assert part in str(caught.value)


def test_the_pace_of_a_wait_is_quick_at_first_and_never_slow() -> None:
    assert [pace(waited) for waited in (0.0, 0.01, 1.0, 1000.0)] == [0.01, 0.01, 0.15, 0.2]
    waits: list[float] = []

    def noted(waited: float) -> float:
        waits.append(waited)
        return 0.0

    answers = iter([None, None, "here"])
    assert wait_for(lambda: next(answers), "it", timeout_s=5, interval_s=noted) == "here"
    assert len(waits) == 2
    assert waits == sorted(waits)


def test_other_errors_pass_through_a_wait() -> None:
    with pytest.raises(ZeroDivisionError):
        wait_for(lambda: 1 / 0, "never", timeout_s=5)


def test_a_state_of_its_own_brings_a_work_folder_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAB_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("LAB_STATE", raising=False)
    usual = settings.place()
    assert (usual.state, usual.work) == (usual.root / ".lab", usual.root / "work")
    monkeypatch.setenv("LAB_STATE", str(tmp_path / "other"))
    other = settings.place()
    assert other.work == tmp_path / "other" / "work"
    assert other.images == usual.images == tmp_path / "home" / "images"
    assert other.sockets != usual.sockets


def test_socket_paths_stay_short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAB_STATE", str(tmp_path / ("long" * 50)))
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/tmp/" + "x" * 200)
    assert len(str(settings.place().sockets / f"{'a' * 31}.events")) < 104


def test_the_environment_puts_the_course_first_on_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LAB_STATE", str(tmp_path))
    here = settings.place()
    environment = here.env()
    assert environment["PATH"].split(":")[0] == str(here.bin)
    assert environment["KUBECONFIG"].startswith(str(tmp_path))
    assert environment["KUBECACHEDIR"] == str(here.home / "kube-cache")  # nothing goes to the user's own ~/.kube
    monkeypatch.setenv("PATH", environment["PATH"])
    assert here.env()["PATH"] == environment["PATH"]  # once is enough


@pytest.mark.parametrize(("value", "expected"), [("", False), ("0", False), ("1", True), ("yes", True)])
def test_offline(monkeypatch: pytest.MonkeyPatch, value: str, expected: bool) -> None:
    monkeypatch.setenv("LAB_OFFLINE", value)
    assert settings.offline() is expected


def test_the_journal_keeps_events_by_source(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal.write(path, "vm:a", "start", pid=1)
    journal.write(path, "vm:b", "start", pid=2)
    journal.write(path, "vm:a", "stop")
    assert [event["kind"] for event in journal.read(path, "vm:a")] == ["start", "stop"]
    assert [event["source"] for event in journal.read(path)] == ["vm:a", "vm:b", "vm:a"]


def test_the_host_has_a_boot_id_that_stays() -> None:
    assert host.boot_id() == host.boot_id() != ""
    assert host.sysctl("/proc/sys/no/such/setting") is None


def test_importing_the_package_loads_nothing_heavy_and_changes_nothing() -> None:
    script = (
        "import os, sys; before = dict(os.environ); import lab_helpers; assert dict(os.environ) == before\n"
        "heavy = {'docker', 'kubernetes', 'matplotlib', 'ipywidgets', 'IPython', 'pydantic', 'typer', 'rich'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
