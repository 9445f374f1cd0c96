"""Storage that survives kill -9: append-only logs, files that are replaced whole, locks."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Record = dict[str, Any]
HALF = ".half"
"""How the name ends of a file that is being written."""


class AppendLog:
    """A log of JSON objects, one a line, appended and synced to the disk before `append` returns.

    A line that was damaged (a full disk, a power cut) is set aside in a file beside it, and the rest is kept.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, record: Record) -> None:
        """Write one record. Several processes may do so at once."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        line = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
        with self.path.open("ab+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            size = file.seek(0, os.SEEK_END)
            if size:
                file.seek(size - 1)
                if file.read(1) != b"\n":
                    line = b"\n" + line  # what a killed writer left half done becomes a damaged line of its own
            file.write(line)
            file.flush()
            os.fsync(file.fileno())

    def read(self) -> list[Record]:
        """All records, oldest first. Damaged lines are moved to `NAME.damaged` and left out."""
        try:
            raw = self.path.read_bytes()
        except FileNotFoundError:
            return []
        records, damaged = _parse(raw)
        if damaged:
            self._set_aside()
        return records

    def newly_damaged(self) -> int:
        """How many damaged lines were set aside since this was asked last."""
        aside, told = (self.path.with_name(f"{self.path.name}.{end}") for end in ("damaged", "damaged.told"))
        try:
            lines = aside.read_bytes().count(b"\n")
        except FileNotFoundError:
            return 0
        with contextlib.suppress(FileNotFoundError, ValueError):
            known = int(told.read_text(encoding="ascii"))
            if known == lines:
                return 0
            lines -= known if known < lines else 0
        with contextlib.suppress(OSError):  # a full disk: then it is told again
            write_atomic(told, str(aside.read_bytes().count(b"\n")))
        return lines

    def _set_aside(self) -> None:
        with self.path.open("rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            records, damaged = _parse(file.read())  # once more, now that nobody writes
            aside = self.path.with_name(self.path.name + ".damaged")
            with aside.open("ab") as sink:
                sink.writelines(line + b"\n" for line in damaged)
                os.fsync(sink.fileno())
            kept = b"".join(json.dumps(r, ensure_ascii=False, separators=(",", ":")).encode() + b"\n" for r in records)
            file.seek(0)
            file.write(kept)
            file.truncate()
            os.fsync(file.fileno())


def _parse(raw: bytes) -> tuple[list[Record], list[bytes]]:
    records: list[Record] = []
    damaged: list[bytes] = []
    for line in raw.split(b"\n"):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError:
            damaged.append(line)
            continue
        if isinstance(record, dict):
            records.append(record)
        else:
            damaged.append(line)
    return records, damaged


def write_atomic(path: Path, text: str, *, mode: int = 0o644) -> None:
    """Replace a file whole: a reader sees the old text or the new one, never a half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=HALF, dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # by which `remove_halves` sees that somebody is at it
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            Path(name).chmod(mode)
            Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def remove_halves(folder: Path) -> None:
    """Remove what writers that were killed left half done in `folder` and below; what is being written stays."""
    for path in folder.rglob(f".*.????????{HALF}"):
        with contextlib.suppress(OSError), path.open("rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


@contextlib.contextmanager
def locked(path: Path, *, timeout_s: float = 600, on_wait: Callable[[], None] = lambda: None) -> Iterator[int]:
    """Hold a lock that the kernel frees when its holder dies. Raises LabError after `timeout_s` seconds.

    Calls `on_wait` again and again while somebody else holds it.

    Yields the file descriptor: a child process that inherits it holds the lock as well, until it ends.
    """
    from lab_helpers.core.waiting import wait_for

    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:

        def take() -> bool:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                on_wait()
                return False
            return True

        wait_for(take, f"another `lab` that holds {path.name}", timeout_s=timeout_s, interval_s=0.05)
        yield file.fileno()


def now() -> float:
    """Seconds since the epoch, as all records write them."""
    return round(time.time(), 3)
