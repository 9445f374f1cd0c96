"""What a killed run of the tests leaves behind is removed by the next one, and nothing of one that goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil

from lab_helpers.core.processes import ProcessId
from lab_helpers.core.waiting import wait_for
from tests.fakes.own_run import VARIABLE, a_run

RUN = """
import subprocess, sys
from pathlib import Path
from tests.fakes.own_run import a_run, own_folder
with a_run(Path(sys.argv[1])):
    own_folder("left-")
    script = "import subprocess, sys; subprocess.run(['sleep', '1000'], env={})"
    subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.DEVNULL, start_new_session=True)
    print("up", flush=True)
    sys.stdin.read()
"""


def begin(root: Path) -> tuple[subprocess.Popen[str], list[ProcessId]]:
    """A run in a process of its own, and the processes that it started, one of them without its environment."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    run = subprocess.Popen(
        [sys.executable, "-c", RUN, root], env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert run.stdout
    assert run.stdout.readline() == "up\n"

    def started() -> list[psutil.Process] | None:
        found = psutil.Process(run.pid).children(recursive=True)
        return found if any(process.name() == "sleep" for process in found) else None

    found = wait_for(started, "its processes", timeout_s=60)
    return run, [ProcessId(process.pid, process.create_time()) for process in found]


def test_what_a_killed_run_left_goes_and_a_run_that_goes_on_is_left_alone(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    killed, left = begin(root)
    going, others = begin(root)
    before = os.environ.get(VARIABLE)
    try:
        killed.send_signal(signal.SIGKILL)
        killed.wait(30)
        assert all(process.alive() for process in left)
        with a_run(root) as folder:
            assert not any(process.alive() for process in left)
            assert all(process.alive() for process in others)
            folders = [path for path in root.iterdir() if path.is_dir()]
            assert len(folders) == 2
            assert [path.name[:5] for each in folders for path in each.iterdir() if path.is_dir()] == ["left-"]
            assert os.environ[VARIABLE] == str(folder)
        assert os.environ.get(VARIABLE) == before
    finally:
        for process in [*left, *others]:
            process.end()
        going.communicate("", timeout=30)
    assert [path for path in root.iterdir() if path.is_dir()] == []
