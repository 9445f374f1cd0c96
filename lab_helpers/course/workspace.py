"""The learner's work folder: opened from the lesson, reset, and never overwritten.

What was put there is remembered by hash in the place's state, so that a file that the learner has not touched can be
brought up to date, and one that they have written in stays as it is.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from lab_helpers.core.errors import LabError
from lab_helpers.core.events import Note, Progress, Tell, silent
from lab_helpers.core.settings import Place
from lab_helpers.core.store import locked, write_atomic
from lab_helpers.course import engine, progress
from lab_helpers.course.declare import Lab
from lab_helpers.course.engine import WorldFor, load_lab

NOTEBOOK = "lab.ipynb"
KEPT = ".kept"


@dataclass
class _Given:
    """What the course put into a work folder: file -> hash of what it put there."""

    path: Path
    files: dict[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, place: Place, lab: str) -> _Given:
        path = place.state / "opened" / f"{lab}.json"
        try:
            files = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            files = {}
        return cls(path, {str(k): str(v) for k, v in files.items()} if isinstance(files, dict) else {})

    def write(self) -> None:
        write_atomic(self.path, json.dumps(self.files, indent=1, sort_keys=True) + "\n")

    def untouched(self, name: str, file: Path) -> bool:
        """True when the file is still what was put there."""
        return name in self.files and _hash(file) == self.files[name]


def open_lab(place: Place, lab: Lab | str, tell: Tell = silent, *, world_for: WorldFor = engine.world_for) -> Path:
    """Bring the lab's notebook and files into the work folder; returns the learner's notebook.

    What is there stays. A file that the course has changed since is refreshed if the learner has not touched it; else
    the new one is put beside it (lab.new.ipynb), and that is told. Raises LabError when a file cannot be written.
    """
    lab = load_lab(place, lab)
    work = place.work / lab.name
    source = place.labs / lab.name
    if not (source / NOTEBOOK).is_file():
        raise LabError(f"The lab {lab.name} has no notebook yet.", do=f"run `lab build {lab.name.split('-')[0]}`")
    with _writing(work), locked(place.state / "opened" / f"{lab.name}.lock"):
        work.mkdir(parents=True, exist_ok=True)
        given = _Given.read(place, lab.name)
        for name, file in _sources(place, lab):
            _give(name, file, work, given, tell)
        given.write()
    world_for(place, lab.name).begin(lab)
    progress.record_opened(place, lab.name)
    return work / NOTEBOOK


def _sources(place: Place, lab: Lab) -> Iterator[tuple[str, Path]]:
    """The files that a learner starts from: name in the work folder -> file."""
    folder = place.labs / lab.name
    yield NOTEBOOK, folder / NOTEBOOK
    yield from _tree(folder / "files")
    for shared in lab.shared:
        top = place.labs / shared
        if not top.is_dir():
            raise LabError(
                f"The lab {lab.name} needs the folder {top}, which is not there.",
                why="a part of the checkout is missing",
                do="bring it back as it was (`git checkout`)",
            )
        yield from ((f"{top.name}/{name}", file) for name, file in _tree(top))


def _tree(top: Path) -> Iterator[tuple[str, Path]]:
    for here, folders, names in os.walk(top):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(names):
            file = Path(here, name)
            yield file.relative_to(top).as_posix(), file


def _give(name: str, source: Path, work: Path, given: _Given, tell: Tell) -> None:
    target = work / name
    fresh = _hash(source)
    if not os.path.lexists(target):
        if name == NOTEBOOK or name not in given.files:  # another file that is gone was removed by the learner
            _put(source, target)
            given.files[name] = fresh
        return
    if _hash(target) == fresh:
        given.files[name] = fresh
        return
    if given.untouched(name, target):
        _put(source, target)
        given.files[name] = fresh
        tell(Note(f"{name} was brought up to date; you had not changed it."))
        return
    if given.files.get(name) == fresh:
        return
    beside = _beside(name, work, given)
    if fresh == given.files.get(beside):
        return
    _put(source, work / beside)
    given.files[beside] = fresh
    tell(Note(f"The course has a newer {name}. Yours stays as it is; the new one is {work / beside}."))


def _beside(name: str, work: Path, given: _Given) -> str:
    """A name beside `name` that is free, or that holds what we put there ourselves."""
    stem, dot, suffix = name.rpartition(".") if "." in Path(name).name else (name, "", "")
    number = 1
    while True:
        candidate = f"{stem}.new{number if number > 1 else ''}{dot}{suffix}"
        if not os.path.lexists(work / candidate) or given.untouched(candidate, work / candidate):
            return candidate
        number += 1


def _put(source: Path, target: Path) -> None:
    """Copy a file so that a reader sees the old one or the new one whole. Its mode is kept, but it is writable."""
    target.parent.mkdir(parents=True, exist_ok=True)
    half = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        shutil.copyfile(source, half)
        half.chmod((source.stat().st_mode & 0o777) | 0o600)
        half.replace(target)
    finally:
        half.unlink(missing_ok=True)


def _hash(file: Path) -> str:
    if not file.is_file():
        return ""
    return hashlib.sha256(file.read_bytes()).hexdigest()


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Turns what the file system refuses into a sentence."""
    try:
        yield
    except OSError as error:
        raise LabError(
            f"The work folder {folder} cannot be written.",
            why=f"{error.filename or folder}: {error.strerror or error}",
            do="make room on the disk, or make the folder writable",
        ) from None


