"""Where things are: the checkout, the shared caches, the state of this checkout. Reading this touches nothing.

LAB_HOME (default: the platform's cache folder) holds what is shared between checkouts: images and tools.
LAB_STATE (default: `.lab` in the checkout) holds what belongs to this checkout alone: VMs, keys, progress, journal.
LAB_OFFLINE=1 forbids every access to the network.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

WRAPPERS = "lab-wrappers"
"""The name of a place's folder of wrappers around programs; no other folder on a PATH has it."""

CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Place:
    """One learner's place: every path that the course uses follows from it."""

    root: Path
    """The checkout."""
    home: Path
    """LAB_HOME: caches, addressed by content, shared between checkouts."""
    state: Path
    """What belongs to this checkout alone."""
    work: Path
    """Where the learner's notebooks and files are."""

    @property
    def labs(self) -> Path:
        return self.root / "labs"

    @property
    def vms(self) -> Path:
        return self.state / "vms"

    @property
    def images(self) -> Path:
        return self.home / "images"

    @property
    def bin(self) -> Path:
        """Small programs that stand first on the learner's PATH, such as an ssh that knows the course's VMs."""
        return self.state / WRAPPERS

    @property
    def journal(self) -> Path:
        return self.state / "journal.jsonl"

    @property
    def progress(self) -> Path:
        return self.state / "progress.jsonl"

    @property
    def mark(self) -> str:
        """A short word that no other place of this machine has: things that many places share carry it."""
        return hashlib.sha256(str(self.state).encode()).hexdigest()[:10]

    @property
    def sockets(self) -> Path:
        """A short folder for Unix sockets, whose paths may be 104 bytes at most; other users cannot enter it."""
        base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
        if len(base) > 50:
            base = "/tmp"  # noqa: S108 - the folder below is ours alone: mode 0700, checked when it is made
        return Path(base) / f"lab-{os.getuid()}-{self.mark}"

    def env(self) -> dict[str, str]:
        """The environment in which the learner's commands run: `lab env` prints it, the notebooks' kernel has it."""
        own = Path(sys.prefix) / "bin"  # `.venv` in the checkout, or conda's environment
        path = [str(self.bin), str(own), str(self.home / "bin")]
        seen = [part for part in os.environ.get("PATH", "").split(os.pathsep) if part and part not in path]
        return {
            "PATH": os.pathsep.join([*path, *seen]),
            "LAB_HOME": str(self.home),
            "LAB_STATE": str(self.state),
            "KUBECONFIG": str(self.state / "kubeconfig"),
        }


def place() -> Place:
    """The place of this process, out of its environment."""
    default_state = CHECKOUT / ".lab"
    state = Path(os.environ["LAB_STATE"]).absolute() if os.environ.get("LAB_STATE") else default_state
    if os.environ.get("LAB_HOME"):
        home = Path(os.environ["LAB_HOME"]).absolute()
    else:
        from platformdirs import user_cache_path

        home = user_cache_path("vm-to-kubernetes", appauthor=False)
    work = CHECKOUT / "work" if state == default_state else state / "work"
    return Place(root=CHECKOUT, home=home, state=state, work=work)


def offline() -> bool:
    """True when the learner forbids every access to the network (LAB_OFFLINE=1)."""
    return os.environ.get("LAB_OFFLINE", "") not in ("", "0")


def in_ci() -> bool:
    """True in CI, where a live test whose tool is missing fails instead of being skipped."""
    return os.environ.get("CI", "").lower() in ("1", "true", "yes")
