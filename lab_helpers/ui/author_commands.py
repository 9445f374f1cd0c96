"""The commands of those who write and test the course; `lab` shows them after the learner's."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lab_helpers.core.settings import place
from lab_helpers.ui.command_parts import AsJson, LabNames, print_json
from lab_helpers.ui.command_parts import screen as open_screen


def register(app: typer.Typer) -> None:
    """Add them to the command."""
    for command in (build, prove, bench, test):
        app.command()(command)


def build(
    labs: LabNames = None,
    run: Annotated[bool, typer.Option("--run", help="run the solutions for their reference outputs")] = False,
    check_only: Annotated[bool, typer.Option("--check", help="write nothing; fail when a notebook is stale")] = False,
) -> None:
    """For authors: make the notebooks from the sources."""
    from lab_helpers.course.build import build as build_labs
    from lab_helpers.ui.listing import build_lines

    with open_screen() as screen:
        report = build_labs(place(), labs or (), run=run, check=check_only, tell=screen.tell)
        screen.show(build_lines(report))
    raise typer.Exit(report.exit_code)


def prove(
    labs: LabNames = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="write a JUnit report")] = None,
    as_json: AsJson = False,
) -> None:
    """Prove that the labs' checks can be trusted.

    Each check fails first, the solution passes it, every near miss is rejected, and nothing is left over."""
    from lab_helpers.core.store import write_atomic
    from lab_helpers.course.prove import prove as prove_labs
    from lab_helpers.ui.listing import proof_lines

    with open_screen() as screen:
        report = prove_labs(place(), labs or (), tell=screen.tell)
        if junit is not None:
            write_atomic(junit, report.junit())
        if as_json:
            print_json(report)
        else:
            screen.show(proof_lines(report))
    raise typer.Exit(report.exit_code)


def bench(
    measures: Annotated[list[str] | None, typer.Argument(metavar="[MEASURE]...", help="none: all")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure the times that the course promises, as ratios."""
    from lab_helpers.ui.bench import run_bench

    raise typer.Exit(run_bench(place(), measures or [], as_json))


def test(full: Annotated[bool, typer.Option("--full", help="also what takes long")] = False) -> None:
    """Run all tests of the course, as CI does."""
    from lab_helpers.ui.selftest import run_tests

    with open_screen() as screen:
        raise typer.Exit(run_tests(place(), full=full, screen=screen))
