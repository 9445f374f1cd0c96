"""Surroundings of a test's own: a folder that is all of PATH, with links to real programs and scripts for others."""

from __future__ import annotations

import shutil
from pathlib import Path

BASIC = ("sh", "env", "cat", "true", "grep", "sed", "uname", "id", "dirname", "sleep", "touch")


class Bin:
    """The folder. `log` is where its scripts may note that they were called."""

    def __init__(self, folder: Path, *real: str) -> None:
        self.folder = folder
        self.log = folder.parent / f"{folder.name}.log"
        folder.mkdir(parents=True)
        self.real(*BASIC, *real)

    def real(self, *names: str) -> None:
        """Let these programs of the machine be found."""
        for name in names:
            found = shutil.which(name)
            assert found, f"{name} is not on this machine"
            (self.folder / name).symlink_to(found)

    def fake(self, name: str, script: str) -> None:
        """Put a shell script there, in place of what was there by that name. `$LOG` is the log."""
        path = self.folder / name
        path.unlink(missing_ok=True)
        path.write_text(f"#!/bin/sh\nLOG='{self.log}'\n{script}\n")
        path.chmod(0o755)

    def calls(self) -> list[str]:
        """What the scripts noted, a line each."""
        return self.log.read_text().splitlines() if self.log.exists() else []
