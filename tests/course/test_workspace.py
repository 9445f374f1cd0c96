"""The work folder: opened, refreshed where it is safe, reset, and never overwritten."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from lab_helpers.core.errors import LabError
from lab_helpers.core.events import Event, Note
from lab_helpers.core.settings import Place
from lab_helpers.course import progress
from lab_helpers.course.build import build
from lab_helpers.course.workspace import clean_all, is_pristine, open_lab, reset
from tests.course.toy import RULES
from tests.course.toy_labs import checkout

TOY = RULES.world_for


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    made = checkout(tmp_path, monkeypatch)
    files = made.labs / "01-toy" / "files"
    (files / "conf").mkdir(parents=True)
    (files / "conf" / "app.ini").write_text("port = 1\n")
    (files / "run.sh").write_text("#!/bin/sh\n")
    (files / "run.sh").chmod(0o755)
    (made.labs / "pinboard" / "service").mkdir(parents=True)
    (made.labs / "pinboard" / "service" / "service.py").write_text("pass\n")
    tasks = made.labs / "01-toy" / "tasks.py"
    tasks.write_text(tasks.read_text() + '\nLAB.shared = ("pinboard/service",)\n')
    build(made, rules=RULES)
    return made


def course_changes(place: Place, text: str = "Say hello, loudly.") -> None:
    lesson = place.labs / "01-toy" / "lab.md"
    lesson.write_text(lesson.read_text().replace("Say hello.", text))
    build(place, rules=RULES)


def opened(place: Place) -> tuple[Path, list[str]]:
    told: list[Event] = []
    notebook = open_lab(place, "01", told.append)
    return notebook, [event.text for event in told if isinstance(event, Note)]


def test_opening_copies_the_notebook_and_the_files(place: Place) -> None:
    notebook, told = opened(place)
    work = place.work / "01-toy"
    assert notebook == work / "lab.ipynb"
    assert notebook.read_bytes() == (place.labs / "01-toy" / "lab.ipynb").read_bytes()
    assert (work / "conf" / "app.ini").read_text() == "port = 1\n"
    assert (work / "run.sh").stat().st_mode & 0o777 == 0o755
    assert (work / "service" / "service.py").read_text() == "pass\n", "what the labs share is copied"
    assert not (work / "solution.ipynb").exists()
    assert told == []
    assert progress.read(place).lab("01-toy").opened_at is not None


def test_opening_again_changes_nothing(place: Place) -> None:
    notebook, _ = opened(place)
    notebook.write_text("mine")
    (place.work / "01-toy" / "run.sh").unlink()
    (place.work / "01-toy" / "conf" / "app.ini").write_text("port = 2\n")
    assert opened(place)[1] == []
    assert notebook.read_text() == "mine"
    assert not (place.work / "01-toy" / "run.sh").exists(), "the learner removed it"
    assert (place.work / "01-toy" / "conf" / "app.ini").read_text() == "port = 2\n"


def test_a_lost_notebook_comes_back(place: Place) -> None:
    opened(place)[0].unlink()
    assert opened(place)[0].is_file()


def test_an_untouched_notebook_is_brought_up_to_date(place: Place) -> None:
    notebook, _ = opened(place)
    course_changes(place)
    told = opened(place)[1]
    assert "hello, loudly" in notebook.read_text()
    assert len(told) == 1
    assert "brought up to date" in told[0]
    assert not notebook.with_name("lab.new.ipynb").exists()


def test_a_notebook_that_was_written_in_stays_and_the_new_one_is_put_beside_it(place: Place) -> None:
    notebook, _ = opened(place)
    mine = notebook.read_text().replace("Well done.", "My notes.")
    notebook.write_text(mine)
    course_changes(place)
    told = opened(place)[1]
    new = notebook.with_name("lab.new.ipynb")
    assert notebook.read_text() == mine
    assert "hello, loudly" in new.read_text()
    assert len(told) == 1
    assert str(new) in told[0]
    assert opened(place)[1] == [], "told once"

    lesson = place.labs / "01-toy" / "lab.md"
    lesson.write_text(lesson.read_text().replace("Well done.", "Very well done."))
    build(place, rules=RULES)
    opened(place)
    assert "Very well done." in new.read_text(), "ours, and untouched: the newest one takes its place"
    new.write_text("notes in the new one")
    lesson.write_text(lesson.read_text().replace("Very well done.", "The end."))
    build(place, rules=RULES)
    opened(place)
    assert new.read_text() == "notes in the new one"
    assert "The end." in notebook.with_name("lab.new2.ipynb").read_text()
    assert notebook.read_text() == mine


def test_files_are_treated_like_the_notebook(place: Place) -> None:
    opened(place)
    work, files = place.work / "01-toy", place.labs / "01-toy" / "files"
    (work / "conf" / "app.ini").write_text("port = 2\n")
    (files / "conf" / "app.ini").write_text("port = 3\n")
    (files / "run.sh").write_text("#!/bin/sh\necho new\n")
    opened(place)
    assert (work / "conf" / "app.ini").read_text() == "port = 2\n"
    assert (work / "conf" / "app.new.ini").read_text() == "port = 3\n"
    assert (work / "run.sh").read_text() == "#!/bin/sh\necho new\n"


def test_a_folder_that_was_there_before_is_not_overwritten(place: Place) -> None:
    work = place.work / "01-toy"
    work.mkdir(parents=True)
    (work / "lab.ipynb").write_text("mine, from an older checkout")
    opened(place)
    assert (work / "lab.ipynb").read_text() == "mine, from an older checkout"
    assert (work / "lab.new.ipynb").is_file()


def test_reset_keeps_what_was_written_and_opens_afresh(place: Place) -> None:
    notebook, _ = opened(place)
    work = notebook.parent
    (work / "greeting.txt").write_text("hello")
    (place.state / "machines").mkdir()
    (place.state / "machines" / "box").touch()
    (place.state / "machines" / "other").touch()
    inode = work.stat().st_ino
    told: list[Event] = []
    assert reset(place, "01", told.append, world_for=TOY) == notebook
    kept = list((place.work / ".kept").iterdir())
    assert [folder.name[:7] for folder in kept] == ["01-toy-"]
    assert (kept[0] / "greeting.txt").read_text() == "hello"
    assert isinstance(told[0], Note)
    assert str(kept[0]) in told[0].text
    assert not (work / "greeting.txt").exists()
    assert is_pristine(place, "01")
    assert work.stat().st_ino == inode, "a shell that stands in the folder still does"
    assert [path.name for path in (place.state / "machines").iterdir()] == ["other"], "only the lab's own VMs"


def test_reset_of_an_untouched_lab_keeps_nothing(place: Place) -> None:
    opened(place)
    reset(place, "01", world_for=TOY)
    reset(place, "01", world_for=TOY)
    assert not (place.work / ".kept").exists()
    assert is_pristine(place, "01")


@pytest.mark.parametrize("change", ["edit", "remove", "add", "link"])
def test_any_change_counts_as_written(place: Place, change: str) -> None:
    work = opened(place)[0].parent
    match change:
        case "edit":
            (work / "conf" / "app.ini").write_text("port = 2\n")
        case "remove":
            (work / "run.sh").unlink()
        case "add":
            (work / "conf" / "more.ini").touch()
        case "link":
            (work / "link").symlink_to("/etc/hostname")
    assert not is_pristine(place, "01")


def test_clean_removes_what_is_ours_and_lists_the_rest(place: Place) -> None:
    notebook, _ = opened(place)
    (place.state / "machines").mkdir()
    (place.state / "machines" / "box").touch()
    cleaned = clean_all(place, world_for=TOY)
    assert cleaned.removed == ("machine box",)
    assert cleaned.left == ()
    assert notebook.is_file()
    assert place.progress.is_file()


def test_a_lab_without_a_notebook_says_how_to_make_it(place: Place) -> None:
    (place.labs / "01-toy" / "lab.ipynb").unlink()
    with pytest.raises(LabError) as caught:
        open_lab(place, "01")
    assert caught.value.do == "run `lab build 01`"


def test_a_work_folder_that_cannot_be_written_is_told_in_a_sentence(place: Place) -> None:
    place.work.write_text("a file in the place of the folder")
    with pytest.raises(LabError, match="cannot be written"):
        open_lab(place, "01")


def test_a_damaged_memory_of_what_was_given_costs_nobody_their_work(place: Place) -> None:
    notebook, _ = opened(place)
    notebook.write_text("mine")
    record = place.state / "opened" / "01-toy.json"
    assert "lab.ipynb" in json.loads(record.read_text())
    record.write_text('{"half')
    course_changes(place)
    opened(place)
    assert notebook.read_text() == "mine"
    assert notebook.with_name("lab.new.ipynb").is_file()