def is_pristine(place: Place, lab: Lab | str) -> bool:
    """True when the work folder holds nothing but what the course put there, unchanged, or is not there."""
    lab = load_lab(place, lab)
    work = place.work / lab.name
    given = _Given.read(place, lab.name)
    skip = (".ipynb_checkpoints", "__pycache__")
    files = [f for f in work.rglob("*") if not f.is_dir() and not set(skip) & set(f.relative_to(work).parts)]
    if any(not given.untouched(file.relative_to(work).as_posix(), file) for file in files):
        return False
    return not work.is_dir() or set(given.files) <= {file.relative_to(work).as_posix() for file in files}


def reset(place: Place, lab: Lab | str, tell: Tell = silent, *, world_for: WorldFor = engine.world_for) -> Path:
    """Back to the lab's beginning: what its steps made is removed, its folder opened fresh; returns the notebook.

    What the learner wrote is moved to work/.kept/, unless nothing was written. Progress stays.
    """
    lab = load_lab(place, lab)
    world_for(place, lab.name).reset(lab)
    work = place.work / lab.name
    with _writing(work):
        if is_pristine(place, lab):
            shutil.rmtree(work, ignore_errors=True)
        else:
            kept = place.work / KEPT / f"{lab.name}-{datetime.now().strftime('%Y%m%d-%H%M%S-%f')}"
            kept.mkdir(parents=True)
            for item in list(work.iterdir()):  # not the folder itself: shells and kernels that stand in it stay there
                item.rename(kept / item.name)
            tell(Note(f"What you wrote is kept in {kept}."))
        _Given.read(place, lab.name).path.unlink(missing_ok=True)
    return open_lab(place, lab, tell, world_for=world_for)


@dataclass(frozen=True)
class Cleaned:
    """What `clean` removed, what of the course it could not remove, and what else appeared, one line each."""

    removed: tuple[str, ...]
    left: tuple[str, ...]
    others: tuple[str, ...] = ()


def clean_all(place: Place, tell: Tell = silent, *, world_for: WorldFor = engine.world_for) -> Cleaned:
    """Remove what the labs of this place made and nothing else. Work, progress and caches stay."""
    world = world_for(place, "")
    tell(Progress("cleaning up"))
    return Cleaned(tuple(world.clean()), tuple(world.leftovers()), tuple(world.others()))
