"""`lab prepare --all`: what is here, what the rest costs, and one part that fails does not keep the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab_helpers.core.errors import LabError, MachineError
from lab_helpers.core.events import Tell
from lab_helpers.core.settings import Place
from lab_helpers.course import preparing
from lab_helpers.course.declare import Lab
from lab_helpers.course.preparing import Cost, Part
from lab_helpers.ui.prepare import cost_lines
from lab_helpers.ui.text import plain
from tests.course.toy import place_at
from tests.toy_cli import Toy

LABS = [
    Lab("00-a", title="A", minutes=1),
    Lab("01-b", title="B", minutes=1, guest=True),
    Lab("05-c", title="C", minutes=1, needs_engine=True, needs_cluster=True),
]


def part(title: str, done: list[str], *, here: bool = False, error: LabError | None = None) -> Part:
    def make(place: Place, tell: Tell) -> None:
        del place, tell
        if error:
            raise error
        done.append(title)

    return Part(title, ("01", "05"), here, True, Cost(1500, 300, 120, 4000), make)


def test_what_the_labs_build_upon_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_OFFLINE", "1")
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/no-engine")
    monkeypatch.setenv("PATH", str(tmp_path))
    found = preparing.parts(place_at(tmp_path), LABS)
    assert [(one.title, one.labs, one.here) for one in found] == [
        ("guest disk", ("01",), False),
        ("base container image", ("05",), False),
        ("kind", ("05",), False),
        ("node image for kind", ("05",), False),
        ("kubectl", ("05",), False),
    ]
    assert preparing.parts(place_at(tmp_path), LABS[:1]) == []


def test_one_that_fails_does_not_keep_the_others(tmp_path: Path) -> None:
    done: list[str] = []
    trouble = MachineError("no engine", finding="ENGINE")
    wanted = [part("a", done), part("b", done, error=trouble), part("c", done)]
    assert preparing.make(place_at(tmp_path), wanted) == [trouble]
    assert done == ["a", "c"]


def test_the_costs_are_shown_and_summed_up_without_what_is_here() -> None:
    found = [part("a", [], here=True), part("b", []), part("c", [])]
    text = plain(cost_lines(found, free_mb=10_000))
    assert "here already" in text
    assert text.count("built here    1.5 GB    300 MB  about 2 min") == 2
    assert "Together: 3.0 GB to download, 600 MB on the disk, and 4.0 GB more while it is built; about 4 min." in text
    assert "not enough" not in text
    assert "That is not enough" in plain(cost_lines(found, free_mb=4_500))
    assert "Together" not in plain(cost_lines(found[:1], free_mb=1))


def test_with_everything_here_nothing_is_asked(tmp_path: Path) -> None:
    done = Toy.make(tmp_path).lab("prepare", "--all")
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "Everything for all labs is here.")
