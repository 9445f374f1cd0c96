"""What the learner has done so far, read from an append-only log that survives a kill at any moment.

Writing appends one record; reading is a pure function over the records. Progress means passed once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from lab_helpers.core import host
from lab_helpers.core.errors import MachineError
from lab_helpers.core.settings import UNRECORDED, Place
from lab_helpers.core.store import AppendLog, Record, now, write_atomic
from lab_helpers.course.declare import Lab
from lab_helpers.course.verdict import Outcome, Verdict

BREAK_S = 20 * 60
"""Two records of a lab that lie further apart than this, in seconds, have a break between them: it is not counted."""
LAST_RUN = "last-run.json"
"""In the state folder: under which boot of this machine something was last done here."""


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    time: float
    lab: str


class VerdictEntry(_Entry):
    """A check was made."""

    kind: Literal["verdict"] = "verdict"
    task: str
    outcome: Outcome
    state: str = ""
    points: int
    total: int
    seconds: float


class HintEntry(_Entry):
    """A hint was shown: the `number`-th for this state."""

    kind: Literal["hint"] = "hint"
    task: str
    state: str
    number: int


class OpenedEntry(_Entry):
    """The lab was opened."""

    kind: Literal["opened"] = "opened"


class PredictionEntry(_Entry):
    """A prediction was locked."""

    kind: Literal["prediction"] = "prediction"
    name: str
    choice: str


Round = Literal["before", "after"]
"""The ten questions are asked twice: before the first lab and after the last one."""


class AnswerEntry(_Entry):
    """One of the ten questions was answered, which belong to no lab."""

    kind: Literal["answer"] = "answer"
    lab: str = ""
    round: Round
    question: str
    choice: str


class PinEntry(_Entry):
    """The learner's own pin was seen, in the lab where they made it."""

    kind: Literal["pin"] = "pin"
    text: str
    author: str = ""
    made: str = ""
    """When it was pinned, as Pinboard writes it: UTC, ISO 8601."""


class StampEntry(_Entry):
    """A check passed that looked at a served Pinboard: who served it. What does not apply is empty."""

    kind: Literal["stamp"] = "stamp"
    task: str
    boot_id: str = ""
    kernel: str = ""
    """The kernel's release."""
    version: str = ""
    """Pinboard's own."""
    vm: str = ""
    container: str = ""
    """The beginning of its ID."""
    node: str = ""
    pod: str = ""
    carried: bool = False
    """The learner's own pin was on the board."""

    @property
    def place(self) -> tuple[str, ...]:
        """What makes one stamp another one than the last of the same stop."""
        return (self.boot_id, self.version, self.vm, self.container, self.node, self.pod, str(self.carried))


Entry = VerdictEntry | HintEntry | OpenedEntry | PredictionEntry | AnswerEntry | PinEntry | StampEntry
_ENTRY: TypeAdapter[Entry] = TypeAdapter(Annotated[Entry, Field(discriminator="kind")])


@dataclass
class TaskProgress:
    """One task, over all its checks."""

    passed_at: float | None = None
    """When it passed first, in seconds since the epoch."""
    best: int = 0
    """The most points of any check."""
    tries: int = 0
    hints: int = 0
    """How many different hints were shown."""

    @property
    def passed(self) -> bool:
        return self.passed_at is not None


@dataclass
class LabProgress:
    """One lab. An empty one stands for a lab that was never touched."""

    tasks: dict[str, TaskProgress] = field(default_factory=dict)
    opened_at: float | None = None
    spent_s: float = 0.0
    """Seconds between the records of this lab, breaks left out."""
    predictions: dict[str, str] = field(default_factory=dict)

    @property
    def begun(self) -> bool:
        """It was opened, or a task of it was looked at."""
        return self.opened_at is not None or bool(self.tasks)

    @property
    def points(self) -> int:
        return sum(task.best for task in self.tasks.values())

    def task(self, name: str) -> TaskProgress:
        return self.tasks.get(name, TaskProgress())


