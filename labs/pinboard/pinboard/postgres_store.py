"""Pins in PostgreSQL."""

import os
import select
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, LiteralString

import psycopg
from psycopg.conninfo import conninfo_to_dict

from pinboard.pins import NewPin, Pin
from pinboard.problem import SettingError, StoreUnavailable
from pinboard.store import silent, unavailable

CONNECT_SECONDS = 3
"""How long a connection may take to come up, unless the URL says `connect_timeout`."""

STATEMENT_SECONDS = 3
"""How long a statement may run. Then the server gives it up, and it certainly has not been done."""

ANSWER_SECONDS = 4.0
"""How long to wait for the server. A frozen or vanished machine sends no error, only silence."""

TABLE_LOCK = 0x70696E73
"""The advisory lock under which the table is created ("pins" in ASCII)."""

# One transaction. The lock: of two replicas that start at once, both would create the table, and one would fail despite
# IF NOT EXISTS. The default: the server's clock stamps the pins, because each replica has a clock of its own.
CREATE = f"""
SELECT pg_advisory_xact_lock({TABLE_LOCK});
CREATE TABLE IF NOT EXISTS pins (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    text text NOT NULL, author text, created_at timestamptz NOT NULL DEFAULT clock_timestamp()
)"""

PREPARE = "SELECT set_config('statement_timeout', %s, false), to_regclass('pins')"
COLUMNS = """id, text, author, to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"""
LIST = f"SELECT {COLUMNS} FROM pins ORDER BY id"  # noqa: S608 - constants only
ADD = f"INSERT INTO pins (text, author) VALUES (%s, %s) RETURNING {COLUMNS}"  # noqa: S608


class PostgresStore:
    """A few connections, one per thread that calls at the same time, kept until they break.

    A statement is never sent twice: if its connection breaks, nobody knows whether the server still did the work.
    """

    def __init__(self, url: str) -> None:
        """Take any URL that libpq takes. Raises SettingError."""
        self._parameters = _parse(url)
        self.where = _describe(self._parameters)
        self._idle: list[_Link] = []
        self._turn = threading.Lock()

    def ping(self) -> None:
        """See Store."""
        self._rows("SELECT 1 FROM pins LIMIT 1")

    def pins(self) -> list[Pin]:
        """See Store."""
        return [Pin(*row) for row in self._rows(LIST)]

    def add(self, new: NewPin) -> Pin:
        """See Store."""
        [row] = self._rows(ADD, (new.text, new.author))
        return Pin(*row)

    def remove(self, pin_id: int) -> bool:
        """See Store."""
        return bool(self._rows("DELETE FROM pins WHERE id = %s RETURNING id", (pin_id,)))

    def close(self) -> None:
        """See Store."""
        with self._turn:
            links, self._idle = self._idle, []
        for link in links:
            link.close()

    def _rows(self, query: LiteralString, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        link: _Link | None = None
        try:
            link = self._take()
            rows = link.rows(query, values)
        except psycopg.Error as error:
            reason = self._reason(error, link)
            if link is not None:
                link.close()
            # What broke this connection (a restart, a failover) has most likely broken its idle siblings too.
            self.close()
            raise reason from error
        with self._turn:
            self._idle.append(link)
        return rows

    def _take(self) -> "_Link":
        while True:
            with self._turn:
                link = self._idle.pop() if self._idle else None
            if link is None:
                return self._connect()
            if not link.has_ended():
                return link
            link.close()

    def _connect(self) -> "_Link":
        link = _Link(psycopg.connect(**self._parameters, autocommit=True, prepare_threshold=None))
        try:
            [(_, table)] = link.rows(PREPARE, (f"{STATEMENT_SECONDS}s",))
            # Looked up before creating it: a role may use a table without the right to create one.
            if table is None:
                link.rows(CREATE)
        except BaseException:
            link.close()
            raise
        return link

    def _reason(self, error: psycopg.Error, link: "_Link | None") -> StoreUnavailable:
        late = link is not None and link.hung_up
        why = silent(ANSWER_SECONDS) if late else "; ".join(line.strip(" \t.?") for line in str(error).splitlines())
        password = self._parameters.get("password")
        return unavailable(self.where, why.replace(password, "***") if password else why)


class _Link:
    """A connection that can be hung up from outside while a thread waits in it."""

    def __init__(self, connection: psycopg.Connection[tuple[Any, ...]]) -> None:
        self.connection = connection
        self.hung_up = False
        # A second handle on the same socket: whenever it is used, it can never hit a stranger's reused descriptor.
        self._socket = socket.socket(fileno=os.dup(connection.fileno()))

    def rows(self, query: LiteralString, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and return its rows, or raise psycopg.Error, after ANSWER_SECONDS at the latest."""
        with self._deadline():
            cursor = self.connection.execute(query, values)
            return cursor.fetchall() if cursor.description else []

    def has_ended(self) -> bool:
        """Whether the server closed the connection: an idle one has nothing to read, except a farewell."""
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        """Close the connection; never raises."""
        self.connection.close()
        self._socket.close()

    @contextmanager
    def _deadline(self) -> Iterator[None]:
        timer = threading.Timer(ANSWER_SECONDS, self._hang_up)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _hang_up(self) -> None:
        self.hung_up = True
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)


def _parse(url: str) -> dict[str, Any]:
    try:
        parameters = conninfo_to_dict(url)
        # An unescaped @ or / in a password shifts what follows into other fields, and from there into messages and
        # logs. (A host that begins with @ is an abstract Unix socket.)
        readable = not any("@" in str(parameters.get(name) or "")[1:] for name in ("host", "dbname"))
    except psycopg.Error:
        readable = False
    if not readable:
        # libpq's own message is not repeated: it quotes what it cannot read, and that may be the password.
        raise SettingError(
            "DATABASE_URL is not usable",
            "libpq cannot read it as postgresql://user:password@host:port/database",
            "percent-encode special characters in the password (@ is %40, / is %2F, : is %3A) and check the rest",
        )
    return {
        "connect_timeout": CONNECT_SECONDS,
        "fallback_application_name": "pinboard",
        **parameters,
        "client_encoding": "utf8",
    }


def _describe(parameters: dict[str, Any]) -> str:
    known = [f"{name}={parameters[name]}" for name in ("host", "port", "user", "dbname") if parameters.get(name)]
    return " ".join(["PostgreSQL", *known])
