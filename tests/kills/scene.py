"""A place in which a lab is done while somebody is killed with SIGKILL, and what must hold afterwards.

Killed are only processes of the place, known by their environment, and a dockerd that the test started itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import psutil

from lab_helpers.core.errors import ExitCode, LabError
from lab_helpers.core.ports import is_free
from lab_helpers.core.settings import CHECKOUT, Place
from lab_helpers.core.store import AppendLog
from lab_helpers.core.waiting import wait_for
from lab_helpers.course import strays
from lab_helpers.course.engine import load_lab
from lab_helpers.course.lesson import read_lesson
from lab_helpers.course.rules import Rules
from lab_helpers.course.runner import CellError, Runner, environment, text_of
from lab_helpers.course.workspace import open_lab
from lab_helpers.course.world import World
from lab_helpers.tools.dockerd import Daemon
from lab_helpers.tools.engine import Engine, answers, find_engine

PORTS = {"01-virtual-machine": 8001, "02-containers": 8002}
"""The port of 127.0.0.1 that a lab publishes."""
_VERDICT = re.compile(r"^\S+ (?P<word>[^·\n]+) · (?P<lab>\S+) (?P<task>[\w-]+)", re.MULTILINE)

Ack = tuple[str, bool]
"""A verdict that somebody has seen: the task, and whether it passed."""


@dataclass(frozen=True)
class Murder:
    """Who is killed, and when: so many seconds after the notebook or the command has begun."""

    seed: str
    victims: tuple[str, ...]
    after_s: float

    @classmethod
    def draw(cls, seed: str, victims: tuple[str, ...], typical_s: float) -> Murder:
        """At a moment within `typical_s`, which is how long it takes on two cores: the same one for the same seed."""
        return cls(seed, victims, random.Random(seed).random() * typical_s)  # noqa: S311 - nobody shall be fooled by it

    def sooner(self) -> Murder:
        """Half as late: what was to be interrupted was over already."""
        return replace(self, after_s=self.after_s / 2)

    def __str__(self) -> str:
        return f"seed {self.seed}: {' and '.join(self.victims)} after {self.after_s:.2f} s"


@dataclass
class Scene:
    """One lab in one place. `daemon`: the test's own, if the lab's containers are in it."""

    place: Place
    lab: str
    daemon: Daemon | None = None
    acks: list[Ack] = field(default_factory=list)
    """Every verdict that was shown so far."""
    killed: dict[str, str] = field(default_factory=dict)
    """Who was killed, and their command."""
    _before: set[str] = field(default_factory=set)
    _files: strays.Files = field(default_factory=dict)

    # -- acting -------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Open the lab, and remember what there is before anything is made."""
        self._before = self._in_engine() | self._listening()
        open_lab(self.place, self.lab)
        self._files = strays.files_in(self.place, self.lab)

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start `lab` with these words, in a session of its own. What it says is piped."""
        return subprocess.Popen(
            [sys.executable, "-m", "lab_helpers.cli", *words],
            cwd=CHECKOUT,
            env={**os.environ, "LAB_STATE": str(self.place.state), "LAB_HOME": str(self.place.home)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *words: str, timeout_s: float = 600) -> tuple[int, str]:
        """Run `lab` to its end; its exit code and what it said."""
        began = time.monotonic()
        with self.start(*words) as process:
            try:
                said, _ = process.communicate(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        _say(f"lab {' '.join(words)}: exit code {process.returncode} after {time.monotonic() - began:.0f} s")
        return process.returncode, said

    def command(self, murder: Murder, *words: str, timeout_s: float = 600) -> tuple[int, str]:
        """Run `lab` while the murder happens; its exit code (-9: it was killed itself) and what it said."""
        with self.start(*words) as process, self._murdering(murder):
            try:
                said, _ = process.communicate(timeout=timeout_s)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        if words[0] == "check":  # what other commands say of a task is not stored by them
            self._heard(said)
        return process.returncode, said

    def play(self, act: str, murder: Murder, task: str) -> None:
        """Go on until all of the victims have been killed meanwhile: sooner each time, on a machine that is fast.

        `act`: the solution in a "notebook" or by `lab solve`, up to `task`; or `lab check` of `task`, solved before.
        """
        if act == "check" and (task, True) not in self.acks:
            self.works_again(task)
        self.killed.clear()
        while True:
            if act == "notebook":
                self.notebook(murder, task)
            else:
                self.command(murder, act, self.lab, task, *(["--json"] if act == "check" else []))
            if set(murder.victims) <= set(self.killed):
                return
            assert murder.after_s > 0.01, f"{murder}: there is no such process"
            murder = murder.sooner()

    def notebook(self, murder: Murder, task: str) -> None:
        """Run the solution's cells in a kernel, up to the check of `task`, while the murder happens.

        When a cell fails, the learner is left there, as after a kernel that died.
        """
        lesson = read_lesson(self.place.labs / self.lab / "lab.md")
        last = next(section.check for section in lesson.sections() if section.task == task)
        rules = Rules()
        with (
            environment(self.place, rules.kernel),
            _Dying(self.place, self.lab, lesson, rules) as runner,
            self._murdering(murder),
        ):
            for position in [place for place in range(last + 1) if lesson.cells[place].is_code]:
                try:
                    runner.run(position)
                except CellError as error:
                    _say(f"the notebook stopped at {lesson.cells[position].first_line}: {error.output[-300:]}")
                    return
                if lesson.cells[position].checks:
                    self._heard(text_of(runner.notebook.cells[position].outputs))
                if "dockerd" in self.killed:  # every further cell would wait for it in vain
                    return

    def _heard(self, said: str) -> None:
        """Take note of the verdicts in what was said: as text or, of `lab check --json`, as JSON."""
        self.acks += [(match["task"], match["word"] == "PASSED") for match in _VERDICT.finditer(said)]
        with contextlib.suppress(ValueError):
            told = json.loads(said)
            for verdict in told.get("verdicts", [told]):
                if "task" in verdict:
                    self.acks.append((verdict["task"], verdict["outcome"] == "PASSED"))

    # -- killing ------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _murdering(self, murder: Murder) -> Iterator[None]:
        """Let the murder happen while the block runs; one that found no victim until the end takes the last chance."""
        over, began = threading.Event(), time.monotonic()

        def work() -> None:
            over.wait(murder.after_s)
            for victim in murder.victims:
                while not self._kill(victim) and not over.wait(0.02):
                    pass

        killer = threading.Thread(target=work)
        killer.start()
        try:
            yield
        finally:
            over.set()
            killer.join()
        _say(f"{time.monotonic() - began:.0f} s, {murder}: {self.killed or 'nobody was there'}")

    def _kill(self, victim: str) -> bool:
        if victim == "dockerd":
            assert self.daemon
            process = self.daemon.process()
            found = [psutil.Process(process.pid)] if process else []
        else:
            found = self.processes(victim)
        for each in found[-1:]:  # the youngest
            with contextlib.suppress(psutil.Error):
                said = " ".join(each.cmdline())[-60:]
                each.send_signal(signal.SIGKILL)
                self.killed[victim] = said
                return True
        return False

    def processes(self, kind: str = "") -> list[psutil.Process]:
        """The processes that live in the place, or those of one kind, by their numbers; this test is none of them."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error, OSError):
                if kind and not _is(process, kind):
                    continue
                if process.environ().get("LAB_STATE") == str(self.place.state) and process.pid != os.getpid():
                    found.append(process)
        return found

    # -- what must hold -----------------------------------------------------------------------------------------------

    def progress_is_whole(self) -> None:
        """The log can be read, nothing in it was damaged, and every verdict that was shown is in it."""
        records = AppendLog(self.place.progress).read()
        assert not list(self.place.state.glob("*.damaged"))
        stored = [(str(r["task"]), r["outcome"] == "PASSED") for r in records if r["kind"] == "verdict"]
        for ack in set(self.acks):
            assert stored.count(ack) >= self.acks.count(ack), f"{ack} was shown and is not stored: {stored}"
        code, said = self.run("status", self.lab, "--json")
        assert code == 0, said
        passed = {task["id"] for lab in json.loads(said)["labs"] for task in lab["tasks"] if task["passed"]}
        assert {task for task, ok in self.acks if ok} <= passed

    def engine_comes_back(self) -> None:
        """With the engine killed a check says BLOCKED with the advice, and the advice cures it."""
        assert self.daemon
        address = self.daemon.address
        wait_for(lambda: not answers(address), "dockerd to be gone", timeout_s=20)
        task = next(iter(load_lab(self.place, self.lab).tasks))
        code, said = self.run("check", self.lab, task, "--json")
        assert code == ExitCode.MACHINE, said
        assert "lab doctor --fix" in said
        self.run("doctor", "--fix")  # its exit code speaks of the whole machine
        assert answers(address)

    def works_again(self, task: str, *, straight: bool = True) -> None:
        """The solution solves the lab again, up to `task`; `straight`: without a reset before."""
        code, said = self._solved(task)
        if code and not straight:
            _say(f"{self.lab} is reset, for the solution met what was left: {said[-600:]}")
            code, said = self.run("reset", self.lab)
            assert code == 0, said
            code, said = self._solved(task)
        assert code == 0, said
        self.progress_is_whole()

    def _solved(self, task: str) -> tuple[int, str]:
        """Solve up to `task`, and check that one: what a later step undoes of an earlier task, is no concern here."""
        _, solving = self.run("solve", self.lab, task)
        code, said = self.run("check", self.lab, task, "--json")
        self._heard(said)
        return code, f"{solving}\n{said}"

    def clean_leaves_nothing(self) -> None:
        """After `lab clean` there is no process, VM, container, image, volume, network, port, mount or file of it."""
        code, said = self.run("clean")
        assert code == 0, said
        assert World(self.place, "").leftovers() == []
        with contextlib.suppress(LabError):  # a command that was cut loose by a kill may take a moment to its end
            wait_for(lambda: not self.processes(), "the place's processes to end", timeout_s=20)
        assert [" ".join(each.cmdline()) for each in self.processes()] == []
        assert self._in_engine() | self._listening() == self._before
        mounts = [Path(each.mountpoint) for each in psutil.disk_partitions(all=True)]
        assert [mount for mount in mounts if mount.is_relative_to(self.place.state)] == []
        assert not self.place.sockets.exists()
        assert strays.changed(self._files, strays.files_in(self.place, self.lab)) == []

    def _listening(self) -> set[str]:
        port = PORTS.get(self.lab)
        return set() if port is None or is_free("127.0.0.1", port) else {f"a listener on port {port}"}

    def _in_engine(self) -> set[str]:
        """Everything in the test's own engine; of the machine's, what has a name that a lab gives."""
        engine = Engine(self.daemon.address, "this test", plain=False) if self.daemon else find_engine()
        if engine is None:
            return set()
        with engine.client() as client:
            found = {f"container {each['Names']}" for each in client.api.containers(all=True)}
            found |= {f"network {each['Name']}" for each in client.api.networks()}
            found |= {f"volume {each['Name']}" for each in client.api.volumes().get("Volumes") or ()}
            if self.daemon:
                return found | {f"image {each['Id']} {each['RepoTags']}" for each in client.api.images(all=True)}
        return {what for what in found if "pinboard" in what or what == "network kind"}


def _say(what: str) -> None:
    print(what)  # noqa: T201 - pytest shows it with a test that fails


class _Dying(Runner):
    """A kernel that may be killed: that it is gone is no news when it is stopped."""

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        with contextlib.suppress(RuntimeError, LabError):
            super().__exit__(LabError, error, trace)


def _is(process: psutil.Process, victim: str) -> bool:
    """Is that process one of the kind that is to be killed?"""
    words = process.cmdline()
    match victim:
        case "kernel":
            return "lab_helpers.ui.kernel" in words
        case "lab":
            return "lab_helpers.cli" in words or any(Path(word).name == "lab" for word in words[1:2])
        case "qemu":
            return Path(process.exe()).name.startswith("qemu-system-")
        case "build":  # the docker command that sends the folder and waits for the image
            program = Path(words[0]).name if words else ""  # one that ends has no words any more
            return program == "docker" and "build" in words  # and not the wrapper around it
        case _:
            return process.name() == victim
