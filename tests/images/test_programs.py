"""kind and kubectl: which ones are taken, and where they come from when none is here."""

from __future__ import annotations

import hashlib
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lab_helpers.core.errors import MachineError
from lab_helpers.core.events import Event, Note, Progress
from lab_helpers.core.settings import Place, place
from lab_helpers.images import programs as module
from lab_helpers.images.go_builds import KUBERNETES, host
from lab_helpers.images.programs import KIND, SHA256, find_kind, find_kubectl, kind_program, kubectl_program

PROGRAM = b"#!/bin/sh\necho a program\n"


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A place without programs, on a machine that has none."""
    monkeypatch.setattr(module, "find_program", lambda _name: None)
    monkeypatch.delenv("LAB_OFFLINE", raising=False)
    return replace(place(), home=tmp_path / "home", state=tmp_path / "state", work=tmp_path / "work")


def machine_has(monkeypatch: pytest.MonkeyPatch, folder: Path, name: str, says: str) -> Path:
    """Let the machine's own program say this when it is asked for its version."""
    program = folder / name
    program.write_text(f"#!/bin/sh\necho '{says}'\n")
    program.chmod(0o755)
    monkeypatch.setattr(module, "find_program", lambda wanted: program if wanted == name else None)
    return program


# -- the machine's own -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["1.36.4", "1.37.0", "1.38.1"])
def test_a_kubectl_that_understands_the_cluster_is_taken(
    empty: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    program = machine_has(monkeypatch, tmp_path, "kubectl", f"Client Version: v{version}")
    assert kubectl_program(empty) == program
    found = find_kubectl(empty)
    assert found
    assert (found.version, found.way) == (version, f"this machine's own, {program}")


@pytest.mark.parametrize("says", ["Client Version: v1.32.4", "Client Version: v1.39.0", "Client Version: v2.37.0", "?"])
def test_another_kubectl_is_not(empty: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str) -> None:
    machine_has(monkeypatch, tmp_path, "kubectl", says)
    assert find_kubectl(empty) is None


@pytest.mark.parametrize(("says", "fits"), [("kind v0.33.0 go1.26", True), ("kind v0.33.2", True), ("v0.32.0", False)])
def test_kind_is_taken_in_the_version_that_knows_the_node_image(
    empty: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: str, *, fits: bool
) -> None:
    machine_has(monkeypatch, tmp_path, "kind", says)
    assert (find_kind(empty) is not None) is fits


def test_a_program_that_does_not_start_is_none(empty: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine_has(monkeypatch, tmp_path, "kind", "").write_text("no program")
    assert find_kind(empty) is None


# -- downloaded --------------------------------------------------------------------------------------------------------


class Server:
    """A server of downloads. `body` is what it gives; `silent`, it takes the question and says nothing."""

    def __init__(self) -> None:
        self.body = PROGRAM
        self.silent = False
        self.asked = 0
        outer = self
        self._end = threading.Event()

        class Answer(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked += 1
                if outer.silent:
                    outer._end.wait()
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(outer.body)))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(outer.body)

            do_HEAD = do_GET  # noqa: N815 - the name is the library's

            def log_message(self, *_: object) -> None: ...

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._http.server_port}/program"

    def close(self) -> None:
        self._end.set()
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """Every download comes from here, and this is what we want to come."""
    made = Server()
    wanted = module._wanted
    monkeypatch.setattr(module, "_wanted", lambda name: replace(wanted(name), url=made.url))
    digests = dict.fromkeys(SHA256, hashlib.sha256(PROGRAM).hexdigest())
    monkeypatch.setattr(module, "SHA256", digests)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield made
    made.close()


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What is built instead, which takes no time here."""
    names: list[str] = []

    def build(_place: Place, name: str, *_: object) -> Path:
        names.append(name)
        (tmp_path / name).write_text("built")
        return tmp_path

    monkeypatch.setattr(module, "built", build)
    return names


@pytest.mark.parametrize(
    ("get", "find", "version"),
    [
        (kind_program, find_kind, KIND),
        (kubectl_program, find_kubectl, KUBERNETES),
    ],
)
def test_it_is_downloaded_once(empty: Place, server: Server, built: list[str], get, find, version) -> None:  # type: ignore[no-untyped-def]
    told: list[Event] = []
    program = get(empty, told.append)
    assert program.parent == empty.home / "bin"
    assert subprocess.run([program], capture_output=True, check=True).stdout == b"a program\n"
    found = find(empty)
    assert (found.path, found.version) == (program, version)
    assert "downloaded and verified" in found.way
    assert any(isinstance(event, Progress) and event.unit == "MB" for event in told)
    asked = server.asked
    assert get(empty) == program
    assert server.asked == asked
    assert not built
    assert [path.name for path in program.parent.iterdir()] == [program.name]


def test_what_is_not_what_its_makers_published_is_not_taken(empty: Place, server: Server, built: list[str]) -> None:
    server.body = b"<html>please log in to this network</html>"
    told: list[Event] = []
    assert kind_program(empty, told.append).read_text() == "built"
    assert any(isinstance(event, Note) and "not what its makers published" in event.text for event in told)


def test_a_server_that_does_not_answer_is_given_up(
    empty: Place, server: Server, built: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server.silent = True
    monkeypatch.setattr(module, "CONNECT_S", 0.2)
    told: list[Event] = []
    kubectl_program(empty, told.append)
    assert built == ["kubectl"]
    assert any(isinstance(event, Note) and "no answer within 0.2 s" in event.text for event in told)
    found = find_kubectl(empty)
    assert found
    assert "built from its Go module" in found.way


def test_offline_asks_nobody(empty: Place, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_OFFLINE", "1")
    with pytest.raises(MachineError) as caught:
        kind_program(empty)
    assert caught.value.finding == "GO"
    assert server.asked == 0
    assert not list((empty.home / "bin").iterdir())


def test_a_new_version_of_the_course_gets_the_program_anew(
    empty: Place, server: Server, built: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kind_program(empty)
    wanted = module._wanted
    monkeypatch.setattr(module, "_wanted", lambda name: replace(wanted(name), version="0.99.0"))
    assert find_kind(empty) is None
    server.body += b"# newer\n"
    monkeypatch.setattr(module, "SHA256", dict.fromkeys(SHA256, hashlib.sha256(server.body).hexdigest()))
    assert kind_program(empty).read_bytes() == server.body


def test_there_is_a_digest_for_each_system() -> None:
    systems = {(goos, arch) for goos in ("linux", "darwin") for arch in ("amd64", "arm64")}
    assert set(SHA256) == {(name, *system) for name in ("kind", "kubectl") for system in systems}
    assert len(set(SHA256.values())) == len(SHA256)
    assert ("kind", *host()) in SHA256
