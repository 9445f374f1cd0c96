"""The program in front of runc: built for real, run before a runc of the test's own that notes what it was given."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from lab_helpers.core.processes import ProcessId
from lab_helpers.core.settings import Place
from lab_helpers.core.settings import place as real_place
from lab_helpers.images import runtime_shim
from lab_helpers.images.toolchain import go_program
from lab_helpers.tools import dockerd
from lab_helpers.tools.engine import Engine
from lab_helpers.tools.engine_probe import probe
from tests.fakes.own_engine import own_daemon

pytestmark = [pytest.mark.live, pytest.mark.engine, pytest.mark.full]

ALL = [f"CAP_{name}" for name in dockerd._CAPABILITIES.split()]
UNKNOWN = "CAP_OF_TOMORROW"
BEYOND = 2**63
"""More than anybody's hard limit."""
LOWEST = -1000


class Shim:
    """The program, with a folder in which it is called, and a runc that stands beside it on PATH."""

    def __init__(self, program: Path, folder: Path) -> None:
        self.program, self.folder = program, folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        runc = self.bin / "runc"
        runc.write_text(f'#!/bin/sh\nprintf "%s\\n" "$0" "$@" > {folder}/called\nexit 7\n')
        runc.chmod(0o755)

    def run(self, *words: str | Path, cwd: Path | None = None, without: str = "") -> None:
        """Call it; `without` is a capability that is taken from it, in setpriv's spelling."""
        argv = [str(self.program), *map(str, words)]
        if without:
            setpriv = shutil.which("setpriv")
            if os.geteuid() != 0 or not setpriv:
                pytest.skip("taking a capability away needs root and setpriv")
            argv = [setpriv, f"--bounding-set=-{without}", "--inh-caps=-all", *argv]
        path = f"{self.bin}:{os.environ['PATH']}"
        done = subprocess.run(argv, cwd=cwd or self.folder, env={**os.environ, "PATH": path}, check=False)
        assert done.returncode == 7  # it became the other one, whose exit code it is
        assert (self.folder / "called").read_text().splitlines()[1:] == [*map(str, words)]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built once, with a real runc that is not there any more, so that it looks for one on PATH."""
    folder = tmp_path_factory.mktemp("shim")
    place = replace(real_place(), home=folder)
    go = go_program(real_place())
    (folder / "tools").mkdir()
    runtime_shim._build(go, place, folder / "gone" / "runc", folder / "tools" / "shim")
    return folder / "tools" / "shim"


@pytest.fixture
def shim(built: Path, tmp_path: Path) -> Shim:
    return Shim(built, tmp_path)


def described(**more: Any) -> dict[str, Any]:
    """A process that asks for everything."""
    return {
        "args": ["<&>"],
        "capabilities": {"bounding": [*ALL, UNKNOWN], "effective": ALL, "ambient": []},
        "rlimits": [{"type": "RLIMIT_NOFILE", "hard": BEYOND, "soft": BEYOND}],
        "oomScoreAdj": LOWEST,
        **more,
    }


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def lacking() -> set[str]:
    me = psutil.Process()
    return set(dockerd.lacking(ProcessId(me.pid, me.create_time())))


def was_fitted(path: Path) -> bool:
    """CAP_SYS_ADMIN is what the calls of the tests below take away."""
    content = json.loads(path.read_text())
    return "CAP_SYS_ADMIN" not in content.get("process", content)["capabilities"]["effective"]


def test_only_what_nobody_here_could_give_is_taken_out(shim: Shim, tmp_path: Path) -> None:
    config = write(
        tmp_path / "b" / "config.json", {"ociVersion": "1.0.2", "process": described(), "root": {"a": 2**64 - 1}}
    )
    config.chmod(0o640)
    shim.run("create", "--bundle", tmp_path / "b", "x", without="sys_resource")
    content = json.loads(config.read_text())
    process = content["process"]
    gone = lacking() | {"CAP_SYS_RESOURCE"}
    assert process["capabilities"]["effective"] == [name for name in ALL if name not in gone]
    assert process["capabilities"]["bounding"][-1] == UNKNOWN
    assert process["capabilities"]["ambient"] == []
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert process["rlimits"] == [{"type": "RLIMIT_NOFILE", "hard": hard, "soft": hard}]
    assert process["oomScoreAdj"] == int(Path("/proc/self/oom_score_adj").read_text())
    assert process["args"] == ["<&>"]
    assert content["root"] == {"a": 2**64 - 1}  # a number that a float would not hold
    assert config.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in config.parent.iterdir()] == ["config.json"]


def test_what_can_be_given_is_not_touched(shim: Shim, tmp_path: Path) -> None:
    held = [name for name in ALL if name not in lacking()]
    score = int(Path("/proc/self/oom_score_adj").read_text())
    modest = described(
        capabilities={"effective": held, "bounding": held[:2]},
        rlimits=[{"type": "RLIMIT_NOFILE", "hard": 64, "soft": 32}],
        oomScoreAdj=max(score, 500),
    )
    config = write(tmp_path / "config.json", {"process": modest})
    before = (config.read_text(), config.stat().st_ino)
    shim.run("run", "--bundle", tmp_path, "x")
    assert (config.read_text(), config.stat().st_ino) == before


def test_a_container_with_users_of_its_own_keeps_its_capabilities(shim: Shim, tmp_path: Path) -> None:
    namespaces = {"namespaces": [{"type": "mount"}, {"type": "user"}]}
    config = write(tmp_path / "config.json", {"process": described(), "linux": namespaces})
    shim.run("create", "-b", tmp_path, "x", without="sys_resource")
    process = json.loads(config.read_text())["process"]
    assert process["capabilities"]["effective"] == ALL
    assert process["oomScoreAdj"] > LOWEST


@pytest.mark.parametrize(
    "words",
    [
        ["create", "--bundle", "B", "x"],
        ["create", "--bundle=B", "x"],
        ["create", "-b", "B", "x"],
        ["create", "-b=B", "x"],
        ["create", "-bundle", "B", "x"],
        ["run", "--detach", "--bundle", "B", "--pid-file", "p", "x"],
        ["run", "--pid-file", "create", "-b", "B", "x"],
        ["--root", "/r", "--log", "l", "--log-format", "json", "create", "--console-socket", "s", "--bundle", "B", "x"],
        ["--root=/r", "--systemd-cgroup", "--debug", "create", "--bundle", "B", "x"],
        ["--root", "exec", "--log=create", "run", "--bundle", "B", "x"],
        ["--rootless", "false", "create", "--no-pivot", "--bundle", "B", "--", "x"],
    ],
)
def test_every_spelling_of_a_bundle(shim: Shim, tmp_path: Path, words: list[str]) -> None:
    config = write(tmp_path / "B" / "config.json", {"process": described()})
    shim.run(*words, without="sys_admin")
    assert was_fitted(config)


@pytest.mark.parametrize("words", [["create", "x"], ["--root", "/r", "run", "--detach", "x"]])
def test_without_a_bundle_it_is_the_current_folder(shim: Shim, tmp_path: Path, words: list[str]) -> None:
    config = write(tmp_path / "B" / "config.json", {"process": described()})
    shim.run(*words, cwd=tmp_path / "B", without="sys_admin")
    assert was_fitted(config)


@pytest.mark.parametrize(
    "words",
    [
        ["exec", "--process", "P", "x"],
        ["exec", "--process=P", "x"],
        ["exec", "-p", "P", "x"],
        ["exec", "-p=P", "--detach", "x"],
        ["--root", "/r", "--log", "l", "exec", "--tty", "--env", "A=b", "--process", "P", "--pid-file", "p", "x"],
    ],
)
def test_every_spelling_of_an_exec(shim: Shim, tmp_path: Path, words: list[str]) -> None:
    process = write(tmp_path / "P", described())
    shim.run(*words, without="sys_admin")
    assert was_fitted(process)


@pytest.mark.parametrize(
    "words",
    [
        ["exec", "x", "tool", "--process", "P"],  # an option of the command in the container
        ["exec", "--user", "-p", "x", "P"],  # a user who is called -p
        ["exec", "--", "x", "--process", "P"],
        ["exec", "-t", "x", "-p", "P"],
        ["state", "--process", "P"],
        ["--log", "exec", "kill", "--process", "P", "x"],
        ["delete", "--force", "x"],
        ["--version"],
        [],
        ["--root"],
        ["exec", "--process"],
        ["create", "--bundle"],
    ],
)
def test_what_is_no_description_is_left_alone(shim: Shim, tmp_path: Path, words: list[str]) -> None:
    process = write(tmp_path / "P", described())
    before = process.read_text()
    shim.run(*words, without="sys_admin")
    assert process.read_text() == before


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"process": 7}',
        '{"process": null}',
        '{"process": {}}',
        '{"process": {"capabilities": []}}',
        '{"process": {"capabilities": {"effective": 7}, "rlimits": {}, "oomScoreAdj": "x"}}',
        None,
    ],
)
def test_what_it_does_not_understand_is_passed_on(shim: Shim, tmp_path: Path, text: str | None) -> None:
    config = tmp_path / "config.json"
    if text is not None:
        config.write_text(text)
    shim.run("create", "--bundle", tmp_path, "x", without="sys_admin")
    assert (config.read_text() if config.exists() else None) == text


def test_a_runc_that_is_the_shim_itself_is_no_runc(shim: Shim, tmp_path: Path) -> None:
    """It stands first on PATH under that name, as a learner might put it; and yet there is no loop."""
    first = tmp_path / "first"
    first.mkdir()
    (first / "runc").symlink_to(shim.program)
    path = f"{first}:{shim.bin}:{os.environ['PATH']}"
    done = subprocess.run([shim.program, "--version"], env={**os.environ, "PATH": path}, check=False, timeout=20)
    assert done.returncode == 7


def test_it_is_built_once_and_becomes_the_runc_of_this_machine(tmp_path: Path) -> None:
    runc = shutil.which("runc")
    if not runc:
        pytest.skip("runc is not installed: `lab doctor --fix`")
    place = replace(real_place(), home=tmp_path)
    program = runtime_shim.runtime_shim(place)
    made = program.stat().st_mtime_ns
    assert runtime_shim.runtime_shim(place) == program
    assert program.stat().st_mtime_ns == made
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    assert said == subprocess.run([runc, "--version"], capture_output=True, text=True, check=True).stdout
    assert sorted(path.name for path in (tmp_path / "tools").iterdir()) == [program.name, "runc-shim.lock"]


def test_with_it_an_engine_starts_privileged_containers() -> None:
    """On a host that lacks nothing as well, where it changes nothing; and its going leaves nothing behind."""

    def starts(place: Place, engine: Engine, *, privileged: bool) -> bool:
        return probe(engine, engine.facts().arch, privileged=privileged).ok

    with own_daemon() as (place, daemon):
        dockerd.start(place, daemon)
        engine = Engine(daemon.address, "", plain=False)
        process = daemon.process()
        assert process
        could = starts(place, engine, privileged=True)
        assert could or dockerd.lacking(process)
        program = runtime_shim.put_in_front(place, daemon)
        assert engine.facts().runtimes[runtime_shim.NAME] == str(program)
        assert starts(place, engine, privileged=True)
        assert starts(place, engine, privileged=False)
        assert runtime_shim.is_in_front(daemon)
        runtime_shim.take_away(daemon)
        assert not runtime_shim.is_in_front(daemon)
        assert starts(place, engine, privileged=True) is could
        assert daemon.config.read_text() == '{\n  "debug": false\n}\n'