@dataclass(frozen=True)
class Standing:
    """Where the learner was: the lab of the last record, at that time, and the last verdict in that lab."""

    lab: str
    at: float
    """Seconds since the epoch."""
    task: str = ""
    outcome: Outcome | None = None


@dataclass
class Progress:
    """All labs."""

    labs: Mapping[str, LabProgress]
    at: Standing | None = None
    answers: Mapping[Round, Mapping[str, str]] = field(default_factory=lambda: {"before": {}, "after": {}})
    """Of the ten questions: round -> question -> choice. The first answer of a round counts."""
    pin: PinEntry | None = None
    """The learner's own pin: the first that was seen."""
    stamps: Sequence[StampEntry] = ()
    """All of them, oldest first."""

    def lab(self, name: str) -> LabProgress:
        return self.labs.get(name, LabProgress())


@dataclass(frozen=True)
class Totals:
    """A lab's tasks and points: those passed (had), and those that there are."""

    passed: int
    tasks: int
    points: int
    total: int


def entries(records: Iterable[Record]) -> list[Entry]:
    """The records that this version understands; others (of a newer one, or damaged) are left out."""
    understood = []
    for record in records:
        try:
            understood.append(_ENTRY.validate_python(record))
        except ValidationError:
            continue
    return understood


def summarize(records: Iterable[Record]) -> Progress:
    """The progress that the records tell. A pure function."""
    labs: dict[str, LabProgress] = {}
    last: dict[str, float] = {}
    shown: set[tuple[str, str, str, int]] = set()
    judged: dict[str, VerdictEntry] = {}
    at: Standing | None = None
    answers: dict[Round, dict[str, str]] = {"before": {}, "after": {}}
    pin: PinEntry | None = None
    stamps: list[StampEntry] = []
    for entry in entries(records):
        if isinstance(entry, AnswerEntry):
            answers[entry.round].setdefault(entry.question, entry.choice)
            continue
        lab = labs.setdefault(entry.lab, LabProgress())
        gap = entry.time - last.get(entry.lab, entry.time)
        lab.spent_s += gap if 0 < gap <= BREAK_S else 0
        last[entry.lab] = max(entry.time, last.get(entry.lab, entry.time))
        match entry:
            case VerdictEntry():
                task = lab.tasks.setdefault(entry.task, TaskProgress())
                task.tries += 1
                task.best = max(task.best, entry.points)
                if entry.outcome is Outcome.PASSED and task.passed_at is None:
                    task.passed_at = entry.time
            case HintEntry():
                hint = (entry.lab, entry.task, entry.state, entry.number)
                lab.tasks.setdefault(entry.task, TaskProgress()).hints += hint not in shown
                shown.add(hint)
            case OpenedEntry():
                lab.opened_at = entry.time if lab.opened_at is None else lab.opened_at
            case PredictionEntry():
                lab.predictions.setdefault(entry.name, entry.choice)
            case PinEntry():
                pin = pin or entry
            case StampEntry():
                stamps.append(entry)
        if isinstance(entry, VerdictEntry):
            judged[entry.lab] = entry
        verdict = judged.get(entry.lab)
        at = Standing(entry.lab, entry.time, verdict.task if verdict else "", verdict.outcome if verdict else None)
    return Progress(labs, at, answers, pin, stamps)


def read(place: Place) -> Progress:
    """The progress of this place."""
    return summarize(_stored(place))


def lab_totals(lab: Lab, done: LabProgress) -> Totals:
    """How far a lab is done: only the tasks that it has today count."""
    return Totals(
        passed=sum(done.task(name).passed for name in lab.tasks),
        tasks=len(lab.tasks),
        points=sum(done.task(name).best for name in lab.tasks),
        total=sum(points for task in lab.tasks.values() for points, _ in task.criteria.values()),
    )


def verdicts(place: Place, lab: str, task: str) -> list[VerdictEntry]:
    """All stored verdicts of one task, oldest first."""
    found = (entry for entry in entries(_stored(place)) if isinstance(entry, VerdictEntry))
    return [entry for entry in found if (entry.lab, entry.task) == (lab, task)]


