"""Lab 00: read the doctor's report, and meet a check."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from lab_helpers.course.declare import Lab
from lab_helpers.course.staging import replaced
from lab_helpers.course.verdict import Evidence
from lab_helpers.course.world import World

from .questions import QUESTIONS

LAB = Lab("00-start", title="Start here", minutes=15, questions=QUESTIONS)

ACCELERATORS = ("kvm", "hvf", "tcg")


@LAB.task(
    "machine",
    "Read the doctor's report",
    criteria={
        "answers": (1, "machine.txt has both answers"),
        "accelerator": (1, "the accelerator is the one that works here"),
        "memory": (1, "the memory is this machine's"),
    },
    hints={
        "no-file": (
            "The check reads the file `machine.txt` beside this notebook, and it is not there.",
            "Write it anew, two lines: `accelerator = ...` and `memory_gib = ...`.",
        ),
        "open": (
            "There is still a question mark, or nothing, behind a sign in `machine.txt`.",
            "Run `!lab doctor` and look at the lines ACCEL and MEMORY. Did you save the file?",
        ),
        "not-an-accelerator": (
            "The answer is one word: `kvm`, `hvf` or `tcg`. The doctor's line ACCEL begins with it.",
        ),
        "other-accelerator": (
            "What works counts, not what the processor's label promises: look at the line ACCEL once more.",
            "Run `!lab doctor`, find ACCEL, and copy the word that it says.",
        ),
        "not-a-number": ("The memory is a number in GiB, such as `memory_gib = 8`.",),
        "mib": ("That looks like MiB. One GiB is 1024 MiB: divide by 1024.",),
        "other-memory": (
            "The doctor's line MEMORY says how much this machine has in all, which is more than what is free.",
            "Take the figure that it calls the total, in GiB. Rounding is fine.",
        ),
    },
)
def machine(world: World) -> Iterator[Evidence]:
    path = world.work / "machine.txt"
    look = "cat machine.txt"
    text = _text(path)
    answers = dict(re.findall(r"^\s*(accelerator|memory_gib)\s*[=:]\s*(\S+)", text or "", re.MULTILINE))
    accelerator, memory = answers.get("accelerator", "?"), answers.get("memory_gib", "?")
    given = "?" not in (accelerator, memory)
    yield Evidence(
        criterion="answers",
        ok=given,
        looked=f"the file {path.name} in your folder {world.lab}",
        expected="a line `accelerator = ...` and a line `memory_gib = ...`, both answered",
        saw="no such file" if text is None else f"accelerator = {accelerator}, memory_gib = {memory}",
        command=look,
        state="" if given else "no-file" if text is None else "open",
    )
    if not given:
        return
    facts = {key: value for finding in world.report().findings for key, value in finding.facts.items()}
    works = str(facts["accelerator"])
    said = accelerator.strip("\"'`.,").lower()
    yield Evidence(
        criterion="accelerator",
        ok=said == works,
        looked="your answer, and the accelerator that runs a guest on this machine",
        expected="the doctor's word at ACCEL",
        saw=f"you say {said}" + ("" if said == works else ", the doctor says another one"),
        command="lab doctor",
        state="" if said == works else "other-accelerator" if said in ACCELERATORS else "not-an-accelerator",
    )
    total_gib = float(facts["memory_mib"]) / 1024
    number = _number(memory)
    ok = number is not None and abs(number - total_gib) <= max(0.6, total_gib * 0.08)
    yield Evidence(
        criterion="memory",
        ok=ok,
        looked="your answer, and the memory that this machine has",
        expected="the doctor's total at MEMORY, in GiB; rounding is fine",
        saw=f"you say {memory}" + ("" if ok else ", the doctor says something else"),
        command="lab doctor",
        state="" if ok else _memory_state(number, total_gib),
    )


def _memory_state(number: float | None, total_gib: float) -> str:
    if number is None:
        return "not-a-number"
    return "mib" if number > total_gib * 100 else "other-memory"


def _number(text: str) -> float | None:
    try:
        # GB, the decimal unit, is what many people write for the same amount; a comma is some people's point.
        return float(re.sub(r"(?i)\s*gi?b$", "", text).replace(",", "."))
    except ValueError:
        return None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _answers(world: World) -> dict[str, str]:
    return dict(line.split(" = ") for line in (world.work / "machine.txt").read_text().splitlines() if " = " in line)


@machine.near_miss("template", fails="answers", state="open")
def _template(world: World) -> Iterator[None]:
    yield from replaced(world.work / "machine.txt", (world.place.labs / LAB.name / "files/machine.txt").read_text())


@machine.near_miss("half", fails="answers", state="open")
def _half(world: World) -> Iterator[None]:
    yield from replaced(world.work / "machine.txt", f"accelerator = {_answers(world)['accelerator']}\nmemory_gib =\n")


@machine.near_miss("another-machine", fails="accelerator", state="other-accelerator")
def _another_machine(world: World) -> Iterator[None]:
    right = _answers(world)
    wrong = next(name for name in ACCELERATORS if name != right["accelerator"])
    yield from replaced(world.work / "machine.txt", f"accelerator = {wrong}\nmemory_gib = {right['memory_gib']}\n")


@machine.near_miss("in-mib", fails="memory", state="mib")
def _in_mib(world: World) -> Iterator[None]:
    right = _answers(world)
    mib = round(float(right["memory_gib"]) * 1024)
    yield from replaced(world.work / "machine.txt", f"accelerator = {right['accelerator']}\nmemory_gib = {mib}\n")


@machine.near_miss("half-the-memory", fails="memory", state="other-memory")
def _half_the_memory(world: World) -> Iterator[None]:
    right = _answers(world)
    half = round(float(right["memory_gib"]) / 2, 1)
    yield from replaced(world.work / "machine.txt", f"accelerator = {right['accelerator']}\nmemory_gib = {half}\n")


@LAB.task(
    "first-check",
    "Put your name on your desk",
    criteria={
        "file": (1, "there is a file hello.txt in the folder desk"),
        "name": (1, "it has your name in it"),
    },
    hints={
        "nothing": (
            "The check looks for a file named `hello.txt` inside of the folder `desk`.",
            'A shell line can do it: `!echo "your name" > desk/hello.txt`.',
        ),
        "elsewhere": (
            "There is a `hello.txt`, but not in `desk`: where was the shell when it wrote the file?",
            "`!cd desk` lasts for that one line only. Name the folder in the command: `desk/hello.txt`.",
        ),
        "not-a-file": ("`desk/hello.txt` is a folder. Remove it with `!rmdir desk/hello.txt` and write a file.",),
        "empty": (
            "The file is there, and there is nothing in it. No error does not mean done.",
            '`echo` prints a text, and `>` puts what was printed into a file: `!echo "your name" > desk/hello.txt`.',
        ),
    },
)
def first_check(world: World) -> Iterator[Evidence]:
    path = world.work / "desk" / "hello.txt"
    elsewhere = [
        p for p in (world.work / "hello.txt", world.place.work / "hello.txt", Path.home() / "hello.txt") if p.exists()
    ]
    saw = "it is there"
    state = ""
    if path.is_dir():
        saw, state = "a folder of that name", "not-a-file"
    elif not path.exists():
        saw, state = (
            ("no such file; there is one in another folder", "elsewhere") if elsewhere else ("no such file", "nothing")
        )
    yield Evidence(
        criterion="file",
        ok=not state,
        looked="the file desk/hello.txt in your folder of this lab",
        expected="a file",
        saw=saw,
        command="ls -l desk",
        state=state,
    )
    if state:
        return
    words = (_text(path) or "").split()
    yield Evidence(
        criterion="name",
        ok=bool(words),
        looked="what is written in desk/hello.txt",
        expected="a name: at least one word",
        saw=f"{len(words)} word(s)" if words else "nothing but empty space",
        command="cat desk/hello.txt",
        state="" if words else "empty",
    )


@first_check.near_miss("empty", fails="name", state="empty")
def _empty(world: World) -> Iterator[None]:
    yield from replaced(world.work / "desk/hello.txt", "")


@first_check.near_miss("only-a-newline", fails="name", state="empty")
def _only_a_newline(world: World) -> Iterator[None]:
    yield from replaced(world.work / "desk/hello.txt", "\n \n")


@first_check.near_miss("elsewhere", fails="file", state="elsewhere")
def _elsewhere(world: World) -> Iterator[None]:
    right, wrong = world.work / "desk/hello.txt", world.work / "hello.txt"
    right.rename(wrong)
    try:
        yield
    finally:
        wrong.rename(right)


@first_check.near_miss("a-folder", fails="file", state="not-a-file")
def _a_folder(world: World) -> Iterator[None]:
    right = world.work / "desk/hello.txt"
    kept = right.read_text()
    right.unlink()
    right.mkdir()
    try:
        yield
    finally:
        right.rmdir()
        right.write_text(kept)
