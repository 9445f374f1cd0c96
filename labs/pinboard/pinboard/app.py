"""The HTTP API and the page."""

import asyncio
import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pinboard.front import Front
from pinboard.identity import Identity
from pinboard.lifecycle import Lifecycle
from pinboard.pins import MAX_ID, parse_new_pin
from pinboard.problem import BadRequest, NoSuchPin, Problem, StoreUnavailable, TooLarge
from pinboard.store import Store, silent, unavailable

if TYPE_CHECKING:
    from starlette.types import ASGIApp

P = ParamSpec("P")
T = TypeVar("T")

STORE_SECONDS = 9.0
"""How long a request waits for the database at most, its turn in the queue included."""

MAX_BODY = 16_384
"""Bytes of a request's body: more than any valid pin needs, however its JSON is escaped."""

PAGE = Path(__file__).parent / "page"
FILES = {
    "/": ("index.html", "text/html"),
    "/static/app.js": ("static/app.js", "text/javascript"),
    "/static/style.css": ("static/style.css", "text/css"),
}
FILE_HEADERS = {
    # The page runs its own script and nothing else, so that text on a pin can never become one.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    # A new version of the service must not meet an old script in the browser.
    "Cache-Control": "no-cache",
}


class Api:
    """The endpoints, with what they need."""

    def __init__(self, store: Store, identity: Identity, lifecycle: Lifecycle) -> None:
        self._store = store
        self._identity = identity
        self._lifecycle = lifecycle

    async def list_pins(self, _request: Request) -> Response:
        """All pins, oldest first."""
        pins = await self._ask(self._store.pins)
        return JSONResponse([asdict(pin) for pin in pins])

    async def add_pin(self, request: Request) -> Response:
        """Store the pin in the body and answer with it."""
        new = parse_new_pin(await _read_json(request))
        pin = await self._ask(self._store.add, new)
        return JSONResponse(asdict(pin), status_code=201, headers={"Location": f"/api/pins/{pin.id}"})

    async def remove_pin(self, request: Request) -> Response:
        """Delete one pin."""
        given: str = request.path_params["pin_id"]
        valid = given.isascii() and given.isdigit() and len(given) <= len(str(MAX_ID)) and int(given) <= MAX_ID
        if not valid or not await self._ask(self._store.remove, int(given)):
            raise NoSuchPin(
                "there is no such pin", f"no pin has the ID {given[:40]}", "GET /api/pins lists what there is"
            )
        return Response(status_code=204)

    async def healthz(self, _request: Request) -> Response:
        """Liveness: the process answers. It must not ask the database, whose outage no restart of this would mend."""
        return JSONResponse({"status": "alive"})

    async def readyz(self, _request: Request) -> Response:
        """Readiness: worth sending requests to."""
        if self._lifecycle.stopping:
            raise StoreUnavailable("not ready", "this process is shutting down", "send requests to another one")
        await self._ask(self._store.ping)
        return JSONResponse({"status": "ready"})

    async def version(self, _request: Request) -> Response:
        """The version alone, for rollouts."""
        return JSONResponse({"version": self._identity.version})

    async def whoami(self, _request: Request) -> Response:
        """Who answers."""
        return JSONResponse(asdict(self._identity))

    async def file(self, request: Request) -> Response:
        """The page or one of its files."""
        name, media_type = FILES[request.scope["path"]]
        return Response((PAGE / name).read_bytes(), media_type=media_type, headers=FILE_HEADERS)

    async def _ask(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Make a blocking call of the store in a thread, so that the event loop goes on. Raises StoreUnavailable."""
        try:
            async with asyncio.timeout(STORE_SECONDS):
                return await asyncio.to_thread(call, *args, **kwargs)
        except TimeoutError:
            raise unavailable(self._store.where, silent(STORE_SECONDS)) from None

    def routes(self) -> list[Route]:
        """Which request goes where."""
        return [
            *(Route(path, self.file) for path in FILES),
            Route("/api/pins", self.list_pins),
            Route("/api/pins", self.add_pin, methods=["POST"]),
            Route("/api/pins/{pin_id}", self.remove_pin, methods=["DELETE"]),
            Route("/api/whoami", self.whoami),
            Route("/healthz", self.healthz),
            Route("/readyz", self.readyz),
            Route("/version", self.version),
        ]


def build_app(
    store: Store,
    identity: Identity,
    lifecycle: Lifecycle,
    lifespan: Callable[[Starlette], AbstractAsyncContextManager[None]],
) -> "ASGIApp":
    """The whole application, as ASGI."""
    app = Starlette(
        routes=Api(store, identity, lifecycle).routes(),
        exception_handlers={Problem: _answer_problem, HTTPException: _answer_http, Exception: _answer_bug},
        lifespan=lifespan,
    )
    return Front(app, identity, lifecycle)


async def _read_json(request: Request) -> object:
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                raise TooLarge("the request is too large", f"its body has over {MAX_BODY} bytes", "send a shorter text")
    except ClientDisconnect:
        raise BadRequest("the request is not complete", "the client went away", "send it again") from None
    try:
        document: object = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BadRequest(
            "the request is not JSON", str(error), 'send a JSON object such as {"text": "hello"}'
        ) from error
    return document


async def _answer_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    request.scope["pinboard.problem"] = error
    return JSONResponse(error.as_json(), status_code=error.status)


async def _answer_http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    problem = Problem(
        f"{request.method} {request.url.path} is not served here", error.detail, "the README lists the endpoints"
    )
    return JSONResponse(problem.as_json(), status_code=error.status_code, headers=error.headers)


async def _answer_bug(_request: Request, _error: Exception) -> Response:
    problem = Problem("the service failed", "this is a mistake in its code", "look in its log for the request ID")
    return JSONResponse(problem.as_json(), status_code=500)
