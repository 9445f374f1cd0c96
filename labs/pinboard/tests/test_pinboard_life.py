"""Start, stop, and databases that come late, go away or hang."""

import json
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psycopg
import pytest
from pinboard_databases import Database, PostgresServer
from pinboard_service import PATIENCE, Service, StartService, wait_for


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_service_stops_at_once(start: StartService, tmp_path: Path, number: signal.Signals) -> None:
    service = start(f"sqlite:///{tmp_path}/board.db").wait_until_ready()
    begun = time.monotonic()
    assert service.stop(number) == 0
    assert time.monotonic() - begun < 5  # and not the grace that a request in progress has
    assert service.log_lines()[-1]["msg"] == "stopped"


def test_a_running_request_is_finished_before_the_stop_and_pins_survive_a_restart(
    database: Database, service: Service, start: StartService
) -> None:
    service.add("kept")
    body = json.dumps({"text": "slow but safe"}).encode()
    with connection_to(service) as connection:
        head = f"POST /api/pins HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n"
        connection.sendall(head.encode())
        assert b" 100 " in connection.recv(1000), "the request runs: the service asks for its body"
        service.process.send_signal(signal.SIGTERM)
        wait_for(lambda: service.http.get("/readyz").status_code == 503 or None, "the service to say it stops")
        assert "shutting down" in service.http.get("/readyz").text
        assert service.http.get("/healthz").status_code == 200
        connection.sendall(body)
        assert connection.recv(1000).startswith(b"HTTP/1.1 201 ")
    assert service.process.wait(PATIENCE) == 0
    assert start(database.url).wait_until_ready().texts() == ["kept", "slow but safe"]


def test_a_slow_database_does_not_block_the_process(database: Database, service: Service) -> None:
    with ThreadPoolExecutor() as pool:
        with database.locked():
            post = pool.submit(service.add, "patient")
            with pytest.raises(httpx.ReadTimeout):
                service.http.get("/readyz", timeout=0.3)
            assert service.http.get("/healthz", timeout=1).status_code == 200
            assert not post.done()
        assert post.result()["text"] == "patient"
    assert service.texts() == ["patient"]


def test_two_services_start_on_one_empty_database(database: Database, start: StartService) -> None:
    both = [start(database.url), start(database.url)]
    for service in both:
        service.wait_until_ready().add("one of two")
    assert both[0].texts() == both[1].texts() == ["one of two"] * 2
    assert not any("error" in line for service in both for line in service.log_lines())


