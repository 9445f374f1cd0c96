"""Pins in an SQLite file."""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pinboard.pins import NewPin, Pin
from pinboard.problem import SettingError
from pinboard.store import unavailable

LOCK_SECONDS = 5.0
"""How long a call waits for another process that holds the file's lock."""

# AUTOINCREMENT: an ID is never used twice, also not after its pin was deleted.
CREATE = """
CREATE TABLE IF NOT EXISTS pins (
    id INTEGER PRIMARY KEY AUTOINCREMENT, text TEXT NOT NULL, author TEXT, created_at TEXT NOT NULL
)"""


class SqliteStore:
    """One file, opened anew for each call.

    Opening takes a fraction of a millisecond, and a file that was replaced, restored or mounted in the meantime is then
    the one that is used: a connection kept open would go on writing into the file that is gone.
    """

    def __init__(self, url: str) -> None:
        """Take `sqlite:///relative/path` or `sqlite:////absolute/path`, the path as it is. Raises SettingError."""
        name = url.removeprefix("sqlite:///")
        if not name or name == ":memory:":
            raise SettingError(
                "DATABASE_URL is not usable", "it names no file", "set something like sqlite:///pinboard.db"
            )
        self._path = Path(name)
        self.where = f"SQLite file {self._path}"
        # SQLite has one writer at a time; waiting for each other here is fairer and faster than its busy loop.
        self._turn = threading.Lock()

    def ping(self) -> None:
        """See Store."""
        with self._open() as connection:
            connection.execute("SELECT 1 FROM pins LIMIT 1")

    def pins(self) -> list[Pin]:
        """See Store."""
        with self._open() as connection:
            rows = connection.execute("SELECT id, text, author, created_at FROM pins ORDER BY id").fetchall()
        return [Pin(*row) for row in rows]

    def add(self, new: NewPin) -> Pin:
        """See Store."""
        created_at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        with self._open() as connection:
            cursor = connection.execute(
                "INSERT INTO pins (text, author, created_at) VALUES (?, ?, ?)", (new.text, new.author, created_at)
            )
        assert cursor.lastrowid is not None
        return Pin(cursor.lastrowid, new.text, new.author, created_at)

    def remove(self, pin_id: int) -> bool:
        """See Store."""
        with self._open() as connection:
            cursor = connection.execute("DELETE FROM pins WHERE id = ?", (pin_id,))
        return cursor.rowcount == 1

    def close(self) -> None:
        """Nothing is open between calls."""

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._turn:
                # isolation_level None: each statement is its own transaction, durable when it returns.
                connection = sqlite3.connect(self._path, timeout=LOCK_SECONDS, isolation_level=None)
                try:
                    connection.execute(CREATE)
                    yield connection
                finally:
                    connection.close()
        except sqlite3.Error as error:
            raise unavailable(self.where, str(error)) from error
