"""Around every request: its ID, the headers that say who served it, and its line in the log."""

import logging
import os
import re
import time
from typing import TYPE_CHECKING, Any

from pinboard.identity import Identity
from pinboard.lifecycle import Lifecycle
from pinboard.logs import log

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

SANE_ID = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
"""A request ID that is safe to repeat in a header and in a log; any other one is replaced."""


class Front:
    """An ASGI application in front of another one."""

    def __init__(self, app: "ASGIApp", identity: Identity, lifecycle: Lifecycle) -> None:
        self._app = app
        self._lifecycle = lifecycle
        self._headers = [(b"x-served-by", identity.host.encode("ascii", "replace"))]
        if identity.boot_id:
            self._headers.append((b"x-boot-id", identity.boot_id.encode("ascii", "replace")))

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Serve one request, or the lifespan."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun = time.perf_counter()
        request_id = _request_id(scope["headers"])
        status: int | None = None

        async def send_marked(message: "Message") -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *self._headers, (b"x-request-id", request_id)]
            await send(message)

        fields: dict[str, Any] = {"method": scope["method"], "path": scope["path"]}
        with self._lifecycle.request():
            try:
                await self._app(scope, receive, send_marked)
            except Exception:  # noqa: BLE001 - whatever it is: the client has its answer 500, the log gets the cause
                log.exception("request failed", extra={"fields": {**fields, "request_id": request_id.decode()}})
            finally:
                fields["status"] = status
                fields["ms"] = round((time.perf_counter() - begun) * 1000, 3)
                fields["request_id"] = request_id.decode()
                if problem := scope.get("pinboard.problem"):
                    fields["error"] = str(problem)
                level = logging.WARNING if status is None or status >= 500 else logging.INFO
                log.log(level, "request", extra={"fields": fields})


def _request_id(headers: list[tuple[bytes, bytes]]) -> bytes:
    given = dict(headers).get(b"x-request-id", b"")
    return given if SANE_ID.fullmatch(given) else os.urandom(8).hex().encode()
