"""From the signal to the end: stop being ready, finish what runs, leave."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pinboard.logs import log

FINISH_SECONDS = 3.0
"""How long running requests may take after the signal, before the server stops all the same."""


class Lifecycle:
    """Counts running requests, and leaves when the last one is done.

    The port stays open until then, so that probes can see that the process is alive and no longer ready.
    """

    def __init__(self) -> None:
        self.stopping = False
        self._running = 0
        self._leave: Callable[[], None] = lambda: None

    def stop(self, leave: Callable[[], None]) -> None:
        """Begin to stop (on the event loop's thread); `leave` is called when nothing runs any more."""
        if self.stopping:
            return
        self.stopping = True
        self._leave = leave
        log.info("stopping", extra={"fields": {"running": self._running}})
        if self._running == 0:
            leave()
        else:
            asyncio.get_running_loop().call_later(FINISH_SECONDS, leave)

    @contextmanager
    def request(self) -> Iterator[None]:
        """Count a request while it runs."""
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1
            if self.stopping and self._running == 0:
                self._leave()