def hints_shown(place: Place, lab: str, task: str, state: str) -> int:
    """How far the hints for that state were shown: the highest number."""
    hints = (entry for entry in entries(_stored(place)) if isinstance(entry, HintEntry))
    return max((hint.number for hint in hints if (hint.lab, hint.task, hint.state) == (lab, task, state)), default=0)


def own_tries(place: Place, lab: str, task: str) -> int:
    """How many checks of a task said NOT_YET, without the looks that were taken only to find a hint."""
    mine = [e for e in entries(_stored(place)) if isinstance(e, VerdictEntry | HintEntry) and e.lab == lab]
    looks = sum(isinstance(e, VerdictEntry) and e.outcome is Outcome.NOT_YET for e in mine if e.task == task)
    return looks - sum(isinstance(e, HintEntry) for e in mine if e.task == task)


def prediction(place: Place, lab: str, name: str) -> str | None:
    """The choice that was locked, if any."""
    return read(place).lab(lab).predictions.get(name)


def lock_prediction(place: Place, lab: str, name: str, choice: str) -> str:
    """Lock a prediction. The first choice counts, and is returned."""
    if prediction(place, lab, name) is None:
        _append(place, PredictionEntry(time=now(), lab=lab, name=name, choice=choice))
    return prediction(place, lab, name) or choice


def lock_answer(place: Place, round_: Round, question: str, choice: str) -> str:
    """Lock the answer to one of the ten questions. The first of that round counts, and is returned."""
    if question not in read(place).answers[round_]:
        _append(place, AnswerEntry(time=now(), round=round_, question=question, choice=choice))
    return read(place).answers[round_].get(question, choice)


def record_pin(place: Place, lab: str, *, text: str, author: str = "", made: str = "") -> None:
    """Store which pin is the learner's own. The first one counts."""
    if read(place).pin is None:
        _append(place, PinEntry(time=now(), lab=lab, text=text, author=author, made=made))


def record_stamp(place: Place, stamp: StampEntry) -> bool:
    """Store a stamp, unless the last one of that stop says the same. True when it is a new one."""
    before = [one for one in read(place).stamps if (one.lab, one.task) == (stamp.lab, stamp.task)]
    if before and before[-1].place == stamp.place:
        return False
    _append(place, stamp)
    return True


def record_verdict(place: Place, verdict: Verdict) -> None:
    """Store a verdict. Raises MachineError when the disk does not take it."""
    _append(
        place,
        VerdictEntry(
            time=now(),
            lab=verdict.lab,
            task=verdict.task,
            outcome=verdict.outcome,
            state=verdict.state,
            points=verdict.points,
            total=verdict.total,
            seconds=verdict.seconds,
        ),
    )


def record_hint(place: Place, lab: str, task: str, state: str, number: int) -> None:
    """Store that a hint was shown."""
    _append(place, HintEntry(time=now(), lab=lab, task=task, state=state, number=number))


def record_opened(place: Place, lab: str) -> None:
    """Store that a lab was opened."""
    _append(place, OpenedEntry(time=now(), lab=lab))


def remember_boot(place: Place) -> None:
    """Write down that something is done here under this boot of the machine."""
    text = json.dumps({"boot": host.boot_id()}) + "\n"
    file = place.state / LAST_RUN
    if not file.is_file() or file.read_text(encoding="utf-8", errors="replace") != text:
        write_atomic(file, text)


def _stored(place: Place) -> list[Record]:
    try:
        return AppendLog(place.progress).read()
    except OSError as error:
        raise _no_disk(place, "Your progress cannot be read.", error) from None


def _append(place: Place, entry: Entry) -> None:
    if os.environ.get(UNRECORDED):
        return
    try:
        AppendLog(place.progress).append(entry.model_dump(mode="json"))
        remember_boot(place)
    except OSError as error:
        raise _no_disk(place, "Your progress cannot be stored.", error) from None


def _no_disk(place: Place, what: str, error: OSError) -> MachineError:
    return MachineError(
        what,
        finding="STATE-WRITABLE",
        why=f"{place.progress}: {error.strerror or error}",
        do=f"make room on the disk, and make {place.state} writable",
    )
