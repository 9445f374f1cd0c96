"""Saved states of solutions: what the world of a lab is like after one of its tasks, to go there without solving again.

A state is a folder in the place's `saved`, named by the hash of what made it: the lesson up to that task, the files
that it starts from, and what the world says that it depends on (images, engine, QEMU). It is written beside and then
renamed, so that it is there whole or not at all. Nothing of the learner's is in it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from lab_helpers.core.settings import Place
from lab_helpers.core.store import write_atomic
from lab_helpers.course.declare import Lab
from lab_helpers.course.lesson import Lesson, Section
from lab_helpers.course.workspace import NOTEBOOK, sources

VERSION = 1
"""Of the form in which states are kept: another one makes all of them invalid."""
LIMIT_BYTES = 4 * 2**30
"""What all saved states of a place may take; the least recently used ones go first."""
SPARE_BYTES = 3 * 2**30
"""Nothing is saved where less than this would be free on the disk afterwards."""
RECORD = "state.json"
PART = ".part-"


class Facts(BaseModel):
    """What a state's record says."""

    model_config = ConfigDict(frozen=True)

    lab: str
    task: str
    passed: tuple[str, ...]
    """The tasks that passed then, of the state's own and those that it builds upon."""
    solved_s: float
    """How long it took to solve up to here, in seconds."""
    useless: str = ""
    """Why it is not to be used: brought back once, it was not what it had been."""


@dataclass(frozen=True)
class SavedState:
    """One saved state."""

    folder: Path
    facts: Facts

    @property
    def files(self) -> Path:
        """The learner's folder, notebooks aside."""
        return self.folder / "files"

    @property
    def world(self) -> Path:
        """What is outside of the folder."""
        return self.folder / "world"

    def used(self) -> None:
        """It is the last one to go when room is needed."""
        with contextlib.suppress(OSError):
            os.utime(self.folder / RECORD)

    def give_up(self, why: str) -> None:
        """Never use it again, and do not save it again either: what is saved in its place would be no better."""
        facts = self.facts.model_copy(update={"useless": why})
        write_atomic(self.folder / RECORD, facts.model_dump_json(indent=1))
        for part in (self.files, self.world):
            shutil.rmtree(part, ignore_errors=True)


def key(place: Place, lab: Lab, lesson: Lesson, section: Section, world_key: str) -> str:
    """The hash of what makes the state after a task. Any change of the lesson up to there gives another one."""
    digest = hashlib.sha256(f"{VERSION}\0{lab.name}\0{world_key}\0".encode())
    for cell in lesson.cells[: section.check + 1]:
        if cell.is_code:
            digest.update(f"{cell.source}\0".encode())
    for name, file in sources(place, lab):
        if name == NOTEBOOK:  # what counts of it are the cells
            continue
        digest.update(f"{name}\0{file.stat().st_mode & 0o111:o}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()[:20]


def find(place: Place, lab: Lab, task: str, state_key: str) -> SavedState | None:
    """The state of that key, if it was saved."""
    return _read(_folder(place, lab, task, state_key))


def _folder(place: Place, lab: Lab, task: str, state_key: str) -> Path:
    return place.saved / f"{lab.name.split('-')[0]}-{task}-{state_key}"


def _read(folder: Path) -> SavedState | None:
    try:
        return SavedState(folder, Facts.model_validate_json((folder / RECORD).read_text()))
    except (OSError, ValidationError):
        return None


def all_saved(place: Place) -> list[SavedState]:
    """All saved states, the least recently used first."""
    found = [state for path in place.saved.glob("*") if not path.name.startswith(PART) and (state := _read(path))]
    return sorted(found, key=lambda state: (state.folder / RECORD).stat().st_mtime)


@contextlib.contextmanager
def writing(place: Place, lab: Lab, state_key: str, facts: Facts) -> Iterator[SavedState]:
    """Fill the state inside of the block; at its end it takes the place of any older one of its task."""
    target = _folder(place, lab, facts.task, state_key)
    part = place.saved / f"{PART}{target.name}"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True, mode=0o700)
    try:
        yield SavedState(part, facts)
        write_atomic(part / RECORD, facts.model_dump_json(indent=1))
        for older in all_saved(place):
            if (older.facts.lab, older.facts.task) == (lab.name, facts.task):
                remove(older)
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def remove(state: SavedState) -> None:
    """Forget a state. Its record goes first: what a kill leaves is no state any more."""
    (state.folder / RECORD).unlink(missing_ok=True)
    shutil.rmtree(state.folder, ignore_errors=True)


def make_room(place: Place, limit_bytes: int = LIMIT_BYTES) -> list[str]:
    """Keep within the limit, and remove what killed writers left. Returns the names of the states that went."""
    states = all_saved(place)
    known = {state.folder for state in states}
    for path in place.saved.glob("*"):
        if path not in known:
            shutil.rmtree(path, ignore_errors=True)
    sizes = {state.folder: size_of(state.folder) for state in states}
    gone = []
    for state in states[:-1]:  # the newest one stays in any case
        if sum(sizes.values()) <= limit_bytes:
            break
        del sizes[state.folder]
        remove(state)
        gone.append(state.folder.name)
    return gone


def has_room(place: Place) -> bool:
    """True when the disk has room for one more."""
    place.saved.mkdir(parents=True, exist_ok=True, mode=0o700)
    return shutil.disk_usage(place.saved).free > SPARE_BYTES


def size_of(folder: Path) -> int:
    """What a folder takes on the disk, in bytes; holes in files take nothing."""
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def remove_all(place: Place) -> int:
    """Forget all states. Returns how many there were."""
    count = len(all_saved(place))
    shutil.rmtree(place.saved, ignore_errors=True)
    return count


def age_s(state: SavedState) -> float:
    """How long ago it was used or saved, in seconds."""
    return time.time() - (state.folder / RECORD).stat().st_mtime
