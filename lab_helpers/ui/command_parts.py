"""What the commands share: the arguments that several of them take, and where they answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pydantic import BaseModel

    from lab_helpers.ui.terminal import Screen

LabName = Annotated[str, typer.Argument(metavar="LAB", help="the lab: its name or its number")]
LabNames = Annotated[list[str] | None, typer.Argument(metavar="LAB...", help="labs, by name or number; none: all")]
TaskName = Annotated[str, typer.Argument(metavar="TASK", help="the task")]
MaybeTask = Annotated[str | None, typer.Argument(metavar="TASK", help="the task; none: all of the lab")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON, as docs/schema describes it")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="do not ask")]


def screen() -> Screen:
    """Where a command talks to its user."""
    from lab_helpers.ui.terminal import Screen

    return Screen()


def print_json(model: BaseModel) -> None:
    """The answer for a program."""
    print(model.model_dump_json(indent=2))  # noqa: T201 - stdout is for the program that asked
