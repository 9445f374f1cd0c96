"""What `lab prove` found: for each task whether its check fails first, passes and rejects near misses; all misses.

`ProofReport.model_dump_json()` is what `lab prove --json` prints.
"""

from __future__ import annotations

from typing import Literal
from xml.etree import ElementTree as ET

from pydantic import BaseModel, ConfigDict, computed_field

from lab_helpers.core.errors import ExitCode

Phase = Literal["source", "fail-first", "solution", "near-miss", "undo", "reset", "nbval", "left-over"]


class Miss(BaseModel):
    """One thing that is not as it must be. `evidence` is what was seen; an empty `task` means the whole lab."""

    model_config = ConfigDict(frozen=True)

    lab: str
    task: str = ""
    phase: Phase
    what: str
    evidence: str = ""


class TaskProof(BaseModel):
    """One task: a row of the table."""

    task: str
    fail_first: bool = False
    """Its check said NOT_YET in a clean state and right before its last solution cell."""
    passes: bool = False
    """Its check said PASSED right after its last solution cell, in the notebook, and in the second run."""
    near_misses: int = 0
    near_misses_rejected: int = 0
    seconds: float = 0.0
    """How long its section took: the cells, the checks and the near misses."""


class LabProof(BaseModel):
    """One lab. `blocked` tells why the machine could not run it, else it is empty."""

    lab: str
    tasks: list[TaskProof] = []
    left_over: list[str] = []
    misses: list[Miss] = []
    blocked: str = ""
    seconds: float = 0.0

    def task(self, name: str) -> TaskProof:
        """The row of that task."""
        return next(task for task in self.tasks if task.task == name)


class ProofReport(BaseModel):
    """All labs that were to be proven."""

    labs: list[LabProof] = []

    @property
    def misses(self) -> list[Miss]:
        return [miss for lab in self.labs for miss in lab.misses]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def exit_code(self) -> ExitCode:
        """1 on any miss, else 3 when the machine was in the way, else 0."""
        if self.misses:
            return ExitCode.NOT_YET
        return ExitCode.MACHINE if any(lab.blocked for lab in self.labs) else ExitCode.PASSED

    def junit(self) -> str:
        """The report as JUnit XML: a suite for each lab, a case for each task and one for the lab as a whole."""
        root = ET.Element("testsuites", name="lab prove")
        for lab in self.labs:
            suite = ET.SubElement(root, "testsuite", name=lab.lab, time=f"{lab.seconds:.3f}")
            for name, seconds in [*((task.task, task.seconds) for task in lab.tasks), ("", 0.0)]:
                misses = [miss for miss in lab.misses if miss.task == name]
                case = ET.SubElement(suite, "testcase", classname=lab.lab, name=name or "as a whole")
                case.set("time", f"{seconds:.3f}")
                for miss in misses:
                    failure = ET.SubElement(case, "failure", type=miss.phase, message=_xml_text(miss.what))
                    failure.text = _xml_text(miss.evidence)
                if lab.blocked and not misses:
                    ET.SubElement(case, "skipped", message=_xml_text(lab.blocked))
            for count in ("failure", "skipped"):
                attribute = {"failure": "failures", "skipped": "skipped"}[count]
                suite.set(attribute, str(sum(case.find(count) is not None for case in suite)))
            suite.set("tests", str(len(suite)))
        ET.indent(root)
        return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _xml_text(text: str) -> str:
    """`text` without the characters that XML does not know."""
    return "".join(c if c in "\n\t" or c >= " " else "\N{REPLACEMENT CHARACTER}" for c in text)
