"""QMP, the protocol in which one talks to a running QEMU: commands, and the events that it sends by itself.

A QMP socket serves one client at a time, so every call connects, asks and leaves.
Reference: https://www.qemu.org/docs/master/interop/qemu-qmp-ref.html
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from lab_helpers.core.errors import LabError
from lab_helpers.core.store import locked
from lab_helpers.core.waiting import wait_for

T = TypeVar("T")


class QmpError(LabError):
    """QEMU refused a command, or nobody answers at its socket."""


class Qmp:
    """The QMP socket of one QEMU."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def execute(self, command: str, arguments: dict[str, Any] | None = None, *, timeout_s: float = 10) -> Any:
        """Run one command and return its answer. Raises QmpError."""

        async def talk(client: Any) -> Any:
            return await client.execute(command, arguments)

        with locked(self.path.with_name(self.path.name + ".lock"), timeout_s=timeout_s):
            return self._with_client(talk, command, timeout_s)

    def human(self, line: str, *, timeout_s: float = 10) -> str:
        """Run a line of QEMU's human monitor, for what QMP has no command of its own."""
        return str(self.execute("human-monitor-command", {"command-line": line}, timeout_s=timeout_s))

    def job(self, command: str, job_id: str, arguments: dict[str, Any], *, timeout_s: float = 60) -> None:
        """Start a job (such as snapshot-save), wait for its end, dismiss it. Raises QmpError with its own error."""
        self.execute(command, {"job-id": job_id, **arguments})

        def concluded() -> dict[str, Any] | None:
            jobs = [job for job in self.execute("query-jobs") if job["id"] == job_id]
            return jobs[0] if jobs and jobs[0]["status"] == "concluded" else None

        job = wait_for(concluded, f"QEMU's job {job_id}", timeout_s=timeout_s)
        self.execute("job-dismiss", {"id": job_id})
        if job.get("error"):
            raise QmpError(f"QEMU could not do {command}.", why=str(job["error"]))

    def follow(self, heard: Callable[[dict[str, Any]], None]) -> None:
        """Call `heard` with each event until QEMU closes the connection. Blocks; needs a socket of its own."""

        async def listen(client: Any) -> None:
            async for event in client.events:
                heard(dict(event))

        async def until_closed(client: Any) -> None:
            listener = asyncio.create_task(listen(client))
            while client.runstate.name == "RUNNING":
                await client.runstate_changed()
            await asyncio.sleep(0)  # what came with the end is still in the queue
            while not client.events.empty():
                await asyncio.sleep(0)
            listener.cancel()

        self._with_client(until_closed, "follow", None)

    def _with_client(self, talk: Callable[[Any], Coroutine[Any, Any, T]], what: str, timeout_s: float | None) -> T:
        logging.getLogger("qemu.qmp").setLevel(logging.CRITICAL)  # what it logs, we raise

        async def session() -> T:
            from qemu.qmp import QMPClient

            client = QMPClient("lab")
            try:
                await asyncio.wait_for(client.connect(str(self.path)), timeout_s or 10)
                return await asyncio.wait_for(talk(client), timeout_s)
            finally:
                if client.runstate.name != "IDLE":
                    with contextlib.suppress(EOFError, OSError):  # QEMU hung up first
                        await client.disconnect()

        return _in_thread(session, what, self.path)


def _in_thread(session: Callable[[], Coroutine[Any, Any, T]], what: str, path: Path) -> T:
    """Run a coroutine to its end in a thread: a notebook's kernel already has a loop running in the main one."""
    result: list[T] = []
    failure: list[BaseException] = []

    def work() -> None:
        try:
            result.append(asyncio.run(session()))
        except BaseException as error:  # noqa: BLE001 - it is raised again below, in the caller's thread
            failure.append(error)

    thread = threading.Thread(target=work, daemon=True, name="qmp")
    thread.start()
    thread.join()
    if not failure:
        return result[0]
    error = failure[0]
    if isinstance(error, TimeoutError):
        raise QmpError(
            f"QEMU did not answer `{what}` in time at {path.name}.", why="another client may hold the socket"
        )
    from qemu.qmp import QMPError as LibraryError

    if isinstance(error, LibraryError | OSError | EOFError):
        raise QmpError(f"QEMU did not do `{what}`.", why=str(error) or type(error).__name__)
    raise error
