"""Real databases for tests: SQLite files, and a PostgreSQL server of one's own."""

import getpass
import os
import pwd
import secrets
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import psycopg
from pinboard_service import PATIENCE, wait_for
from psycopg import sql


class Database(Protocol):
    """An empty database for one test."""

    url: str

    def locked(self) -> AbstractContextManager[None]:
        """While the context lasts, nobody else can read or write the pins."""


class SqliteDatabase:
    """A file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.url = f"sqlite:///{path}"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """See Database."""
        connection = sqlite3.connect(self._path, isolation_level=None)
        try:
            connection.execute("BEGIN EXCLUSIVE")
            yield
        finally:
            connection.close()


class PostgresDatabase:
    """A database of the test's server."""

    def __init__(self, server: "PostgresServer", name: str) -> None:
        self.server = server
        self.name = name
        self.url = f"postgresql://postgres:{quote(server.password, safe='')}@127.0.0.1:{server.port}/{name}"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """See Database."""
        with psycopg.connect(self.url) as connection:
            connection.execute("LOCK TABLE pins IN ACCESS EXCLUSIVE MODE")
            yield


class PostgresServer:
    """A server in a temporary directory, run by the user postgres when we are root: it refuses to run as root."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        self._user = "postgres" if os.geteuid() == 0 else None
        # Not the system's temporary directory: on some its name is too long for a Unix socket.
        self.directory = Path(tempfile.mkdtemp(prefix="pinboard-", dir="/tmp"))
        self.password = f"p@ss/{secrets.token_hex(8)}"
        self.port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._create()
            self.start()
        except BaseException:
            self.destroy()
            raise

    def _create(self) -> None:
        if self._user:
            shutil.chown(self.directory, self._user)
        passwords = self.directory / "password"
        passwords.write_text(self.password)
        passwords.chmod(0o644)
        options = ["--auth-local=peer", "--auth-host=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]
        subprocess.run(
            [
                self._programs / "initdb",
                "-D",
                self.directory / "data",
                "-U",
                "postgres",
                "--pwfile",
                passwords,
                *options,
            ],
            user=self._user,
            cwd=self.directory,
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def start(self) -> None:
        """Start, and wait until it answers."""
        settings = [f"port={self.port}", "listen_addresses=127.0.0.1", f"unix_socket_directories={self.directory}"]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self.directory / "data", *_options(*settings, "fsync=off")],
                user=self._user,
                cwd=self.directory,
                stdout=log,
                stderr=log,
            )
        wait_for(self._answers, "PostgreSQL to start")

    def _answers(self) -> bool | None:
        assert self._process and self._process.poll() is None, (self.directory / "log").read_text()
        try:
            self.run("SELECT 1")
        except psycopg.OperationalError:
            return None
        return True

    def crash(self) -> None:
        """Stop at once, as after a loss of power."""
        if self._process and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(PATIENCE)

    def crash_and_start(self) -> None:
        """Both, one after the other."""
        self.crash()
        self.start()

    def run(self, query: str | sql.Composed, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run a statement as the superuser."""
        where = PostgresDatabase(self, database).url
        with psycopg.connect(where, autocommit=True) as connection:
            cursor = connection.execute(query)
            return cursor.fetchall() if cursor.description else []

    def create_database(self, options: str = "") -> PostgresDatabase:
        """Create an empty database."""
        name = f"board_{secrets.token_hex(4)}"
        self.run(f"CREATE DATABASE {name} {options}")
        return PostgresDatabase(self, name)

    def create_peer(self) -> None:
        """Let the current user of the system log in through the Unix socket without a password."""
        role = sql.Identifier(getpass.getuser())
        if not self.run(sql.SQL("SELECT 1 FROM pg_roles WHERE rolname = {}").format(getpass.getuser())):
            self.run(sql.SQL("CREATE ROLE {} LOGIN SUPERUSER").format(role))

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Nothing is refused and nothing answers: a machine that was paused."""
        assert self._process
        backends = self.run("SELECT pid FROM pg_stat_activity WHERE application_name = 'pinboard'")
        frozen = [self._process.pid, *(pid for (pid,) in backends)]
        try:
            for pid in frozen:
                os.kill(pid, signal.SIGSTOP)
            yield
        finally:
            for pid in frozen:
                os.kill(pid, signal.SIGCONT)

    def destroy(self) -> None:
        """Stop the server and remove its directory."""
        self.crash()
        shutil.rmtree(self.directory)


def why_no_postgres() -> str | None:
    """Why no server can be run here, or None if one can."""
    if _find_programs() is None:
        return "no PostgreSQL server here: initdb is neither on PATH nor under /usr/lib/postgresql"
    if os.geteuid() == 0 and not any(user.pw_name == "postgres" for user in pwd.getpwall()):
        return "PostgreSQL does not run as root, and there is no user postgres"
    return None


def start_postgres() -> PostgresServer:
    """Start a server; ask `why_no_postgres` first."""
    programs = _find_programs()
    assert programs
    return PostgresServer(programs)


def _find_programs() -> Path | None:
    found = shutil.which("initdb")
    if found:
        return Path(found).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return versions[-1].parent if versions else None


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _options(*settings: str) -> list[str]:
    return [word for setting in settings for word in ("-c", setting)]
