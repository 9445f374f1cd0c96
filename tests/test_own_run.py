"""What a killed run of the tests leaves behind is removed by the next one, and nothing of one that goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from lab_helpers.core.processes import ProcessId
from lab_helpers.core.waiting import wait_for
from lab_helpers.tools.engine_probe import _tar, program
from tests.fakes.own_engine import own_engine
from tests.fakes.own_run import VARIABLE, _clear_engine, a_run

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


@pytest.mark.live
@pytest.mark.engine
@pytest.mark.full
def test_what_it_left_in_the_engine_is_known_by_its_name_and_time() -> None:
    with own_engine() as engine, engine.client() as client:

        def make(name: str) -> None:
            client.api.import_image_from_data(_tar(program(engine.facts().arch)), repository=name, tag="1")
            client.api.create_container(f"{name}:1", ["x"], name=name)
            client.networks.create(name)
            client.volumes.create(name)

        def names() -> set[str]:
            found = {each["Names"][0].lstrip("/") for each in client.api.containers(all=True)}
            found |= {each["Name"] for each in client.api.networks()} - {"bridge", "host", "none"}
            found |= {each["Name"] for each in client.api.volumes()["Volumes"] or ()}
            return found | {tag for each in client.api.images() for tag in each["RepoTags"] or ()}

        make("pinboard-before")
        before = names()
        time.sleep(1.1)  # the engine writes whole seconds
        began = time.time()
        make("somebodys")
        others = names()
        make("pinboard-test-1")
        _clear_engine(began, time.time() + 1)
        assert names() == others > before
