"""The one root of all errors that this package raises on purpose, and the exit codes of the command `lab`.

A LabError is written for the person who reads it: what happened, why, and what to do next. It never shows a traceback,
neither in the terminal nor in a notebook.
"""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of `lab`. They are a contract: scripts and CI call it."""

    PASSED = 0
    NOT_YET = 1
    USAGE = 2
    MACHINE = 3
    BROKEN = 4
    INTERRUPTED = 130


class LabError(Exception):
    """Something went wrong that we can name.

    what: one sentence, what happened. why: what caused it, as far as it is known. do: the next step for the reader,
    a command where there is one.
    """

    exit_code = ExitCode.NOT_YET

    def __init__(self, what: str, *, why: str = "", do: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.do = do

    def __str__(self) -> str:
        lines = [self.what]
        if self.why:
            lines.append(f"Why: {self.why}")
        if self.do:
            lines.append(f"What to do: {self.do}")
        return "\n".join(lines)

    def _render_traceback_(self) -> list[str]:
        """IPython calls this in place of printing a traceback."""
        return str(self).splitlines()


class UsageError(LabError):
    """The caller asked for something that does not exist or makes no sense. Nothing was changed."""

    exit_code = ExitCode.USAGE


class MachineError(LabError):
    """The machine cannot do it (a tool missing, no memory, no network). `finding` is the doctor's ID for it."""

    exit_code = ExitCode.MACHINE

    def __init__(self, what: str, *, finding: str, why: str = "", do: str = "") -> None:
        super().__init__(what, why=why, do=do or f"run `lab doctor` and read its advice on {finding}")
        self.finding = finding


class ToolError(LabError):
    """A real program failed. `command` can be pasted into a terminal; `output` is what it said."""

    def __init__(self, what: str, *, command: str, output: str = "", code: int | None = None, do: str = "") -> None:
        said = output.strip().splitlines()[-8:]
        why = "it said: " + " | ".join(said) if said else ("it said nothing" if code is not None else "")
        super().__init__(what, why=why, do=do or f"see for yourself: {command}")
        self.command = command
        self.output = output
        self.code = code


class WaitTimeoutError(LabError):
    """A condition did not come true in time. The message tells the last state that was seen."""
