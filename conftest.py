"""For all tests: in CI every tool is there, so a test that would be skipped elsewhere fails."""

from __future__ import annotations

from collections.abc import Generator

import pytest

from lab_helpers.core.settings import in_ci


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    del call
    report = yield
    may_skip = item.get_closest_marker("optional") is not None or hasattr(report, "wasxfail")
    if in_ci() and report.skipped and not may_skip:
        why = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        report.outcome = "failed"
        report.longrepr = f"In CI nothing may be skipped. {why}"
    return report
