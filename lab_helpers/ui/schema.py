"""The published JSON schemas of what `lab ... --json` prints: `python -m lab_helpers.ui.schema` writes docs/schema/."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import BaseModel


def models() -> dict[str, type[BaseModel]]:
    """Command -> what it prints. The command with dashes is the schema's file name."""
    from lab_helpers.course.boundaries_now import BoundaryMap
    from lab_helpers.course.passport import Passport
    from lab_helpers.course.proof import ProofReport
    from lab_helpers.course.questions import QuestionsReport
    from lab_helpers.course.time_machine import Arrival
    from lab_helpers.course.verdict import Verdict
    from lab_helpers.doctor import Report
    from lab_helpers.ui.bench import BenchReport
    from lab_helpers.ui.board import Board
    from lab_helpers.ui.checks import LabVerdicts
    from lab_helpers.ui.vm_list import VmList

    return {
        "lab-bench": BenchReport,
        "lab-check-task": Verdict,
        "lab-check-lab": LabVerdicts,
        "lab-doctor": Report,
        "lab-goto": Arrival,
        "lab-list": Board,
        "lab-map": BoundaryMap,
        "lab-status": Board,
        "lab-passport": Passport,
        "lab-prove": ProofReport,
        "lab-questions": QuestionsReport,
        "lab-vm-list": VmList,
    }


def schemas() -> dict[str, str]:
    """File name -> the schema's text, as docs/schema/ has it."""
    texts = {}
    for name, model in models().items():
        schema = {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            **model.model_json_schema(mode="serialization"),
        }
        texts[f"{name}.json"] = json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
    return texts


def main() -> None:
    """Write all schemas into docs/schema/ of this checkout."""
    from lab_helpers.core.settings import place
    from lab_helpers.core.store import write_atomic

    for name, text in schemas().items():
        write_atomic(place().root / "docs" / "schema" / name, text)


if __name__ == "__main__":
    main()
