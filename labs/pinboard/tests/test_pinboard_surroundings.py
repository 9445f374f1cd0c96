"""Settings, logs and request IDs."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest
from pinboard_service import PATIENCE, Service, StartService, service_environment


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PINBOARD_PORT", "http"),
        ("PINBOARD_PORT", "-1"),
        ("PINBOARD_PORT", "65536"),
        ("PINBOARD_HOST", "203.0.113.1"),
        ("PINBOARD_HOST", "x" * 70 + ".example"),
        ("PINBOARD_VERSION", ""),
        ("DATABASE_URL", ""),
        ("DATABASE_URL", "/var/lib/hidden.db"),
        ("DATABASE_URL", "sqlite://hidden.db"),
        ("DATABASE_URL", "sqlite:///"),
        ("DATABASE_URL", "sqlite:///:memory:"),
        ("DATABASE_URL", "mysql://user:hidden@host/board"),
        ("DATABASE_URL", "postgresql://user:p@hidden@host/board"),
        ("DATABASE_URL", "postgresql://user:p/hidden@host/board"),
        ("DATABASE_URL", "postgresql://user:p%zzhidden@host/board"),
        ("DATABASE_URL", "postgresql://host/board?colour=hidden"),
    ],
)
def test_a_bad_setting_is_one_clear_line(tmp_path: Path, name: str, value: str) -> None:
    code, message = run(tmp_path, **{name: value})
    assert code == 2
    assert message.count("\n") == 1
    assert message.startswith("pinboard: ")
    assert "Next: " in message
    assert name in message
    assert "hidden" not in message


def test_a_service_link_of_kubernetes_is_no_setting() -> None:
    """It would be in every pod beside a Service that is called pinboard."""
    code = (
        "from pinboard.settings import read_settings as read; print(read({'PINBOARD_PORT': 'tcp://10.96.0.7:80'}).port)"
    )
    said = subprocess.run([sys.executable, "-c", code], env=service_environment(), capture_output=True, check=True)
    assert said.stdout.strip() == b"8000"


def test_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        code, message = run(tmp_path, PINBOARD_PORT=port)
    assert (code, message.count("\n")) == (2, 1)
    assert port in message and "in use" in message


def test_a_missing_driver_matters_only_to_who_needs_it(tmp_path: Path, start: StartService) -> None:
    (tmp_path / "psycopg.py").write_text("raise ImportError('libpq is missing')")
    path = f"{tmp_path}:{service_environment()['PYTHONPATH']}"
    code, message = run(tmp_path, PYTHONPATH=path, DATABASE_URL="postgresql://host/board")
    assert (code, message.count("\n")) == (2, 1)
    assert "libpq is missing" in message and "python3-psycopg" in message
    start("sqlite:///board.db", PYTHONPATH=path).wait_until_ready()


def test_the_version_can_be_set(tmp_path: Path, start: StartService) -> None:
    database = f"sqlite:///{tmp_path}/board.db"
    assert start(database).http.get("/version").json() == {"version": "1.0.0"}
    assert start(database, PINBOARD_VERSION="2.0-ü").http.get("/api/whoami").json()["version"] == "2.0-ü"


def test_requests_are_logged_as_json_with_their_id(tmp_path: Path, start: StartService) -> None:
    service = start(f"sqlite:///{tmp_path}/board.db").wait_until_ready()
    reply = service.http.get("/version?secret=1", headers={"X-Request-Id": "from-me.1"})
    assert reply.headers["X-Request-Id"] == "from-me.1"
    generated = service.http.post("/api/pins", content=b"no\n{json}").headers["X-Request-Id"]
    assert service.stop() == 0

    lines = service.log_lines()
    assert all(line.keys() >= {"time", "level", "msg"} for line in lines)
    [line] = [line for line in lines if line.get("request_id") == "from-me.1"]
    assert (line["msg"], line["method"], line["path"], line["status"]) == ("request", "GET", "/version", 200)
    assert 0 <= line["ms"] < 1000 * PATIENCE
    [line] = [line for line in lines if line.get("request_id") == generated]
    assert (line["status"], "not JSON" in line["error"]) == (400, True)


@pytest.mark.parametrize("given", ["", "x" * 65, "two words", 'quote"', "ümlaut"])
def test_a_request_id_that_is_not_sane_is_replaced(board: Service, given: str) -> None:
    reply = board.http.get("/healthz", headers=[(b"X-Request-Id", given.encode())])
    assert reply.headers["X-Request-Id"] != given
    assert reply.headers["X-Request-Id"].isalnum()


def run(directory: Path, **settings: str) -> tuple[int, str]:
    """Run the service where it is expected to end by itself; return its exit code and what it said."""
    done = subprocess.run(
        [sys.executable, "-m", "pinboard"],
        cwd=directory,
        env=service_environment(**settings),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr
