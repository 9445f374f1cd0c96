"""A fake guest agent at a Unix socket: as much of it as the contract suite asks of the real one."""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any


class FakeAgent:
    """Runs programs for real, on this machine. Like the real one it serves one client at a time."""

    def __init__(self, path: Path) -> None:
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        self.inputs: dict[int, bytes] = {}
        self.server = socket.socket(socket.AF_UNIX)
        self.server.bind(str(path))
        self.server.listen(8)
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self.server.close()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self.server.accept()
            except OSError:
                return
            with client, client.makefile("rwb", buffering=0) as line:
                try:
                    while raw := line.readline():
                        message = json.loads(raw.lstrip(b"\xff"))
                        mark = b"\xff" if message["execute"] == "guest-sync-delimited" else b""
                        line.write(mark + json.dumps(self._answer(message)).encode() + b"\n")
                except ConnectionError:
                    continue

    def _answer(self, message: dict[str, Any]) -> dict[str, Any]:
        arguments = message.get("arguments", {})
        match message["execute"]:
            case "guest-sync-delimited":
                return {"return": arguments["id"]}
            case "guest-ping":
                return {"return": {}}
            case "guest-exec":
                return self._start(arguments)
            case "guest-exec-status":
                return {"return": self._status(arguments["pid"])}
            case other:
                return {"error": {"class": "CommandNotFound", "desc": f"The command {other} has not been found"}}

    def _start(self, arguments: dict[str, Any]) -> dict[str, Any]:
        pipe = subprocess.PIPE
        try:
            process = subprocess.Popen([arguments["path"], *arguments["arg"]], stdin=pipe, stdout=pipe, stderr=pipe)
        except OSError as error:
            return {"error": {"class": "GenericError", "desc": f"Failed to execute child process: {error}"}}
        self.processes[process.pid] = process
        self.inputs[process.pid] = base64.b64decode(arguments.get("input-data", ""))
        return {"return": {"pid": process.pid}}

    def _status(self, pid: int) -> dict[str, Any]:
        process = self.processes[pid]
        try:
            out, err = process.communicate(self.inputs[pid], timeout=0.05)
        except subprocess.TimeoutExpired:
            self.inputs[pid] = b""
            return {"exited": False}
        ended = {"signal": -process.returncode} if process.returncode < 0 else {"exitcode": process.returncode}
        packed = {"out-data": base64.b64encode(out).decode(), "err-data": base64.b64encode(err).decode()}
        return {"exited": True, **ended, **{key: value for key, value in packed.items() if value}}
