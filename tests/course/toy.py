"""A small world for the tests: labs whose tasks are about files, and what a toy notebook calls.

It is imported by the tests and by the kernels that they start (it is in the checkout, which is on their PYTHONPATH).
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from lab_helpers.core.events import Tell, silent
from lab_helpers.core.settings import Place
from lab_helpers.course.declare import Lab
from lab_helpers.course.engine import WorldFor, check_task
from lab_helpers.course.incidents import break_lab
from lab_helpers.course.rules import Rules


@dataclass(frozen=True)
class ToyWorld:
    """Files in the work folder, and "machines": files in the state folder, which `clean` removes."""

    place: Place
    lab: str

    @property
    def work(self) -> Path:
        return self.place.work / self.lab

    @property
    def machines(self) -> Path:
        return self.place.state / "machines"

    def begin(self, lab: Lab | None = None) -> None:
        """Nothing has to be remembered of what was there before."""

    def reset(self, lab: Lab) -> list[str]:
        gone = [name for name in lab.vms if (self.machines / name).exists()]
        for name in gone:
            (self.machines / name).unlink()
        return gone

    def clean(self) -> list[str]:
        gone = self.leftovers()
        shutil.rmtree(self.machines, ignore_errors=True)
        return gone

    def saved_key(self, lab: Lab) -> str:
        del lab
        return (self.place.root / "engine").read_text() if (self.place.root / "engine").exists() else ""

    def save(self, lab: Lab, folder: Path, name: str) -> None:
        del lab, name
        self.machines.mkdir(parents=True, exist_ok=True)
        shutil.copytree(self.machines, folder)

    def cannot_bring(self, lab: Lab, folder: Path) -> str:
        del lab, folder
        return "the engine is another one" if (self.place.root / "other-engine").exists() else ""

    def bring(self, lab: Lab, folder: Path, tell: Tell = silent) -> None:
        del tell
        self.reset(lab)
        shutil.copytree(folder, self.machines, dirs_exist_ok=True)

    def forget_saved(self) -> None:
        """Everything is in the saved states' folders."""

    def leftovers(self) -> list[str]:
        return [f"machine {path.name}" for path in sorted(self.machines.glob("*"))]

    def others(self) -> list[str]:
        return []

    def taken(self, lab: Lab) -> list[str]:
        del lab
        return ["the container pinboard"] if (self.place.root / "taken").exists() else []


def toy_world(place: Place, lab: str) -> Any:
    return ToyWorld(place, lab)


RULES = Rules(world_for=cast(WorldFor, toy_world), kernel="ipykernel_launcher", cell_s=60, check_s=20, near_miss_s=10)


def place_at(root: Path) -> Place:
    """The place of a checkout at `root`, as settings.place() gives it for the real one."""
    return Place(root=root, home=root / "home", state=root / ".lab", work=root / "work")


def place_here() -> Place:
    """The place of the kernel that calls this."""
    state, root = Path(os.environ["LAB_STATE"]), Path(os.environ["TOY_ROOT"])
    work = root / "work" if state == root / ".lab" else state / "work"
    return Place(root=root, home=Path(os.environ["LAB_HOME"]), state=state, work=work)


def check(task: str) -> None:
    """What a toy notebook's check cell calls: looks, stores, and says so."""
    place = place_here()
    verdict = check_task(place, Path.cwd().name, task, world_for=cast(WorldFor, toy_world))
    sys.stdout.write(f"{task}: {verdict.outcome}, {verdict.points} of {verdict.total}\n")


def break_it(seed: int) -> None:
    """What `lab break` does, in a toy notebook."""
    place = place_here()
    started = break_lab(place, Path.cwd().name, seed, world_for=cast(WorldFor, toy_world))
    sys.stdout.write(f"{started.incident.symptom}\n")
