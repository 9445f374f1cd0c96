"""Go: which one is taken, and what is built with it and kept."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lab_helpers.core.errors import MachineError, ToolError
from lab_helpers.core.events import Event, Progress
from lab_helpers.core.processes import find_program
from lab_helpers.core.settings import Place, place
from lab_helpers.core.waiting import wait_for
from lab_helpers.images import go_builds, toolchain
from lab_helpers.images.go_builds import GROUPS, NODE_GROUPS, Group, built, folder_of, host
from lab_helpers.images.toolchain import NEEDED, caches, find_go, go_environment, go_program


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.delenv("LAB_OFFLINE", raising=False)
    return replace(place(), home=tmp_path / "home", state=tmp_path / "state", work=tmp_path / "work")


def fake_go(folder: Path, version: str) -> Path:
    """A Go that does nothing but say its version."""
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "go"
    program.write_text(f"#!/bin/sh\necho go version {version} linux/amd64\n")
    program.chmod(0o755)
    return program


# -- which Go ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["go1.26.4", "go1.26.8", "go1.27", "go2.0.1"])
def test_a_go_that_is_new_enough_is_taken(
    empty: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    own = fake_go(tmp_path / "own", version)
    monkeypatch.setattr(toolchain, "find_program", lambda _name: own)
    assert go_program(empty) == own


@pytest.mark.parametrize("version", ["go1.26.3", "go1.26", "go1.19.8", "devel"])
def test_an_older_go_is_passed_over(
    empty: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    own = fake_go(tmp_path / "own", version)
    monkeypatch.setattr(toolchain, "find_program", lambda _name: own)
    assert find_go(empty) is None
    ours = fake_go(toolchain._go_in(toolchain._folder(empty)).parent, "go1.26.6")
    assert go_program(empty) == ours


def test_offline_nothing_is_installed(empty: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toolchain, "find_program", lambda _name: None)
    monkeypatch.setenv("LAB_OFFLINE", "1")
    with pytest.raises(MachineError) as caught:
        go_program(empty)
    assert caught.value.finding == "GO"
    assert "LAB_OFFLINE" in caught.value.why


def test_an_installation_that_fails_says_why_and_leaves_nothing(
    empty: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toolchain, "find_program", lambda _name: None)
    monkeypatch.setattr(toolchain, "_installer", lambda: ["sh", "-c", "echo no such package >&2; exit 1"])
    with pytest.raises(MachineError) as caught:
        go_program(empty)
    assert caught.value.finding == "GO"
    assert "no such package" in caught.value.why
    assert [path.name for path in (empty.home / "tools").iterdir()] == ["go.lock"]


@pytest.mark.live
@pytest.mark.full
def test_the_wheel_brings_a_go_that_builds(empty: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find = find_program
    monkeypatch.setattr(toolchain, "find_program", lambda name: None if name == "go" else find(name))
    half = empty.home / "tools" / f".{toolchain._folder(empty).name}.killed"
    half.mkdir(parents=True)
    go = go_program(empty)
    assert go.is_relative_to(empty.home / "tools")
    assert toolchain._version(go) >= NEEDED
    assert not half.exists()
    source = tmp_path / "source"
    source.mkdir()
    (source / "go.mod").write_text("module example\n\ngo 1.26\n")
    (source / "main.go").write_text('package main\n\nfunc main() { println("it runs") }\n')
    env = {**os.environ, **go_environment(empty, *host())}
    subprocess.run([go, "build", "-o", "program", "."], cwd=source, env=env, check=True)
    assert subprocess.run([source / "program"], capture_output=True, text=True, check=True).stderr == "it runs\n"


# -- what is built -----------------------------------------------------------------------------------------------------


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Sources that a test may change: a module without any dependency."""
    folder = tmp_path / "sources"
    small = folder / "small"
    small.mkdir(parents=True)
    (small / "go.mod").write_text("module lab.local/small\n\ngo 1.26\n")
    (small / "go.sum").write_text("")
    (small / "main.go").write_text('package main\n\nfunc main() { println("one") }\n')
    monkeypatch.setattr(go_builds, "SOURCES", folder)
    monkeypatch.setattr(go_builds, "GROUPS", {"small": Group("small", (".",), 10, 20)})
    return small


