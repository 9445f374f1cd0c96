"""Fixtures: databases, and services that run on them."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from pinboard_databases import Database, PostgresServer, SqliteDatabase, start_postgres, why_no_postgres
from pinboard_service import Service, StartService

STORES = ["sqlite", "postgres"]


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server for all tests. Where there is none, tests are skipped, except in CI: there they fail."""
    if why := why_no_postgres():
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)
    server = start_postgres()
    yield server
    server.destroy()


@pytest.fixture(params=STORES)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """An empty database, of each kind in turn."""
    if request.param == "sqlite":
        return SqliteDatabase(tmp_path / "board.db")
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.create_database()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[StartService]:
    """Start services that end with the test."""
    services: list[Service] = []

    def start_one(database_url: str, **environment: str) -> Service:
        services.append(Service(tmp_path, database_url, **environment))
        return services[-1]

    yield start_one
    for service in services:
        service.destroy()


@pytest.fixture
def service(database: Database, start: StartService) -> Service:
    """A service of the test's own on an empty database, ready."""
    return start(database.url).wait_until_ready()


@pytest.fixture(scope="session", params=STORES)
def board(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service that many tests share: they look at their own pins only."""
    directory = tmp_path_factory.mktemp("board")
    url = f"sqlite:///{directory}/board.db"
    if request.param == "postgres":
        server: PostgresServer = request.getfixturevalue("postgres")
        url = server.create_database().url
    service = Service(directory, url).wait_until_ready()
    yield service
    service.destroy()
