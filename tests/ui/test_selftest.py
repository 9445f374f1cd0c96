"""`lab test`: stages, their counts, and the line that a CI reads."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lab_helpers.core.errors import ExitCode
from lab_helpers.core.settings import Place
from lab_helpers.core.settings import place as real_place
from lab_helpers.ui.selftest import Stage, run_tests, stages
from lab_helpers.ui.terminal import Screen

PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir=.", "-c", "/dev/null")


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # a second less for each run
    return replace(real_place(), root=tmp_path, state=tmp_path / "state")


def run(place: Place, *chosen: Stage) -> ExitCode:
    return run_tests(place, full=False, screen=Screen(), chosen=chosen)


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


def test_what_is_run(place: Place) -> None:
    names = [stage.name for stage in stages(full=False)]
    assert {"ruff check", "mypy", "imports", "pinboard", "live", "browser", "prove"} < set(names)
    assert "full" not in names
    assert [stage.name for stage in stages(full=True) if stage.name not in names] == ["full"]
    assert names[-1] == "prove"
