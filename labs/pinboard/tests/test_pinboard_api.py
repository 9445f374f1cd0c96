"""What the API promises, whichever database is behind it."""

import json
import os
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from pinboard_service import Service

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def test_a_pin_is_added_listed_and_deleted(board: Service) -> None:
    before = datetime.now(UTC)
    reply = board.http.post("/api/pins", json={"text": "  remember the milk\n", "author": " Ada "})
    assert reply.status_code == 201
    pin = reply.json()
    assert {**pin, "id": 0, "created_at": ""} == {
        "id": 0,
        "text": "remember the milk",
        "author": "Ada",
        "created_at": "",
    }
    assert reply.headers["Location"] == f"/api/pins/{pin['id']}"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", pin["created_at"])
    assert before <= datetime.fromisoformat(pin["created_at"]) <= datetime.now(UTC)
    assert pin in board.http.get("/api/pins").json()

    reply = board.http.delete(f"/api/pins/{pin['id']}")
    assert (reply.status_code, reply.content) == (204, b"")
    assert pin not in board.http.get("/api/pins").json()
    assert board.http.delete(f"/api/pins/{pin['id']}").status_code == 404


def test_pins_are_listed_oldest_first_and_ids_are_not_used_twice(board: Service) -> None:
    pins = [board.add(f"pin {number}") for number in range(3)]
    assert board.http.delete(f"/api/pins/{pins[-1]['id']}").status_code == 204
    pins[-1] = board.add("another")
    listed = [pin for pin in board.http.get("/api/pins").json() if pin["id"] >= pins[0]["id"]]
    assert listed == pins
    assert len({pin["id"] for pin in pins}) == 3
    assert pins[-1]["id"] > pins[1]["id"] + 1


@pytest.mark.parametrize(
    "text", ["Grüße, 日本語, ελληνικά", "🎉👩‍👩‍👧", "a\n\tb", "'; DROP TABLE pins; --", "<b>&amp;%s\\", "é" * 500]
)
def test_text_comes_back_as_it_was_sent(board: Service, text: str) -> None:
    pin = board.add(text)
    assert pin["text"] == text
    assert text in board.texts()


@pytest.mark.parametrize("author", [None, "", "  "])
def test_an_author_is_optional(board: Service, author: str | None) -> None:
    assert board.http.post("/api/pins", json={"text": "x", "author": author}).json()["author"] is None
    assert board.add("without the key")["author"] is None


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, b""),
        (400, b"text=hello"),
        (400, b'{"text": "\xff"}'),
        (400, b"[" * 10_000),
        (413, b'{"text": "' + b" " * 20_000 + b'"}'),
        (422, b"[]"),
        (422, b"{}"),
        (422, b'{"text": ""}'),
        (422, b'{"text": " \\n\\u00a0 "}'),
        (422, b'{"text": 7}'),
        (422, b'{"text": "a\\u0000b"}'),
        (422, b'{"text": "half a pair: \\ud83d"}'),
        (422, json.dumps({"text": "x" * 501}).encode()),
        (422, b'{"text": "x", "author": ["y"]}'),
        (422, json.dumps({"text": "x", "author": "y" * 81}).encode()),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_no_pin_is_refused_with_an_explanation(board: Service, status: int, body: bytes) -> None:
    before = board.texts()
    reply = board.http.post("/api/pins", content=body)
    assert_explained(reply, status)
    assert board.texts() == before


def test_blanks_around_the_text_do_not_count(board: Service) -> None:
    assert board.add("  " + "x" * 500 + "  ")["text"] == "x" * 500


@pytest.mark.parametrize("pin_id", ["0", "-1", "x", "1.0", "9223372036854775808", "9" * 5000, "%D9%A1"])
def test_deleting_what_is_not_there_is_a_404(board: Service, pin_id: str) -> None:
    assert_explained(board.http.delete(f"/api/pins/{pin_id}"), 404)


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nothing", 404), ("PUT", "/api/pins", 405)])
def test_what_is_not_served_is_explained_too(board: Service, method: str, path: str, status: int) -> None:
    assert_explained(board.http.request(method, path), status)


def test_fifty_pins_at_once_are_all_kept(board: Service) -> None:
    texts = [f"parallel {number}" for number in range(50)]
    with ThreadPoolExecutor(50) as pool:
        pins = list(pool.map(board.add, texts))
    assert len({pin["id"] for pin in pins}) == 50
    assert sorted(text for text in board.texts() if text.startswith("parallel ")) == sorted(texts)


def test_health_and_readiness(board: Service) -> None:
    assert board.http.get("/healthz").json() == {"status": "alive"}
    assert board.http.get("/readyz").json() == {"status": "ready"}


def test_every_reply_says_who_served_it(board: Service) -> None:
    who = board.http.get("/api/whoami").json()
    assert who.keys() == {"host", "boot_id", "kernel", "pid", "started_at", "version"}
    assert (who["host"], who["kernel"]) == (socket.gethostname(), os.uname().release)
    assert who["pid"] == board.process.pid
    assert who["boot_id"] == (BOOT_ID.read_text().strip() if BOOT_ID.exists() else None)
    assert datetime.fromisoformat(who["started_at"]) < datetime.now(UTC)
    assert board.http.get("/version").json() == {"version": who["version"]}
    for reply in (board.http.get("/api/pins"), board.http.post("/api/pins"), board.http.get("/api/whoami")):
        assert reply.headers["X-Served-By"] == who["host"]
        assert reply.headers.get("X-Boot-Id") == who["boot_id"]


def test_replies_on_a_kept_connection_do_not_wait_for_acknowledgements(board: Service) -> None:
    """With Nagle's algorithm on, none of them would take less than 40 ms."""
    assert min(board.http.get("/healthz").elapsed.total_seconds() for _ in range(10)) < 0.03


def assert_explained(reply: httpx.Response, status: int) -> None:
    """The reply has this status and the JSON that every error has."""
    assert reply.status_code == status, reply.text
    error = reply.json()["error"]
    assert error.keys() == {"what", "why", "next"}
    assert all(error.values())