def test_an_sqlite_file_whose_directory_comes_late_or_is_replaced(start: StartService, tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    service = start("sqlite:///volume/board.db")
    assert_down(service, "unable to open database file")
    volume.mkdir()
    service.wait_until_ready().add("in the first volume")
    volume.rename(tmp_path / "other")
    assert_down(service, "unable to open database file")
    volume.mkdir()
    assert service.wait_until_ready().texts() == []


def test_a_postgres_that_is_down_at_the_start_and_crashes_later(postgres: PostgresServer, start: StartService) -> None:
    url = postgres.create_database().url
    postgres.crash()
    try:
        service = start(url)
        assert_down(service, "refused")
    finally:
        postgres.start()
    service.wait_until_ready().add("first")

    acknowledged = ["first"]

    def write() -> None:
        text = f"pin {len(acknowledged)}"
        if service.http.post("/api/pins", json={"text": text}).status_code == 201:
            acknowledged.append(text)

    with ThreadPoolExecutor() as pool:
        restart = pool.submit(postgres.crash_and_start)
        while not restart.done():
            write()
        restart.result()
    service.wait_until_ready()
    write()
    assert set(acknowledged) <= set(service.texts())
    assert service.process.poll() is None
    assert postgres.password not in service.log_text()


def test_idle_connections_do_not_outlive_the_server_that_they_went_to(
    postgres: PostgresServer, start: StartService
) -> None:
    service = start(postgres.create_database().url).wait_until_ready()
    with ThreadPoolExecutor(20) as pool:
        list(pool.map(service.add, ["x"] * 20))
    postgres.crash_and_start()
    service.add("no request fails: the service sees that its connections have ended")


def test_nothing_waits_for_ever(postgres: PostgresServer, start: StartService) -> None:
    """A database that hangs is given up, and so is a request that never ends when the service stops."""
    reader, stopper = start(postgres.create_database().url).wait_until_ready(), start("sqlite:///board.db")
    with connection_to(stopper) as connection, postgres.frozen():
        connection.sendall(b"POST /api/pins HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n")
        assert b" 100 " in connection.recv(1000)
        begun = time.monotonic()
        stopper.process.send_signal(signal.SIGTERM)

        reply = reader.http.get("/readyz")
        assert reply.status_code == 503
        assert "no answer within 4 seconds" in reply.json()["error"]["why"]
        assert reader.http.get("/healthz").status_code == 200

        assert stopper.process.wait(PATIENCE) == 0
        assert time.monotonic() - begun < 8
    reader.wait_until_ready()


def test_a_postgres_that_refuses_the_login_is_named_without_the_password(
    postgres: PostgresServer, start: StartService
) -> None:
    good = postgres.create_database()
    service = start(good.url.replace(":p%40ss", ":wr%40ng"))
    assert_down(service, "password authentication failed")
    assert "wr@ng" not in service.log_text() and "wr%40ng" not in service.log_text()
    assert good.name in service.log_text()


def test_a_postgres_table_that_goes_away_comes_back(postgres: PostgresServer, start: StartService) -> None:
    database = postgres.create_database()
    service = start(database.url).wait_until_ready()
    postgres.run("DROP TABLE pins", database.name)
    wait_for(lambda: service.http.get("/readyz").status_code == 200 or None, "the service to make its table again")
    service.add("again")


def test_a_postgres_role_that_may_use_the_table_but_not_create_one(
    postgres: PostgresServer, start: StartService
) -> None:
    database = postgres.create_database()
    start(database.url).wait_until_ready()
    role = f"role_{database.name}"
    postgres.run(f"CREATE ROLE {role} LOGIN PASSWORD 'x'; REVOKE CREATE ON SCHEMA public FROM PUBLIC", database.name)
    postgres.run(f"GRANT SELECT, INSERT, DELETE ON pins TO {role}", database.name)
    start(f"postgresql://{role}:x@127.0.0.1:{postgres.port}/{database.name}").wait_until_ready().add("allowed")


def test_a_postgres_database_without_an_encoding(postgres: PostgresServer, start: StartService) -> None:
    database = postgres.create_database("ENCODING 'SQL_ASCII' TEMPLATE template0")
    service = start(database.url).wait_until_ready()
    service.add("Grüße 🎉")
    assert service.texts() == ["Grüße 🎉"]


def test_postgres_through_a_unix_socket_without_a_password(postgres: PostgresServer, start: StartService) -> None:
    postgres.create_peer()
    database = postgres.create_database()
    url = f"postgresql:///{database.name}?host={postgres.directory}&port={postgres.port}"
    start(url).wait_until_ready().add("by peer")
    with psycopg.connect(database.url) as connection:
        assert connection.execute("SELECT text FROM pins").fetchall() == [("by peer",)]


def connection_to(service: Service) -> socket.socket:
    """A bare connection, for requests that no HTTP client would send."""
    return socket.create_connection(("127.0.0.1", httpx.URL(service.url).port or 0), PATIENCE)


def assert_down(service: Service, why: str) -> None:
    """The database is away: readiness and the API say so and why, the process lives."""
    for reply in (
        service.http.get("/readyz"),
        service.http.get("/api/pins"),
        service.http.post("/api/pins", json={"text": "x"}),
    ):
        assert reply.status_code == 503, reply.text
        assert reply.json()["error"].keys() == {"what", "why", "next"}
    assert why in service.log_text()
    assert service.http.get("/healthz").status_code == 200
    assert service.http.get("/api/whoami").status_code == 200