def test_the_key_follows_the_sources_the_system_and_the_words(
    empty: Place, sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def key(goos: str = "linux", goarch: str = "amd64") -> str:
        return folder_of(empty, "small", goos, goarch).name

    keys = {key(), key("darwin"), key(goarch="arm64")}
    for name in ("main.go", "go.mod", "go.sum"):
        (sources / name).write_text((sources / name).read_text() + "\n")
        keys.add(key())
    monkeypatch.setattr(go_builds, "GROUPS", {"small": Group("small", (".",), 10, 20, tags="other")})
    keys.add(key())
    assert len(keys) == 7
    assert key() in keys  # and it is the same for the same


def test_our_own_programs_do_not_make_kubernetes_be_built_again(empty: Place, tmp_path: Path) -> None:
    """They share its module, and are changed more often."""
    agent = [path.name for path in GROUPS["node-parts"].sources()]
    assert {"masquerade.go", "go.mod", "go.sum"} <= set(agent)
    assert [path.name for path in GROUPS["kubernetes"].sources()] == ["go.mod", "go.sum"]


def test_every_module_pins_what_it_is_made_of() -> None:
    """A build verifies each module against go.sum, so both files have to be there and to be whole."""
    assert set(NODE_GROUPS) | {"kind"} == set(GROUPS)
    for group in GROUPS.values():
        folder = go_builds.SOURCES / group.module
        sums = (folder / "go.sum").read_text()
        assert "toolchain" not in (folder / "go.mod").read_text()
        for line in (folder / "go.mod").read_text().splitlines():
            name, _, version = line.strip().removesuffix(" // indirect").removeprefix("require ").partition(" ")
            if version.startswith("v") and "=>" not in line:
                assert f"{name} {version}" in sums or f"{name} => " in (folder / "go.mod").read_text()


def test_offline_only_what_is_built_already_is_had(
    empty: Place, sources: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_OFFLINE", "1")
    with pytest.raises(MachineError) as caught:
        built(empty, "small", *host())
    assert caught.value.finding == "GO"
    folder_of(empty, "small", *host()).mkdir(parents=True)
    assert built(empty, "small", *host()) == folder_of(empty, "small", *host())


@pytest.mark.live
def test_a_program_is_built_once(empty: Place, sources: Path) -> None:
    if find_go(empty) is None:
        pytest.skip("no Go here that is new enough")
    told: list[Event] = []
    folder = built(empty, "small", *host(), told.append)
    assert subprocess.run([folder / "small"], capture_output=True, text=True, check=True).stderr == "one\n"
    assert any(isinstance(event, Progress) and event.what.startswith("small: ") for event in told)
    again: list[Event] = []
    assert built(empty, "small", *host(), again.append) == folder
    assert not again
    (sources / "main.go").write_text("package main\n\nfunc main() { no such thing }\n")
    with pytest.raises(ToolError, match="small could not be built") as caught:
        built(empty, "small", *host())
    assert "syntax error" in caught.value.output
    assert not folder_of(empty, "small", *host()).exists()
    shutil.rmtree(caches(empty))  # nothing in it is read-only


def test_progress_is_read_from_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("go: downloading example.org/a v1.0.0\n")
    read = go_builds._progress("small", Group("small", (".",), 10, 3))
    first = read(log)
    assert (first.what, first.done, first.total) == ("small: getting its sources", 0, 3)
    log.write_text(log.read_text() + "example.org/a\nexample.org/b\nexample.org/c\nsmall\n")
    assert (read(log).what, read(log).done) == ("small: compiling", 2)


BUILD = """
import sys
from dataclasses import replace
from pathlib import Path
from lab_helpers.core.settings import place
from lab_helpers.images import go_builds, toolchain
go_builds.SOURCES = Path(sys.argv[2])
go_builds.GROUPS = {"small": go_builds.Group("small", (".",), 10, 20)}
go_builds.go_program = lambda place, tell: Path(sys.argv[3])
print(go_builds.built(replace(place(), home=Path(sys.argv[1])), "small", *go_builds.host()))
"""

SLOW = """#!/bin/sh
# go build -C FOLDER -v -o PART ...
cd "$(dirname "$6")"
echo run >> runs
while [ ! -e go ]; do sleep 0.05; done
touch "$6/small"
"""


def test_after_kill_9_the_next_one_waits_and_builds(empty: Place, sources: Path, tmp_path: Path) -> None:
    slow = tmp_path / "slow-go"
    slow.write_text(SLOW)
    slow.chmod(0o755)
    tools = empty.home / "tools"
    argv = [sys.executable, "-c", BUILD, str(empty.home), str(sources.parent), str(slow)]
    first = subprocess.Popen(argv)
    wait_for((tools / "runs").exists, "the first build to begin", timeout_s=20)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    second = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    with pytest.raises(subprocess.TimeoutExpired):
        second.communicate(timeout=2)
    assert (tools / "runs").read_text() == "run\n"  # two builds never write to the same folder
    (tools / "go").touch()
    out, _ = second.communicate(timeout=60)
    assert (Path(out.strip()) / "small").exists()
    assert (tools / "runs").read_text() == "run\nrun\n"  # what Go itself has kept makes the second one short
    assert not list(tools.glob("*.part"))


def test_ctrl_c_ends_the_build(empty: Place, sources: Path, tmp_path: Path) -> None:
    slow = tmp_path / "slow-go"
    slow.write_text(SLOW)
    slow.chmod(0o755)
    tools = empty.home / "tools"
    argv = [sys.executable, "-c", BUILD, str(empty.home), str(sources.parent), str(slow)]
    first = subprocess.Popen(argv, stderr=subprocess.DEVNULL)
    wait_for((tools / "runs").exists, "the build to begin", timeout_s=20)
    first.send_signal(signal.SIGINT)
    assert first.wait(15) != 0
    (tools / "go").touch()
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    assert (Path(done.stdout.strip()) / "small").exists()
