"""The QEMU guest agent: a small program in the guest that runs commands for us, through a serial port of its own.

It needs neither network nor login, and answers in milliseconds.
Reference: https://www.qemu.org/docs/master/interop/qemu-ga-ref.html
"""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from lab_helpers.core.errors import LabError, ToolError
from lab_helpers.core.processes import Completed, pasteable
from lab_helpers.core.store import locked
from lab_helpers.core.waiting import pace


class GuestAgentError(LabError):
    """The agent does not answer (the guest still boots, hangs, or runs none), or refused a command."""


class GuestAgent:
    """The agent's socket of one QEMU. It serves one client at a time: every call connects, asks and leaves."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def ping(self, *, timeout_s: float = 1) -> None:
        """Raises GuestAgentError unless the agent answers within `timeout_s` seconds."""
        with self._connected(timeout_s) as line:
            line.ask("guest-ping", None)

    def run(
        self, argv: Sequence[str], *, stdin: str | None = None, timeout_s: float = 30, check: bool = True
    ) -> Completed:
        """Run a program in the guest (a full path, or found on the agent's PATH) and return how it ended.

        Raises ToolError when it cannot be started, does not end in time or, with `check`, fails.
        """
        words = list(argv)
        arguments: dict[str, Any] = {"path": words[0], "arg": words[1:], "capture-output": True}
        if stdin is not None:
            arguments["input-data"] = base64.b64encode(stdin.encode()).decode()
        began = time.monotonic()
        with self._connected(min(timeout_s, 5)) as line:
            pid = line.ask("guest-exec", arguments)["pid"]
            while not (status := line.ask("guest-exec-status", {"pid": pid}))["exited"]:
                waited = time.monotonic() - began
                if waited > timeout_s:
                    raise ToolError(
                        f"`{words[0]}` did not finish in the guest within {timeout_s:.0f} s.", command=pasteable(words)
                    )
                time.sleep(pace(waited))
        out, err = (base64.b64decode(status.get(key, "")).decode(errors="replace") for key in ("out-data", "err-data"))
        # A shell reports a death by signal N as 128 + N; the agent names the signal instead.
        code = status["exitcode"] if "exitcode" in status else 128 + int(status.get("signal", 0))
        done = Completed(tuple(words), code, out, err)
        if check and not done.ok:
            raise ToolError(
                f"`{words[0]}` failed in the guest with exit code {code}.",
                command=pasteable(words),
                output=err or out,
                code=code,
            )
        return done

    @contextlib.contextmanager
    def _connected(self, timeout_s: float) -> Iterator[_Line]:
        with locked(self.path.with_name(self.path.name + ".lock"), timeout_s=30):
            line = _Line(self.path, timeout_s)
            try:
                yield line
            finally:
                line.close()


class _Line:
    """One connection. A client before us may have left half an answer in the pipe: guest-sync-delimited skips it."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout_s)
        self.buffer = b""
        try:
            self.socket.connect(str(path))
            token = secrets.randbelow(2**31)
            self._send(b"\xff", {"execute": "guest-sync-delimited", "arguments": {"id": token}})
            while True:
                answer = self._answer()
                if answer.get("return") == token:
                    return
        except OSError as error:
            self.close()
            raise GuestAgentError(
                "The guest agent does not answer.", why=str(error) or "the guest is still starting, or hangs"
            ) from None

    def ask(self, command: str, arguments: dict[str, Any] | None) -> Any:
        message: dict[str, Any] = {"execute": command}
        if arguments is not None:
            message["arguments"] = arguments
        try:
            self._send(b"", message)
            answer = self._answer()
        except OSError as error:
            raise GuestAgentError(f"The guest agent did not answer `{command}`.", why=str(error)) from None
        if "error" in answer:
            raise GuestAgentError(f"The guest agent refused `{command}`.", why=str(answer["error"].get("desc")))
        return answer["return"]

    def close(self) -> None:
        self.socket.close()

    def _send(self, prefix: bytes, message: dict[str, Any]) -> None:
        self.socket.sendall(prefix + json.dumps(message).encode() + b"\n")

    def _answer(self) -> dict[str, Any]:
        """The next whole JSON object; what cannot be read as one is what an earlier client left."""
        while True:
            while b"\n" not in self.buffer:
                chunk = self.socket.recv(65536)
                if not chunk:
                    raise ConnectionResetError("the connection was closed")
                self.buffer += chunk
            line, self.buffer = self.buffer.split(b"\n", 1)
            try:
                answer = json.loads(line.rsplit(b"\xff", 1)[-1])
            except ValueError:
                continue
            if isinstance(answer, dict):
                return answer
