"""References, mirrors, and pulls from a real registry; a registry that hangs, and none at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from lab_helpers.core.errors import ToolError
from lab_helpers.core.events import Event, Note, Progress
from lab_helpers.core.waiting import wait_for
from lab_helpers.images import registry as module
from lab_helpers.images.registry import DEBIAN, Reference, answering, engine_says, mirror, pull
from lab_helpers.tools.engine import Engine
from tests.images.daemons import Registry, own_engine, own_registry, push_and_forget, small_image

DIGEST = "sha256:" + "a" * 64
NOBODY = Engine("unix:///nowhere/docker.sock", "this test", plain=True)


@pytest.fixture(autouse=True)
def _asked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    module._asked.cache_clear()
    module._reached.cache_clear()
    for name in ("LAB_REGISTRY", "LAB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("text", "registry", "path"),
    [
        ("debian:trixie-slim", "docker.io", "library/debian"),
        ("kindest/node:v1.37.0", "docker.io", "kindest/node"),
        ("docker.io/kindest/node:v1", "docker.io", "kindest/node"),
        ("registry.k8s.io/pause:3.10", "registry.k8s.io", "pause"),
        ("localhost:5000/a/b:1", "localhost:5000", "a/b"),
    ],
)
def test_a_reference_knows_its_registry_and_its_path(text: str, registry: str, path: str) -> None:
    reference = Reference.parse(f"{text}@{DIGEST}")
    assert (reference.registry, reference.path) == (registry, path)
    assert f"{reference.repository}:{reference.tag}" == text
    assert reference.at("127.0.0.1:5000/mirror") == f"127.0.0.1:5000/mirror/{path}@{DIGEST}"


@pytest.mark.parametrize("text", ["debian", "debian:13", f"debian@{DIGEST}", "debian:13@sha256:ab", f"a:1/b@{DIGEST}"])
def test_a_reference_without_tag_or_digest_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="REPOSITORY:TAG"):
        Reference.parse(text)


@pytest.mark.parametrize("text", ["http://127.0.0.1:5000/", "https://example.org/mirror", "example.org/mirror"])
def test_a_mirror_is_a_prefix_of_names(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_REGISTRY", text)
    assert mirror() in ("127.0.0.1:5000", "example.org/mirror")


@contextlib.contextmanager
def answering_with(code: int) -> Iterator[tuple[str, list[str]]]:
    """An HTTP server that answers everything so. Yields its address and the paths that it was asked for."""
    asked: list[str] = []

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(code)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"127.0.0.1:{server.server_port}", asked
        server.shutdown()


@pytest.mark.parametrize(("code", "expected"), [(200, True), (401, True), (403, False), (404, False), (503, False)])
def test_a_registry_answers_by_the_registrys_protocol(code: int, expected: bool) -> None:
    with answering_with(code) as (address, asked):
        assert answering(address) is expected
        assert answering(f"{address}/prefix") is expected
    assert asked == ["/v2/"]  # once in the life of the process


def test_a_local_registry_is_asked_past_every_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    with answering_with(503) as (proxy, asked), answering_with(200) as (address, _):
        monkeypatch.setenv("http_proxy", f"http://{proxy}")
        assert answering(address)
    assert not asked


def test_any_other_is_asked_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    connected = threading.Event()

    def take() -> None:
        with listener.accept()[0]:
            connected.set()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=take, daemon=True).start()
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{listener.getsockname()[1]}")
        assert not answering("registry.invalid")
        assert connected.is_set()


@pytest.mark.parametrize(
    ("name", "value"), [("SSL_CERT_FILE", "/nowhere"), ("https_proxy", "nonsense://x"), ("https_proxy", "socks5://x")]
)
def test_settings_that_nobody_can_use_are_no_answer(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, value)
    assert not answering("registry.invalid")


def test_one_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ANSWER_S", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # it connects, and never says a word
        assert not answering(f"127.0.0.1:{silent.getsockname()[1]}")


def test_even_a_look_up_that_heeds_no_timeout_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()
    monkeypatch.setattr(module, "ANSWER_S", 0.3)
    monkeypatch.setattr(module, "_answers", lambda _host: never.wait())
    assert not answering("registry.invalid")
    never.set()


def test_the_engine_may_reach_what_we_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_answers", lambda _host: False)
    monkeypatch.setattr(module, "_engine_finds", lambda _engine, _name: True)
    assert module._reached(NOBODY, "registry.invalid", "registry.invalid/x")


def test_offline_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither by us nor by the engine, which is only asked what it has: the listener would see a connection."""
    monkeypatch.setenv("LAB_OFFLINE", "1")
    with answering_with(200) as (address, asked), engine_that_has_nothing() as (engine, wanted):
        monkeypatch.setenv("LAB_REGISTRY", address)
        assert not answering(address)
        assert pull(engine, DEBIAN) is None
        assert not asked
        assert wanted
        assert all(path.startswith("GET ") and "/images/" in path for path in wanted)
        monkeypatch.delenv("LAB_OFFLINE")
        assert answering(address)  # and the listener does see one
        assert asked == ["/v2/"]


