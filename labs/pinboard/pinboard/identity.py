"""Who serves: the facts by which one tells machines, kernels and processes apart."""

import os
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path


@dataclass(frozen=True)
class Identity:
    """The process that answers, and where it runs."""

    host: str
    boot_id: str | None
    """Drawn anew by the kernel each time it boots; the same for all that share it. None where there is none (macOS)."""
    kernel: str
    pid: int
    started_at: str
    """UTC, ISO 8601 with microseconds."""
    version: str


def find_identity(version: str) -> Identity:
    """Look around once; none of this changes while the process lives."""
    try:
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip() or None
    except OSError:
        boot_id = None
    return Identity(
        host=socket.gethostname(),
        boot_id=boot_id,
        kernel=os.uname().release,
        pid=os.getpid(),
        started_at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        version=version,
    )
