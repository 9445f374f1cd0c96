"""A checkout with one toy lab whose tasks have every outcome, and the real `lab` run on it as a program of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

TASKS = """
from lab_helpers.core.errors import MachineError
from lab_helpers.course.declare import Lab
from lab_helpers.course.verdict import Evidence

LAB = Lab("00-toy", title="A toy", minutes=5, memory_mib=512)
HINTS = {"missing": ("Make a file.", "echo hello > hello.txt", "It goes beside the notebook."), "empty": ("Write.",)}


@LAB.task("file", "Make a file", criteria={"there": (1, "there is a file"), "text": (2, "it has text")}, hints=HINTS)
def file(world):
    path = world.work / "hello.txt"
    there = path.is_file()
    yield Evidence(
        criterion="there", ok=there, looked="hello.txt", expected="a file", saw="a file" if there else "nothing",
        command="ls hello.txt", state="" if there else "missing",
    )
    if there:
        text = path.read_text()
        yield Evidence(
            criterion="text", ok=bool(text), looked="its text", expected="some", saw=text, state="" if text else "empty"
        )


@LAB.task("machine", "Need a tool", criteria={"tool": (1, "the tool answers")}, hints={})
def machine(world):
    if (world.work / "tool").exists():
        yield Evidence(criterion="tool", ok=True, looked="the tool", expected="an answer", saw="an answer")
        return
    raise MachineError("The tool is not on this machine.", finding="TOOL")


@LAB.task("bug", "Meet a bug", criteria={"bug": (1, "no bug")}, hints={})
def bug(world):
    if (world.work / "slow").exists():
        (world.work / "began").touch()
        import time

        time.sleep(60)
    if not (world.work / "mended").exists():
        raise ZeroDivisionError("a bug on purpose")
    yield Evidence(criterion="bug", ok=True, looked="the bug", expected="none", saw="none")
"""

LAB = "import pathlib, sys; from lab_helpers.core import settings; settings.CHECKOUT = pathlib.Path(sys.argv.pop(1)); "
LAB += "from lab_helpers.cli import main; main()"


@dataclass(frozen=True)
class Toy:
    """The checkout at `root`. Its state and work lie in `root/state`."""

    root: Path

    @classmethod
    def make(cls, root: Path) -> Toy:
        lab = root / "labs" / "00-toy"
        lab.mkdir(parents=True)
        (lab / "tasks.py").write_text(TASKS)
        toy = cls(root)
        toy.work.mkdir(parents=True)
        return toy

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def work(self) -> Path:
        return self.state / "work" / "00-toy"

    def argv(self, *words: str | bytes) -> list[str | bytes]:
        return [sys.executable, "-c", LAB, str(self.root), *words]

    def env(self, **more: str) -> dict[str, str]:
        home = {"LAB_STATE": str(self.state), "LAB_HOME": str(self.root / "home"), "HOME": str(self.root / "user")}
        return {**os.environ, **home, **more}

    def lab(self, *words: str | bytes, **more: str) -> subprocess.CompletedProcess[str]:
        """Run `lab` with these words, without a terminal; `more` is added to its environment."""
        return subprocess.run(
            self.argv(*words),
            env=self.env(**more),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="surrogateescape",
            timeout=60,
            check=False,
        )
