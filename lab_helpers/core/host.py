"""The host: where the boundaries of the course run, and what its own kernel says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path


def boot_id() -> str:
    """A text that the host's kernel made when it started; a different kernel has a different one."""
    if sys.platform == "darwin":
        return subprocess.run(
            ["sysctl", "-n", "kern.bootsessionuuid"], capture_output=True, text=True, check=False
        ).stdout.strip()
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def release() -> str:
    """The release of the host's kernel, as uname says it."""
    return os.uname().release


def sysctl(path: str) -> str | None:
    """The value of a setting of the host's kernel, by its path under /proc/sys; None where there is no such setting."""
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None
