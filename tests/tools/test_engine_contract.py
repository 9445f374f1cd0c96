"""The contract of tools.engine and its probe, against a fake engine and against the one of this machine."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab_helpers.core.errors import MachineError
from lab_helpers.tools import engine_probe
from lab_helpers.tools.engine import Engine, answers, find_engine, need_engine
from lab_helpers.tools.engine_probe import probe, program
from tests.fakes.fake_engine import FakeEngine


@pytest.fixture
def short() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="engine-") as folder:  # a short path: sockets have a limit
        yield Path(folder)


@pytest.fixture(params=["fake", pytest.param("real", marks=[pytest.mark.live, pytest.mark.engine])])
def engine(request: pytest.FixtureRequest, short: Path) -> Iterator[Engine]:
    if request.param == "fake":
        fake = FakeEngine(short / "sock")
        yield Engine(fake.address, "the test", plain=False)
        fake.close()
        return
    real = find_engine()
    if real is None:
        pytest.skip("no engine answers: `lab doctor --fix`")
    yield real


def test_it_answers(engine: Engine) -> None:
    assert answers(engine.address)


def test_it_says_what_it_is(engine: Engine) -> None:
    facts = engine.facts()
    assert facts.product == "Docker"
    assert facts.version
    assert facts.storage
    assert facts.kernel
    assert facts.cgroup in (1, 2)
    assert facts.runtime in facts.runtimes


@pytest.mark.parametrize("privileged", [False, True])
def test_a_container_is_started_and_nothing_stays(engine: Engine, privileged: bool) -> None:
    tried = probe(engine, engine.facts().arch, privileged=privileged)
    assert tried.ok, tried.why
    with engine.client() as client:
        of_probes = {"label": "vm-to-kubernetes=probe"}
        assert client.api.containers(all=True, filters=of_probes) == []
        assert client.api.images(filters=of_probes) == []


def test_an_architecture_that_we_have_no_program_for_is_no_crash(engine: Engine) -> None:
    assert "s390x" in probe(engine, "s390x", privileged=False).why


def test_an_engine_that_is_gone_is_the_machines_trouble(engine: Engine) -> None:
    gone = Engine(engine.address + "-gone", engine.by, plain=False)
    assert not answers(gone.address)
    with pytest.raises(MachineError) as caught:
        gone.facts()
    assert caught.value.finding == "ENGINE"
    assert "lab doctor --fix" in caught.value.do


def test_what_the_engine_says_against_it_is_told(short: Path) -> None:
    fake = FakeEngine(short / "sock", "privileged")
    engine = Engine(fake.address, "", plain=False)
    assert probe(engine, "x86_64", privileged=False).ok
    refused = probe(engine, "x86_64", privileged=True)
    fake.close()
    assert (refused.ok, fake.containers, fake.images) == (False, {}, {})
    assert "unable to apply caps" in refused.why


def test_what_a_killed_probe_left_is_removed_by_the_next(short: Path) -> None:
    fake = FakeEngine(short / "sock")
    fake.images["lab.local/probe:old"] = 1.0
    probe(Engine(fake.address, "", plain=False), "x86_64", privileged=False)
    fake.close()
    assert fake.images == {}


def test_another_probe_of_this_moment_is_left_alone(short: Path) -> None:
    fake = FakeEngine(short / "sock")
    fake.answer("POST", "/images/create", "tag=other", b"")
    probe(Engine(fake.address, "", plain=False), "x86_64", privileged=False)
    fake.close()
    assert list(fake.images) == ["lab.local/probe:other"]


def test_a_socket_at_which_nobody_speaks_is_no_engine_and_no_hang(short: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab_helpers.tools.engine.PING_S", 1)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(short / "sock"))
        silent.listen(8)
        assert not answers(f"unix://{short}/sock")


@pytest.mark.parametrize("address", ["nonsense", "unix:///nowhere", "tcp://127.0.0.1:1", "ssh://nobody@127.0.0.1:1"])
def test_an_address_that_leads_nowhere(address: str) -> None:
    assert not answers(address)


def test_without_an_engine_the_advice_is_the_doctors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere")
    with pytest.raises(MachineError) as caught:
        need_engine()
    assert caught.value.finding == "ENGINE"


def test_the_probes_program_is_a_program(short: Path) -> None:
    """It runs where its architecture is this machine's; of the other one the headers are what elf(5) says."""
    here = {"x86_64": 62, "aarch64": 183}
    for arch, machine in here.items():
        content = program(arch)
        assert content[:4] == b"\x7fELF"
        assert struct.unpack_from("<H", content, 18) == (machine,)
        assert struct.unpack_from("<Q", content, 24)[0] == engine_probe._LOAD_AT + 120  # the entry is the code
        assert struct.unpack_from("<Q", content, 64 + 32) == (len(content),)  # all of the file is loaded
        if os.uname().machine == arch:
            (short / "probe").write_bytes(content)
            (short / "probe").chmod(0o755)
            assert subprocess.run([short / "probe"], check=False).returncode == 0