@contextlib.contextmanager
def engine_that_has_nothing(events: bytes = b"") -> Iterator[tuple[Engine, list[str]]]:
    """Speaks as much of the engine's protocol as a failing pull needs. Yields the requests, but for the greeting.

    A pull says `events` and then nothing more, without an end.
    """
    wanted: list[str] = []
    gone = threading.Event()

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if "/version" not in self.path:
                wanted.append(f"GET {self.path}")
            self.answer(*((200, {"ApiVersion": "1.41"}) if "/version" in self.path else (404, {"message": "none"})))

        def do_POST(self) -> None:
            wanted.append(f"POST {self.path}")
            self.send_response(200)
            self.end_headers()
            self.wfile.write(events)
            self.wfile.flush()
            self.connection.recv(1)  # returns when the client hangs up
            gone.set()

        def answer(self, code: int, what: dict[str, str]) -> None:
            body = json.dumps(what).encode()
            self.send_response(code)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield Engine(f"tcp://127.0.0.1:{server.server_port}", "this test", plain=True), wanted
        server.shutdown()
    if events:
        assert gone.wait(10)  # whoever gives a pull up closes its connection, which ends it in a real engine


@pytest.mark.parametrize("events", [b'{"status":"Pulling"}\n', b'{"id":"a","status":"Downloading"}\n{"id'])
def test_a_pull_that_hangs_is_given_up_and_ended(events: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STALL_S", 0.3)
    told: list[Event] = []
    with answering_with(200) as (address, _), engine_that_has_nothing(events) as (engine, wanted):
        reference = replace(DEBIAN, repository=f"{address}/debian")
        assert pull(engine, reference, told.append) is None
        assert any(path.startswith("POST") and "/images/create" in path for path in wanted)
    [note] = [event.text for event in told if isinstance(event, Note)]
    assert "nothing moved" in note


def test_no_registry_is_told_once_each(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_answers", lambda _host: False)
    monkeypatch.setenv("LAB_REGISTRY", "mirror.invalid")
    told: list[Event] = []
    with engine_that_has_nothing() as (engine, _):
        assert pull(engine, DEBIAN, told.append) is None
    assert told == [
        Note("The registry mirror.invalid does not answer."),
        Note("The registry docker.io does not answer."),
    ]


def test_progress_counts_the_bytes_of_all_layers() -> None:
    layers = module._Layers()
    assert layers.take({"status": "Pulling from library/debian", "id": "trixie-slim"})
    assert not layers
    for layer, done in (("a", 1), ("b", 2), ("a", 3)):
        detail = {"current": done * 1e6, "total": 10e6}
        assert layers.take({"id": layer, "status": "Downloading", "progressDetail": detail})
    assert layers.progress("x") == Progress("x", 5, 20, "MB")
    assert layers.take({"id": "a", "status": "Download complete", "progressDetail": {}})
    assert layers.progress("x") == Progress("x", 12, 20, "MB")
    assert not layers.take({"id": "a", "status": "Download complete", "progressDetail": {}})
    assert not layers.take({"id": "b", "status": "Retrying in 5 seconds", "progressDetail": {}})


# -- a real engine, a real registry ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with own_engine(tmp_path_factory.mktemp("engine") / "e") as engine:
        yield engine


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with own_registry(tmp_path / "registry") as registry:
        yield registry


@pytest.mark.live
@pytest.mark.engine
def test_an_image_comes_from_the_mirror_by_its_digest(
    engine: Engine, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"{registry.address}/library/debian:trixie-slim"
    small_image(engine, name, "one")
    pushed, digest = push_and_forget(engine, name)
    before = len(registry.requests())
    monkeypatch.setenv("LAB_REGISTRY", registry.address)
    told: list[Event] = []
    assert pull(engine, replace(DEBIAN, digest=digest), told.append) == pushed
    asked = registry.requests()[before:]
    assert f"GET /v2/library/debian/manifests/{digest}" in asked
    assert "GET /v2/library/debian/blobs/sha256:" in asked
    assert any(isinstance(event, Progress) and "debian:trixie-slim" in event.what for event in told)
    assert not [event for event in told if isinstance(event, Note)]

    before = len(registry.requests())
    monkeypatch.setenv("LAB_OFFLINE", "1")
    assert pull(engine, replace(DEBIAN, digest=digest)) == pushed  # what is here is here, without the network
    assert registry.requests()[before:] == ""
    with engine.client() as client:
        client.images.remove(pushed, force=True)


@pytest.mark.live
@pytest.mark.engine
def test_a_registry_without_the_image_is_told(
    engine: Engine, registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_answers", lambda host: host == registry.address)
    monkeypatch.setattr(module, "_engine_finds", lambda _engine, _name: False)
    monkeypatch.setenv("LAB_REGISTRY", registry.address)
    told: list[Event] = []
    assert pull(engine, DEBIAN, told.append) is None
    notes = [event.text for event in told if isinstance(event, Note)]
    assert len(notes) == 2
    assert f"debian:trixie-slim cannot be had from {registry.address}" in notes[0]
    assert "manifest" in notes[0]  # what the engine said
    assert f"/v2/library/debian/manifests/{DEBIAN.digest}" in registry.requests()


@pytest.mark.live
@pytest.mark.engine
def test_the_engine_asks_a_registry_by_itself(engine: Engine, registry: Registry) -> None:
    name = f"{registry.address}/library/debian:trixie-slim"
    small_image(engine, name, "two")
    _, digest = push_and_forget(engine, name)
    assert module._engine_finds(engine, f"{registry.address}/library/debian@{digest}")
    assert not module._engine_finds(engine, f"{registry.address}/library/debian@{DIGEST}")
    assert not module._engine_finds(NOBODY, name)


@pytest.mark.live
@pytest.mark.engine
def test_what_the_engine_refuses_is_an_error_that_says_why(engine: Engine) -> None:
    with engine.client() as client, pytest.raises(ToolError) as refused:
        list(engine_says(client, "/build", command="docker build -", silence_s=60, params={}, body=b"no tar"))
    assert refused.value.output
    assert refused.value.command == "docker build -"


def digest_of(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


PULL = """
import sys
from lab_helpers.images import registry
from lab_helpers.tools.engine import need_engine
try:
    registry.pull(need_engine(), registry.Reference.parse(sys.argv[1]), lambda event: print(event, flush=True))
except KeyboardInterrupt as error:
    kept = error  # as a notebook keeps it, with all that it refers to
    print("stopped", flush=True)
    sys.stdin.read()
"""


@pytest.mark.live
@pytest.mark.engine
def test_ctrl_c_ends_a_pull(engine: Engine) -> None:
    """The registry sends a layer for minutes; after Ctrl-C the engine does not take it any more."""
    gone, ended = threading.Event(), threading.Event()
    config = json.dumps({"os": "linux", "rootfs": {"type": "layers", "diff_ids": [DIGEST]}}).encode()
    kind = "application/vnd.docker.distribution.manifest.v2+json"
    blobs = [
        {
            "mediaType": "application/vnd.docker.container.image.v1+json",
            "size": len(config),
            "digest": digest_of(config),
        },
        {"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip", "size": 10**6, "digest": DIGEST},
    ]
    manifest = json.dumps({"schemaVersion": 2, "mediaType": kind, "config": blobs[0], "layers": blobs[1:]}).encode()

    class Slow(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            layer = DIGEST in self.path
            body = manifest if "/manifests/" in self.path else config
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(10**6 if layer else len(body)))
            self.end_headers()
            try:
                self.wfile.write(bytes(6 * 10**5) if layer else body)
                while layer:
                    ended.wait(0.02)
                    self.wfile.write(bytes(100))
            except OSError:
                gone.set()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        reference = f"127.0.0.1:{server.server_port}/slow:1@{digest_of(manifest)}"
        argv = [sys.executable, "-c", PULL, reference]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as puller:
            assert puller.stdout
            told = iter(puller.stdout)
            assert any("unit='MB'" in line for line in told)
            puller.send_signal(signal.SIGINT)
            assert "stopped\n" in told
            wait_for(gone.is_set, "the engine to give the pull up", timeout_s=20)
            assert puller.poll() is None
        ended.set()
        server.shutdown()
