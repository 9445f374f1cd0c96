"""What the doctor says: findings with stable IDs, and the report that `lab doctor --json` prints."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, ConfigDict, computed_field

from lab_helpers.core.errors import ExitCode

Fact = str | int | float | bool | None


class Level(StrEnum):
    """How much a finding matters: nothing to do, worth knowing, it will hurt, it will not work."""

    OK = "ok"
    NOTE = "note"
    WARN = "warn"
    FAIL = "fail"

    @property
    def weight(self) -> int:
        return list(Level).index(self)


class Finding(BaseModel):
    """One thing that the doctor looked at.

    id: stable, upper case; errors and verdicts name it. saw: what is the case. advice: what to do, empty when there is
    nothing to do. fixable: `lab setup` can cure it. packages: the Debian packages that cure it. facts: for programs.
    """

    model_config = ConfigDict(frozen=True)

    id: str
    level: Level
    title: str
    saw: str
    advice: str = ""
    fixable: bool = False
    packages: tuple[str, ...] = ()
    facts: Mapping[str, Fact] = {}


class Machine(BaseModel):
    """The figures about this machine that lessons ask for, sizes in MiB; unknown or 0 where one could not look."""

    model_config = ConfigDict(frozen=True)

    os: str = "unknown"
    arch: str = "unknown"
    accelerator: str = "unknown"
    """What runs a guest's instructions: kvm, hvf or tcg."""
    memory_mib: int = 0
    cpus: int = 0
    disk_free_mib: int = 0


class Report(BaseModel):
    """All findings, in the order in which they are shown."""

    model_config = ConfigDict(frozen=True)

    schema_version: Literal[1] = 1
    findings: tuple[Finding, ...]
    seconds: float = 0.0
    """How long the examination took."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def worst(self) -> Level:
        return max((finding.level for finding in self.findings), key=lambda level: level.weight, default=Level.OK)

    @computed_field  # type: ignore[prop-decorator]
    @property
    def facts(self) -> Machine:
        known: dict[str, Fact] = {}
        for finding in self.findings:
            known.update({key: value for key, value in finding.facts.items() if key in Machine.model_fields})
        return Machine.model_validate(known)

    def finding(self, name: str) -> Finding:
        """The finding with this ID; KeyError when there is none."""
        for finding in self.findings:
            if finding.id == name:
                return finding
        raise KeyError(name)

    def failed(self) -> tuple[Finding, ...]:
        """What stands in the way."""
        return tuple(finding for finding in self.findings if finding.level is Level.FAIL)

    @property
    def exit_code(self) -> ExitCode:
        return ExitCode.MACHINE if self.failed() else ExitCode.PASSED
