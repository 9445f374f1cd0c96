"""A fake QEMU that speaks QMP at a Unix socket: as much of it as the contract suite asks of the real one."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

GREETING = {"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}, "package": "fake"}, "capabilities": []}}


class FakeQmp:
    """One machine that can be stopped, continued and ended. As with QEMU, a socket serves one client at a time."""

    def __init__(self, *paths: Path) -> None:
        self.status = "prelaunch"
        self.jobs: dict[str, dict[str, Any]] = {}
        self.clients: list[socket.socket] = []
        self.listeners: list[socket.socket] = []
        """The clients that hear of events: those that have negotiated, as with QEMU."""
        self.servers = [socket.socket(socket.AF_UNIX) for _ in paths]
        for server, path in zip(self.servers, paths, strict=True):
            server.bind(str(path))
            server.listen(8)
            threading.Thread(target=self._serve, args=(server,), daemon=True).start()

    def close(self) -> None:
        for server in self.servers:
            server.close()
        for client in list(self.clients):  # each of them leaves the list by its own thread
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def _serve(self, server: socket.socket) -> None:
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            self.clients.append(client)
            with client, contextlib.suppress(OSError):
                self._send(client, GREETING)
                for message in self._messages(client):
                    self._answer(client, message)
            self.clients.remove(client)
            if client in self.listeners:
                self.listeners.remove(client)

    @staticmethod
    def _messages(client: socket.socket) -> Iterator[dict[str, Any]]:
        """What a client says: JSON objects, with or without a newline between them, as QEMU takes them."""
        buffer = ""
        while chunk := client.recv(65536):
            buffer += chunk.decode()
            while buffer.strip():
                try:
                    message, end = json.JSONDecoder().raw_decode(buffer.lstrip())
                except ValueError:
                    break
                buffer = buffer.lstrip()[end:]
                yield message

    def _answer(self, client: socket.socket, message: dict[str, Any]) -> None:
        command, arguments = message["execute"], message.get("arguments", {})
        tag = {"id": message["id"]} if "id" in message else {}
        known: dict[str, Any] = {
            "qmp_capabilities": {},
            "query-status": {"status": self.status, "running": self.status == "running"},
            "human-monitor-command": "a line\r\n" if arguments.get("command-line") == "info version" else "",
            "query-jobs": list(self.jobs.values()),
            "quit": {},
        }
        if command in ("cont", "stop"):
            self.status = "running" if command == "cont" else "paused"
            known[command] = {}
        if command == "snapshot-save":
            error = {"error": f"No block device node '{arguments['vmstate']}'"}
            self.jobs[arguments["job-id"]] = {"id": arguments["job-id"], "status": "concluded", **error}
            known[command] = {}
        if command == "job-dismiss":
            self.jobs.pop(arguments["id"])
            known[command] = {}
        if command == "qmp_capabilities":
            self.listeners.append(client)
        if command in known:
            self._send(client, {"return": known[command], **tag})
        else:
            error = {"class": "CommandNotFound", "desc": f"The command {command} has not been found"}
            self._send(client, {"error": error, **tag})
        event = {"cont": "RESUME", "stop": "STOP", "quit": "SHUTDOWN"}.get(command)
        if event:
            for other in list(self.listeners):
                with contextlib.suppress(OSError):  # it has just left
                    self._send(other, {"timestamp": {"seconds": 0, "microseconds": 0}, "event": event, "data": {}})
        if command == "quit":
            self.close()

    @staticmethod
    def _send(client: socket.socket, message: dict[str, Any]) -> None:
        client.sendall(json.dumps(message).encode() + b"\n")
