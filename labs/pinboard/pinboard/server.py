"""The running server: event loop, signals, start and end."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress

from starlette.applications import Starlette
from uvicorn import Config, Server

from pinboard.app import build_app
from pinboard.identity import Identity
from pinboard.lifecycle import Lifecycle
from pinboard.logs import log
from pinboard.problem import StoreUnavailable
from pinboard.store import Store

STORE_THREADS = 4
"""Database calls at the same time, and with PostgreSQL the connections that one process can hold."""

CANCEL_SECONDS = 1
"""How long the server waits, once it stops, before it cancels what still runs."""


def serve(store: Store, identity: Identity, listener: socket.socket) -> None:
    """Serve on an open socket until SIGTERM or Ctrl-C, then finish what runs and return."""
    lifecycle = Lifecycle()

    def leave() -> None:
        server.should_exit = True

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(STORE_THREADS, "store"))
        # In place of uvicorn's handlers, which stop at once and would end the process with the signal, not with 0.
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, lifecycle.stop, leave)
        first_try = asyncio.create_task(_try_store(store))
        yield
        with suppress(asyncio.CancelledError):
            first_try.cancel()
            await first_try
        store.close()
        log.info("stopped")

    # The settings with the fewest imports; log lines and headers are our own.
    config = Config(
        build_app(store, identity, lifecycle, lifespan),
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="on",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=CANCEL_SECONDS,
    )
    server = Server(config)
    asyncio.run(server.serve(sockets=[listener]))


async def _try_store(store: Store) -> None:
    """Connect early, so that the first request need not wait, and the log says soon how the database is."""
    try:
        await asyncio.to_thread(store.ping)
        log.info("database answers")
    except StoreUnavailable as problem:
        log.warning(str(problem))
