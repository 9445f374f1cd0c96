"""TCP ports of this machine: which are free."""

from __future__ import annotations

import socket
from collections.abc import Collection


def is_free(host: str, port: int) -> bool:
    """True when a program could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
        return True


def free_port(taken: Collection[int] = ()) -> int:
    """A port of 127.0.0.1 that is free now and not in `taken`: the kernel chooses."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port not in taken:
            return port
