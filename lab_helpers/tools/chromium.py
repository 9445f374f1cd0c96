"""A Chromium that a program can drive, for the browser tests."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from lab_helpers.core.processes import find_program
from lab_helpers.tools import apt

FLAGS = [
    *(["--no-sandbox"] if os.getuid() == 0 else []),  # Chromium's own sandbox refuses root
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-gpu",
]
"""With which a program starts it: it looks for nothing in the network, and works without a display."""


def find_chromium() -> Path | None:
    """The executable: Debian's chromium or a Chrome on PATH, else the newest that playwright has downloaded.

    Ubuntu's is a snap, which cannot read the folders of a test: it does not count.
    """
    for name in ("chromium", "google-chrome", "chromium-browser"):
        path = find_program(name)
        if path and not _is_snap(path):
            return path
    return _downloaded()


def _is_snap(path: Path) -> bool:
    snap = path.is_relative_to("/snap") or path.resolve().name == "snap"
    return snap or (path.name == "chromium-browser" and apt.os_release().get("ID") == "ubuntu")


def _downloaded() -> Path | None:
    default = Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "ms-playwright"
    folder = Path(os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or default)
    builds = [path.parent for path in folder.glob("chromium-*/INSTALLATION_COMPLETE")]
    for build in sorted(builds, key=lambda path: int(path.name.rpartition("-")[2]), reverse=True):
        for pattern in ("chrome-linux*/chrome", "chrome-mac*/*.app/Contents/MacOS/*"):
            for program in build.glob(pattern):
                return program
    return None
