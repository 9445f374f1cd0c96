"""What the service needs from a database, and the choice of one by its URL."""

from typing import Protocol

from pinboard.pins import NewPin, Pin
from pinboard.problem import SettingError, StoreUnavailable


class Store(Protocol):
    """Pins that outlive the process.

    The calls block, may come from several threads at once, and raise StoreUnavailable when the database does not do its
    work. Nothing connects before the first call, and each call tries anew, so that a database may come late, go away
    and come back.
    """

    where: str
    """The database in words, for logs: never with a password."""

    def ping(self) -> None:
        """Return if the database answers and its table can be read."""

    def pins(self) -> list[Pin]:
        """All pins, oldest first."""

    def add(self, new: NewPin) -> Pin:
        """Store a pin: when this returns, the pin is committed."""

    def remove(self, pin_id: int) -> bool:
        """Delete a pin; false if there is none with this ID."""

    def close(self) -> None:
        """Let go of the database."""


def open_store(url: str) -> Store:
    """Choose the store for a DATABASE_URL. Only the chosen driver is imported. Raises SettingError."""
    if url.startswith("sqlite:///"):
        from pinboard.sqlite_store import SqliteStore  # noqa: PLC0415

        return SqliteStore(url)
    if url.startswith(("postgresql://", "postgres://")):
        try:
            from pinboard.postgres_store import PostgresStore  # noqa: PLC0415
        except ImportError as error:
            raise SettingError(
                "DATABASE_URL asks for PostgreSQL, whose driver does not load",
                str(error),
                "install psycopg 3 (Debian: python3-psycopg, pip: 'psycopg[binary]')",
            ) from None
        return PostgresStore(url)
    # The value is not repeated: it may well hold a password.
    raise SettingError(
        "DATABASE_URL is not usable",
        "it starts neither with sqlite:/// nor with postgresql://",
        "set something like sqlite:////var/lib/pinboard/pinboard.db or postgresql://user@host/database",
    )


def silent(seconds: float) -> str:
    """Why a database is unavailable that was waited for in vain."""
    return f"no answer within {seconds:g} seconds, and what was asked for may still be done"


def unavailable(where: str, why: str) -> StoreUnavailable:
    """The error of a database that does not do its work."""
    return StoreUnavailable(
        "the database does not answer", f"{where}: {why}", "look whether it runs and can be reached, then try again"
    )
