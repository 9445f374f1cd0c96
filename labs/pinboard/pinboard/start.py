"""The start: read the settings, open the port, serve."""

import os
import socket
import sys

from pinboard.identity import find_identity
from pinboard.logs import log, log_json_lines
from pinboard.problem import SettingError
from pinboard.settings import read_settings
from pinboard.store import open_store


def main() -> int:
    """Run the service; return the exit code: 0 after an orderly end, 2 for settings with which it cannot start."""
    try:
        settings = read_settings(os.environ)
        store = open_store(settings.database_url)
        listener = _listen(settings.host, settings.port)
    except SettingError as problem:
        sys.stderr.write(f"pinboard: {problem}\n")
        return 2

    # Imported after the port is open: on a slow machine an early request then waits a little instead of failing.
    from pinboard.server import serve  # noqa: PLC0415

    log_json_lines()
    host, port = listener.getsockname()[:2]
    fields = {"host": host, "port": port, "version": settings.version, "database": store.where, "pid": os.getpid()}
    log.info("starting", extra={"fields": fields})
    serve(store, find_identity(settings.version), listener)
    return 0


def _listen(host: str, port: int) -> socket.socket:
    # The protocol is given because asyncio switches Nagle's algorithm off only where it sees TCP; with socket's default
    # protocol, 0, each reply on a kept connection would wait 40 ms for the client's delayed acknowledgement.
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        # A restart must not wait until the last connections of the process before are forgotten.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen()
    except (OSError, UnicodeError) as error:
        raise SettingError(
            f"cannot listen on PINBOARD_HOST {host}, PINBOARD_PORT {port}",
            str(error),
            "stop what uses this port, or choose an address of this machine and a free port",
        ) from None
    return listener
