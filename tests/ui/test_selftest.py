"""`lab test`: stages, their counts, and the line that a CI reads."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lab_helpers.core.errors import ExitCode
from lab_helpers.core.settings import Place
from lab_helpers.core.settings import place as real_place
from lab_helpers.course.engine import lab_names
from lab_helpers.ui.selftest import Stage, rows, run_tests
from lab_helpers.ui.terminal import Screen

PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir=.", "-c", "/dev/null")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # a second less for each run
    return replace(real_place(), root=tmp_path, state=tmp_path / "state")


def run(place: Place, *chosen: Stage) -> ExitCode:
    return run_tests(place, full=False, screen=Screen(), chosen=[chosen])


def quick(name: str, code: str) -> Stage:
    return Stage(name, (sys.executable, "-c", code))


def test_every_stage_runs_and_the_last_line_sums_up(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    (place.root / "test_some.py").write_text(
        "import pytest\n"
        "def test_a(): pass\n"
        "def test_b(): assert 0\n"
        "def test_c(): pytest.skip('no tool')\n"
        "@pytest.fixture\n"
        "def bad(): raise OSError\n"
        "def test_d(bad): pass\n"
    )
    code = run(
        place,
        quick("lint", "raise SystemExit(1)"),
        Stage("unit", (*PYTEST, "test_some.py"), counts=True),
        quick("types", "print('fine')"),
    )
    said = capfd.readouterr().out
    assert code is ExitCode.NOT_YET
    assert said.splitlines()[-1] == "2 passed, 3 failed, 1 skipped"
    assert "fine" in said
    assert "✘ lint" in said
    assert "✔ types" in said


def test_all_passed(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    (place.root / "test_some.py").write_text("def test_a(): pass\n")
    assert run(place, quick("x", ""), Stage("unit", (*PYTEST, "test_some.py"), counts=True)) is ExitCode.PASSED
    assert capfd.readouterr().out.splitlines()[-1] == "2 passed, 0 failed, 0 skipped"


@pytest.mark.parametrize(
    "text", ["", "def test_a(: pass\n", "import os\ndef test_a(): os._exit(7)\n"], ids=["no tests", "syntax", "crash"]
)
def test_a_stage_that_proves_nothing_has_failed(place: Place, text: str, capfd: pytest.CaptureFixture[str]) -> None:
    (place.root / "test_some.py").write_text(text)
    assert run(place, Stage("unit", (*PYTEST, "test_some.py"), counts=True)) is ExitCode.NOT_YET
    assert capfd.readouterr().out.splitlines()[-1] == "0 passed, 1 failed, 0 skipped"


def test_yesterdays_report_does_not_count(place: Place, capfd: pytest.CaptureFixture[str]) -> None:
    reports = place.state / "tests"
    reports.mkdir(parents=True)
    (reports / "unit.xml").write_text("<testsuites><testsuite><testcase/></testsuite></testsuites>")
    assert run(place, Stage("unit", (sys.executable, "-c", "raise SystemExit(3)"), counts=True)) is ExitCode.NOT_YET
    assert capfd.readouterr().out.splitlines()[-1] == "0 passed, 1 failed, 0 skipped"


def test_two_rows_run_side_by_side_and_what_they_say_does_not_mix(
    place: Place, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each waits for the other's file: one after the other they would wait for ever."""
    wait = "import pathlib, time\npathlib.Path('{}').touch()\nwhile not pathlib.Path('{}').exists(): time.sleep(.01)\n"
    speak = "print('{0}', flush=True); time.sleep(.05); print('{0}')"
    here = [
        [quick(name, wait.format(name, other) + speak.format(name))] for name, other in (("one", "two"), ("two", "one"))
    ]
    assert run_tests(place, full=False, screen=Screen(), chosen=[tuple(row) for row in here]) is ExitCode.PASSED
    said = capfd.readouterr().out
    assert "one\none\n" in said
    assert "two\ntwo\n" in said
    assert said.splitlines()[-1] == "2 passed, 0 failed, 0 skipped"


def test_what_is_run() -> None:
    without, within = rows(real_place(), full=False)
    names = [stage.name for stage in (*without, *within)]
    assert {"ruff check", "mypy", "imports", "pinboard", "live", "browser", "engine"} < set(names)
    assert "browser with the engine" in names, "its loop is not to be shared with the kernels of other tests"
    assert [row[-1].name for row in (without, within)] == ["prove", "prove with the engine"]
    assert not [name for name in names if name.startswith("full")]
    more = [stage.name for row in rows(real_place(), full=True) for stage in row if stage.name not in names]
    assert more == ["full", "full with the engine"]


def test_every_lab_is_proven_once() -> None:
    proven = [word for row in rows(real_place(), full=False) for word in row[-1].argv if word[:1].isdigit()]
    assert sorted(proven) == lab_names(real_place())
