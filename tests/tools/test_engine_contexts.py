"""Which engine is meant: DOCKER_HOST, the docker command's contexts, the usual sockets; in a home of the test's own."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab_helpers.core.errors import MachineError
from lab_helpers.tools.engine import DEFAULT_ADDRESS, candidates, find_engine, forbidden, need_engine
from tests.fakes.fake_engine import FakeEngine


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="home-") as folder:  # a short path: sockets have a limit
        for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HOME", folder)
        monkeypatch.setenv("XDG_RUNTIME_DIR", f"{folder}/run")
        yield Path(folder)


def make_context(home: Path, name: str, address: str) -> None:
    meta = home / ".docker" / "contexts" / "meta" / hashlib.sha256(name.encode()).hexdigest() / "meta.json"
    meta.parent.mkdir(parents=True)
    endpoint = {"Host": address, "SkipTLSVerify": False}
    meta.write_text(json.dumps({"Name": name, "Metadata": {}, "Endpoints": {"docker": endpoint}}))


def use_context(home: Path, text: str) -> None:
    (home / ".docker").mkdir(exist_ok=True)
    (home / ".docker" / "config.json").write_text(text)


def first() -> tuple[str, bool]:
    found = next(candidates())
    return found.address, found.plain


def test_by_default_it_is_the_systems_socket() -> None:
    assert first() == (DEFAULT_ADDRESS, True)


def test_docker_host_is_the_only_one_where_it_is_set(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_context(home, "mine", "unix:///mine.sock")
    use_context(home, '{"currentContext": "mine"}')
    monkeypatch.setenv("DOCKER_HOST", "unix:///other.sock")
    assert [each.address for each in candidates()] == ["unix:///other.sock"]


def test_the_current_context_comes_first(home: Path) -> None:
    make_context(home, "colima", "unix:///home/me/.colima/default/docker.sock")
    use_context(home, '{"currentContext": "colima", "auths": {}}')
    assert first() == ("unix:///home/me/.colima/default/docker.sock", True)


def test_docker_context_overrides_the_file(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "two"):
        make_context(home, name, f"unix:///{name}.sock")
    use_context(home, '{"currentContext": "one"}')
    monkeypatch.setenv("DOCKER_CONTEXT", "two")
    assert first() == ("unix:///two.sock", True)
    monkeypatch.setenv("DOCKER_CONTEXT", "default")
    assert first() == (DEFAULT_ADDRESS, True)


def test_docker_config_names_another_folder(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_context(home, "one", "unix:///one.sock")
    use_context(home, '{"currentContext": "one"}')
    (home / ".docker").rename(home / "elsewhere")
    assert first() == (DEFAULT_ADDRESS, True)
    monkeypatch.setenv("DOCKER_CONFIG", str(home / "elsewhere"))
    assert first() == ("unix:///one.sock", True)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"currentContext": 7}', '{"currentContext": ""}', "\xff"])
def test_a_config_that_cannot_be_read_is_none(home: Path, text: str) -> None:
    use_context(home, text)
    assert first() == (DEFAULT_ADDRESS, True)


@pytest.mark.parametrize("meta", [None, "", "{}", '{"Endpoints": []}', '{"Endpoints": {"docker": {"Host": null}}}'])
def test_a_context_that_does_not_exist_leads_nowhere_and_the_sockets_are_tried(
    home: Path, monkeypatch: pytest.MonkeyPatch, meta: str | None
) -> None:
    """The docker command fails with it, so an engine that is found at a socket needs its address in DOCKER_HOST."""
    use_context(home, '{"currentContext": "gone"}')
    if meta is not None:
        make_context(home, "gone", "x")
        next((home / ".docker" / "contexts").rglob("meta.json")).write_text(meta)
    (home / "run").mkdir()
    fake = FakeEngine(home / "run" / "docker.sock")
    monkeypatch.setattr("lab_helpers.tools.engine.answers", lambda address: address == fake.address)
    found = find_engine()
    fake.close()
    assert found is not None
    assert (found.by, found.plain) == ("rootless Docker", False)
    assert found.environment == {"DOCKER_HOST": fake.address}


@pytest.mark.parametrize(
    ("socket", "by"),
    [
        ("run/docker.sock", "rootless Docker"),
        (".docker/desktop/docker.sock", "Docker Desktop"),
        (".colima/default/docker.sock", "Colima"),
        ("run/podman/podman.sock", "rootless Podman"),
    ],
)
def test_the_sockets_of_others_are_found(home: Path, monkeypatch: pytest.MonkeyPatch, socket: str, by: str) -> None:
    (home / socket).parent.mkdir(parents=True)
    use_context(home, '{"currentContext": "default"}')
    fake = FakeEngine(home / socket)
    monkeypatch.setattr("lab_helpers.tools.engine.DEFAULT_ADDRESS", "unix:///nowhere")
    found = [each for each in candidates() if each.address == fake.address]
    fake.close()
    assert [each.by for each in found] == [by]


def test_a_socket_that_is_not_ours_to_open(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "run").mkdir()
    fake = FakeEngine(home / "run" / "docker.sock")
    monkeypatch.setenv("DOCKER_HOST", fake.address)
    assert forbidden() is None
    monkeypatch.setattr("os.access", lambda *_: False)  # root may open everything
    assert forbidden() == fake.path
    monkeypatch.setattr("lab_helpers.tools.engine.answers", lambda _: False)
    with pytest.raises(MachineError) as caught:
        need_engine()
    assert caught.value.finding == "ENGINE-GROUP"
    fake.close()


@pytest.mark.live
@pytest.mark.engine
@pytest.mark.parametrize("chosen", ["file", "variable", "host", "nothing"])
def test_the_docker_command_means_the_same(home: Path, monkeypatch: pytest.MonkeyPatch, chosen: str) -> None:
    docker = shutil.which("docker")
    if not docker:
        pytest.skip("the docker command is not installed: `lab doctor --fix`")
    for name in ("one", "two"):
        subprocess.run([docker, "context", "create", name, "--docker", f"host=unix:///{name}.sock"], check=True)
    if chosen == "file":
        subprocess.run([docker, "context", "use", "one"], check=True)
    elif chosen == "variable":
        subprocess.run([docker, "context", "use", "one"], check=True)
        monkeypatch.setenv("DOCKER_CONTEXT", "two")
    elif chosen == "host":
        monkeypatch.setenv("DOCKER_HOST", "unix:///three.sock")
        monkeypatch.setenv("DOCKER_CONTEXT", "two")
    words = [docker, "context", "inspect", "--format", "{{.Endpoints.docker.Host}}"]
    meant = subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()
    assert first()[0] == meant
