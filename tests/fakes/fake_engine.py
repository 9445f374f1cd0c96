"""A fake container engine at a Unix socket: as much of it as the tests of the engine's probes ask of the real one."""

from __future__ import annotations

import json
import re
import socketserver
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

REFUSED = "OCI runtime create failed: unable to apply caps: operation not permitted"


class FakeEngine:
    """Containers are started in name only. `refuses`: which kinds do not start, "plain" or "privileged"."""

    def __init__(self, path: Path, *refuses: str, **info: Any) -> None:
        self.path = path
        self.refuses = refuses
        self.info: dict[str, Any] = {
            "Driver": "overlay2",
            "CgroupVersion": "2",
            "Architecture": "x86_64",
            "KernelVersion": "6.1.0-fake",
            "OperatingSystem": "Fake Desktop",
            "DefaultRuntime": "runc",
            "Runtimes": {"runc": {"path": "runc"}},
            **info,
        }
        self.images: dict[str, float] = {}
        self.containers: dict[str, bool] = {}
        self.server = _Server(str(path), _Handler)
        self.server.engine = self
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def address(self) -> str:
        return f"unix://{self.path}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.path.unlink(missing_ok=True)

    def answer(self, method: str, path: str, query: str, body: bytes) -> tuple[int, Any]:  # noqa: PLR0911 - a table
        match method, path.split("/")[1:]:
            case _, ["_ping"]:
                return 200, "OK"
            case "GET", ["version"]:
                return 200, {"Version": "99.1", "ApiVersion": "1.44", "Components": [{"Name": "Engine"}]}
            case "GET", ["info"]:
                return 200, self.info
            case "POST", ["images", "create"]:
                tag = re.search(r"tag=([^&]+)", query)
                self.images[f"lab.local/probe:{tag[1] if tag else 'latest'}"] = time.time()
                return 200, {"status": "sha256:0"}
            case "GET", ["images", "json"]:
                return 200, [{"Id": name, "Created": int(made)} for name, made in self.images.items()]
            case "DELETE", ["images", *name]:
                self.images.pop("/".join(name), None)
                return 200, []
            case "GET", ["containers", "json"]:
                return 200, [{"Id": name, "Created": int(time.time())} for name in self.containers]
            case "POST", ["containers", "create"]:
                name = f"c{len(self.containers)}"
                self.containers[name] = bool(json.loads(body)["HostConfig"].get("Privileged"))
                return 201, {"Id": name, "Warnings": []}
            case "GET", ["containers", name, "json"]:
                return 200, {"Id": name}
            case "POST", ["containers", name, "start"]:
                kind = "privileged" if self.containers[name] else "plain"
                return (500, {"message": REFUSED}) if kind in self.refuses else (204, None)
            case "POST", ["containers", _, "wait"]:
                return 200, {"StatusCode": 0}
            case "DELETE", ["containers", name]:
                self.containers.pop(name)
                return 204, None
        return 404, {"message": f"the fake does not know {method} {path}"}


class _Server(socketserver.ThreadingUnixStreamServer):
    engine: FakeEngine
    daemon_threads = True


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def _any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Transfer-Encoding") == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        path, _, query = self.path.partition("?")
        code, said = self.server.engine.answer(self.command, re.sub(r"^/v[\d.]+", "", path), query, body)
        data = b"" if said is None else said.encode() if isinstance(said, str) else json.dumps(said).encode()
        self.send_response(code)
        self.send_header("Content-Type", "text/plain" if isinstance(said, str) else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_DELETE = do_HEAD = _any  # noqa: N815 - the names that the library calls

    def address_string(self) -> str:
        return "a client"

    def log_message(self, *what: Any) -> None:
        """Tests are quiet."""
