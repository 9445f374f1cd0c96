"""The real service as a process of its own, for tests."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import httpx

T = TypeVar("T")

SOURCE = Path(__file__).resolve().parent.parent
PATIENCE = 15.0
"""Seconds after which a test gives up waiting for something that ought to happen soon."""


def wait_for(look: Callable[[], T | None], what: str) -> T:
    """Look again and again until there is something to see. Raises AssertionError after PATIENCE."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if (seen := look()) is not None:
            return seen
        time.sleep(0.01)
    raise AssertionError(f"waited {PATIENCE:g} seconds in vain for {what}")


class Service:
    """A running Pinboard on a port that the system chose."""

    def __init__(self, directory: Path, database_url: str, **environment: str) -> None:
        self._log = directory / f"log-{time.monotonic_ns()}"
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "pinboard"],
                cwd=directory,
                env=service_environment(DATABASE_URL=database_url, PINBOARD_PORT="0", **environment),
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.url = f"http://127.0.0.1:{wait_for(self._port, 'the first line of the log')}"
        # Without verify=False each client would read all certificate authorities first, for plain HTTP.
        self.http = httpx.Client(base_url=self.url, timeout=PATIENCE, verify=False)  # noqa: S501

    def _port(self) -> int | None:
        assert self.process.poll() is None, self.log_text()
        started = [line for line in self.log_text().splitlines(keepends=True) if '"starting"' in line]
        return json.loads(started[0])["port"] if started and started[0].endswith("\n") else None

    def log_text(self) -> str:
        """All that the process has printed."""
        return self._log.read_text()

    def log_lines(self) -> list[dict[str, Any]]:
        """The log, each line decoded; fails if one is not JSON."""
        return [json.loads(line) for line in self.log_text().splitlines()]

    def wait_until_ready(self) -> "Service":
        """Wait for 200 on /readyz."""
        wait_for(lambda: self.http.get("/readyz").status_code == 200 or None, "the service to be ready")
        return self

    def add(self, text: str) -> dict[str, Any]:
        """Add a pin that must be accepted."""
        reply = self.http.post("/api/pins", json={"text": text})
        assert reply.status_code == 201, reply.text
        pin: dict[str, Any] = reply.json()
        return pin

    def texts(self) -> list[str]:
        """The texts on the board, oldest first."""
        return [pin["text"] for pin in self.http.get("/api/pins").raise_for_status().json()]

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal, wait for the end, return the exit code."""
        self.http.close()
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def destroy(self) -> None:
        """Leave no process behind, whatever the test did."""
        self.http.close()
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE)


StartService = Callable[..., Service]
"""Of the fixture `start`: takes what Service takes, but for the directory."""


def service_environment(**settings: str) -> dict[str, str]:
    """Nothing of the caller's environment but PATH, and no compiled files beside the sources."""
    return {"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCE), "PYTHONDONTWRITEBYTECODE": "1", **settings}
