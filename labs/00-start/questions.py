"""Lab 00: what it asks before it shows."""

from __future__ import annotations

from lab_helpers.course.predictions import Truth, prediction
from lab_helpers.course.world import World

ACCELERATOR = {
    "kvm": Truth(
        "kvm: Linux lets the processor do it",
        "The doctor started a guest of a few bytes through KVM, and it ran: the processor itself will run what your "
        "guests do, nearly as fast as your own programs.",
    ),
    "hvf": Truth(
        "hvf: macOS lets the processor do it",
        "On a Mac the Hypervisor framework lends the processor to QEMU, and it ran a small guest: what your guests do "
        "runs nearly as fast as your own programs.",
    ),
    "tcg": Truth(
        "tcg: software does it",
        "The processor did not run the doctor's small guest: this machine is perhaps a VM itself, or virtualization "
        "is off in its firmware. QEMU translates the guest's instructions instead; everything in this course "
        "works, slower.",
    ),
}


def accelerator(world: World) -> Truth:
    """What runs guests here, as the doctor finds it by trying."""
    facts = {key: value for finding in world.report().findings for key, value in finding.facts.items()}
    return ACCELERATOR[str(facts["accelerator"])]


QUESTIONS = (
    prediction(
        "accelerator",
        "What will the doctor say about your machine?",
        choices=tuple(truth.answer for truth in ACCELERATOR.values()),
        answer=accelerator,
    ),
    prediction(
        "cd-lasts",
        "After `!cd desk`, where is the next line?",
        choices=("in desk", "where it was before", "in the home folder"),
        answer="where it was before",
        because="Each `!` line is a shell of its own. `cd` changes the folder of that one shell, which ends with its "
        "line; the next one starts again where the notebook is.",
    ),
)
