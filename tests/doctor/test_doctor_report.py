"""The report: what it comes to, and that its JSON stays what programs rely on."""

from __future__ import annotations

import json

import pytest

from lab_helpers.core.errors import ExitCode
from lab_helpers.doctor import CHECKS, Finding, Level, Report
from lab_helpers.ui.doctor import report_lines
from lab_helpers.ui.text import plain


def finding(level: Level, name: str = "QEMU", **more: object) -> Finding:
    return Finding.model_validate({"id": name, "level": level, "title": "t", "saw": "s", **more})


@pytest.mark.parametrize(
    ("levels", "worst", "code"),
    [
        ([], Level.OK, ExitCode.PASSED),
        ([Level.OK, Level.NOTE], Level.NOTE, ExitCode.PASSED),
        ([Level.WARN, Level.OK], Level.WARN, ExitCode.PASSED),
        ([Level.NOTE, Level.FAIL, Level.WARN], Level.FAIL, ExitCode.MACHINE),
    ],
)
def test_only_a_failure_changes_the_exit_code(levels: list[Level], worst: Level, code: ExitCode) -> None:
    report = Report(findings=tuple(finding(level) for level in levels))
    assert (report.worst, report.exit_code) == (worst, code)


def test_facts_are_gathered_and_what_nobody_saw_is_unknown() -> None:
    seen = finding(Level.OK, "MEMORY", facts={"memory_mib": 8000, "cpus": 4, "memory_free_mib": 100})
    facts = Report(findings=(seen,)).facts
    assert (facts.memory_mib, facts.cpus, facts.accelerator, facts.disk_free_mib) == (8000, 4, "unknown", 0)


def test_a_finding_that_does_not_exist() -> None:
    with pytest.raises(KeyError):
        Report(findings=()).finding("NOPE")


def test_the_ids_are_a_contract() -> None:
    """Errors, verdicts and lessons name them: one may be added, none may change."""
    assert set(CHECKS) >= {
        *("HOST", "PYTHON", "STATE-WRITABLE", "ACCEL", "MEMORY", "DISK", "PORTS", "NETWORK"),
        *("QEMU", "SSH", "CURL", "IMAGE-BUILDER", "GUEST-IMAGE", "ENGINE", "BROWSER", "POSTGRESQL"),
        *("ENGINE-GROUP", "ENGINE-PLAIN", "ENGINE-PRIVILEGED", "ENGINE-STORAGE", "CGROUP", "INOTIFY"),
    }


def test_the_json_is_a_contract() -> None:
    said = json.loads(Report(findings=(finding(Level.FAIL, packages=("a",)),)).model_dump_json())
    assert set(said) == {"schema_version", "findings", "seconds", "worst", "facts"}
    assert said["schema_version"] == 1
    assert said["worst"] == "fail"
    assert set(said["facts"]) == {"os", "arch", "accelerator", "memory_mib", "cpus", "disk_free_mib"}
    assert set(said["findings"][0]) == {"id", "level", "title", "saw", "advice", "fixable", "packages", "facts"}
    assert said["findings"][0]["packages"] == ["a"]


def test_the_text_names_ids_and_advice_and_what_stands_in_the_way() -> None:
    report = Report(findings=(finding(Level.OK, "SSH"), finding(Level.FAIL, advice="brew install qemu")))
    said = plain(report_lines(report))
    assert "✔ SSH" in said
    assert "✘ QEMU" in said
    assert "→ brew install qemu" in said
    assert said.splitlines()[-1].startswith("1 of these must be put right")


def test_output_of_a_program_cannot_move_the_cursor() -> None:
    report = Report(findings=(Finding(id="X", level=Level.WARN, title="t", saw="a\x1b[2Jb"),))
    assert "\x1b" not in plain(report_lines(report))
