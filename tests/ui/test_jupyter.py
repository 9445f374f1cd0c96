"""JupyterLab, started for real by the product's own code in a place of its own."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lab_helpers.core.ports import is_free
from lab_helpers.core.settings import CHECKOUT, Place
from lab_helpers.core.waiting import wait_for
from lab_helpers.ui import jupyter
from lab_helpers.ui.jupyter import install_wrappers, open_course, running_jupyter, stop_jupyter


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(
        root=CHECKOUT, home=tmp_path / "home", state=tmp_path / "the state", work=tmp_path / "the state" / "work"
    )
    yield place
    stop_jupyter(place)


def status(port: int, path: str, token: str = "") -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={"Authorization": f"token {token}"} if token else {})
        return connection.getresponse().status
    finally:
        connection.close()


def test_open_again_kill_open_stop(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JUPYTER_TOKEN", "that-of-a-jupyter-around-us")
    first = open_course(place, "00", browser=False)
    assert first.fresh
    token = first.url.partition("token=")[2]
    assert first.url.startswith(f"http://127.0.0.1:{first.port}/lab/tree/00-start/lab.ipynb?token=")
    assert (place.work / "00-start" / "lab.ipynb").is_file()
    assert status(first.port, "/api/status", token) == 200
    assert status(first.port, "/api/status") == 403

    server = psutil.Process(json.loads((place.state / "jupyter.json").read_text())["pid"])
    listening = {connection.laddr.ip for connection in server.net_connections() if connection.status == "LISTEN"}
    assert listening == {"127.0.0.1"}
    assert token not in " ".join(server.cmdline()), "every user can read a command line"
    for secret in ("jupyter.token", "jupyter.json", "logs/jupyter.log"):
        assert (place.state / secret).stat().st_mode & 0o077 == 0

    assert open_course(place, "00", browser=False) == jupyter.Opened(first.url, first.port, fresh=False)

    os.kill(server.pid, signal.SIGKILL)
    psutil.wait_procs([server], timeout=10)
    assert running_jupyter(place) is None
    second = open_course(place, "00", browser=False)
    assert second.fresh
    assert second.url.partition("token=")[2] == token, "an open tab finds the new server"

    assert stop_jupyter(place) is True
    assert running_jupyter(place) is None
    assert stop_jupyter(place) is False
    wait_for(lambda: is_free("127.0.0.1", second.port), "the port to be free", timeout_s=10)


def test_another_server_on_the_port_is_left_alone(place: Place, tmp_path: Path) -> None:
    other = Place(root=CHECKOUT, home=place.home, state=tmp_path / "other", work=tmp_path / "other" / "work")
    try:
        theirs = open_course(other, "00", browser=False)
        ours = open_course(place, "00", browser=False)
        assert ours.port != theirs.port
        record = place.state / "jupyter.json"
        own = record.read_text()
        record.write_text((other.state / "jupyter.json").read_text())
        assert running_jupyter(place) is None, "a server that does not know our token is not ours"
        record.write_text(own)
        assert running_jupyter(place) == ours.port
    finally:
        stop_jupyter(other)


def test_a_damaged_record_is_no_server(place: Place) -> None:
    for text in ("", "{", "[]", '{"pid": 1}', '{"pid": "x", "started": 0, "port": 1}'):
        place.state.mkdir(exist_ok=True)
        (place.state / "jupyter.json").write_text(text)
        assert running_jupyter(place) is None


def test_the_wrappers_find_the_real_program_and_the_course_s_hosts(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools = tmp_path / "real tools"
    tools.mkdir()
    for name in ("ssh", "scp"):
        (tools / name).write_text('#!/bin/sh\nprintf "%s\\n" "$0" "$@"\n')
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{place.bin}{os.pathsep}{tools}{os.pathsep}{os.environ['PATH']}")

    def said(name: str) -> list[str]:
        install_wrappers(place)
        words = [name, "-t", "pinboard-vm", "a b"]
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()

    assert said("ssh") == [str(tools / "ssh"), "-t", "pinboard-vm", "a b"]
    config = place.state / "ssh_config"
    config.write_text("")
    assert said("scp") == [str(tools / "scp"), "-F", str(config), "-t", "pinboard-vm", "a b"]

    monkeypatch.setenv("PATH", str(place.bin))
    install_wrappers(place)
    assert list(place.bin.iterdir()) == [], "no wrapper around nothing"


LABEL = "<label>"


@pytest.mark.parametrize(
    "words",
    [
        ["run", LABEL, "--rm", "-e", "A=a b", "image", "run", "create"],
        ["-H", "run", "--context=run", "-l", "debug", "run", LABEL, "image"],
        ["build", LABEL, "-t", "pinboard:1", "."],
        ["container", "create", LABEL, "image"],
        ["buildx", "build", LABEL, "."],
        ["volume", "create", LABEL, "data"],
        ["ps", "-a", "--filter", "run"],
        ["exec", "box", "run"],
        ["buildx", "create", "--name", "run"],
        ["service", "create", "run"],
        ["--version"],
        [],
    ],
    ids=" ".join,
)
def test_what_docker_makes_here_is_labelled_and_nothing_else_is_changed(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    tools = tmp_path / "real tools"
    tools.mkdir()
    (tools / "docker").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tools / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{place.bin}{os.pathsep}{tools}{os.pathsep}{os.environ['PATH']}")
    install_wrappers(place)
    typed = [word for word in words if word != LABEL]
    label = ["--label", f"vm-to-kubernetes.place={place.mark}"]
    meant = [part for word in words for part in (label if word == LABEL else [word])]
    said = subprocess.run(["docker", *typed], capture_output=True, text=True, check=True).stdout
    assert said == "".join(f"{word}\n" for word in meant) or (not meant and said == "\n")
