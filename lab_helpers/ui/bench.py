"""`lab bench`: times that the course promises, each as a ratio of two things that were measured in turn in one run.

A machine may be slow or busy; a ratio of neighbours still means something.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel, ConfigDict, computed_field

from lab_helpers.boundaries import snapshots
from lab_helpers.core.errors import ExitCode, UsageError
from lab_helpers.core.events import Progress, Tell
from lab_helpers.core.ports import free_port
from lab_helpers.core.processes import run
from lab_helpers.core.settings import Place
from lab_helpers.core.waiting import wait_for
from lab_helpers.course.world import World
from lab_helpers.tools.qemu import Forward
from lab_helpers.ui.terminal import Screen

Pair = tuple[float, float]


class Measure(BaseModel):
    """One thing measured against another. Times are in seconds, in the order in which they were taken."""

    model_config = ConfigDict(frozen=True)

    name: str
    what: str
    against: str
    times: list[float]
    other_times: list[float]

    @computed_field  # type: ignore[prop-decorator]
    @property
    def ratio(self) -> float:
        """The median of the ratios, pair by pair."""
        return statistics.median(a / b for a, b in zip(self.times, self.other_times, strict=True))


class BenchReport(BaseModel):
    """What `lab bench --json` prints."""

    model_config = ConfigDict(frozen=True)

    measures: list[Measure]


def run_bench(place: Place, names: list[str], as_json: bool) -> ExitCode:
    """Measure what is asked for (nothing: all) and print it. Raises UsageError for a measure that there is not."""
    unknown = sorted(set(names) - set(BENCHES))
    if unknown:
        raise UsageError(f"There is no measure {unknown[0]!r}.", do=f"choose from: {', '.join(BENCHES)}")
    with Screen() as screen:
        report = BenchReport(measures=[BENCHES[name](place, screen.tell) for name in names or BENCHES])
        if as_json:
            screen.say(report.model_dump_json(indent=2))
        else:
            screen.say("\n".join(_line(measure) for measure in report.measures))
    return ExitCode.PASSED


def _line(measure: Measure) -> str:
    mine, other = statistics.median(measure.times), statistics.median(measure.other_times)
    return (
        f"{measure.name}: {measure.what} {mine:.3g} s, {measure.against} {other:.3g} s, ratio {measure.ratio:.3g} "
        f"(medians of {len(measure.times)}, in turn)"
    )


def _in_turn(name: str, runs: int, tell: Tell, pair: Callable[[], Pair]) -> tuple[list[float], list[float]]:
    pairs = []
    for number in range(runs):
        tell(Progress(f"measuring {name}", number, runs, "runs"))
        pairs.append(pair())
    return [a for a, _ in pairs], [b for _, b in pairs]


def _timed(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def _process(*argv: str) -> Callable[[], object]:
    return lambda: subprocess.run(argv, check=True, capture_output=True)


def _import(_place: Place, tell: Tell) -> Measure:
    """Importing the package, against a Python that imports nothing."""

    def pair() -> Pair:
        return _timed(_process(sys.executable, "-c", "import lab_helpers")), _timed(_process(sys.executable, "-c", ""))

    times, others = _in_turn("import", 9, tell, pair)
    return Measure(name="import", what="import lab_helpers", against="bare Python", times=times, other_times=others)


def _help(_place: Place, tell: Tell) -> Measure:
    """The command's help, against a Python that imports nothing."""

    def pair() -> Pair:
        mine = _timed(_process(sys.executable, "-m", "lab_helpers.cli", "--help"))
        return mine, _timed(_process(sys.executable, "-c", ""))

    times, others = _in_turn("help", 9, tell, pair)
    return Measure(name="help", what="lab --help", against="bare Python", times=times, other_times=others)


def _first_boot(place: Place, tell: Tell) -> Measure:
    """From a new disk to Pinboard's first answer on the host, against the boot of the guest alone."""

    def pair() -> Pair:
        with _own_place(place) as world:
            port = free_port()
            began = time.perf_counter()
            vm = world.make_vm("bench", memory_mib=640, cpus=2, forwards=(Forward(port, 8000),))
            booted = time.perf_counter() - began
            vm.copy(place.labs / "pinboard" / "pinboard", "/opt/")
            vm.running().shell(
                "cd /opt && DATABASE_URL=postgresql:///pinboard PINBOARD_HOST=0.0.0.0 "
                "systemd-run --quiet --uid=pinboard --working-directory=/opt --setenv=DATABASE_URL "
                "--setenv=PINBOARD_HOST python3 -m pinboard"
            )
            wait_for(lambda: world.get(f"http://127.0.0.1:{port}/readyz").ok, "Pinboard", timeout_s=60)
            return time.perf_counter() - began, booted

    times, others = _in_turn("first-boot", 3, tell, pair)
    return Measure(
        name="first-boot", what="new VM to Pinboard's answer", against="its boot alone", times=times, other_times=others
    )


def _restore(place: Place, tell: Tell) -> Measure:
    """A VM brought back from a snapshot, against its cold boot."""
    with _own_place(place) as world:
        vm = world.make_vm("bench", memory_mib=512, cpus=2)
        snapshots.save(vm, "up")

        def pair() -> Pair:
            restored = _timed(lambda: snapshots.restore(vm, "up"))
            vm.stop(force=True)
            return restored, _timed(vm.start)

        times, others = _in_turn("restore", 3, tell, pair)
    return Measure(name="restore", what="restore a snapshot", against="cold boot", times=times, other_times=others)


def _verdict(place: Place, tell: Tell) -> Measure:
    """A verdict on a running guest, against one command in that guest."""
    from lab_helpers.course.engine import check_task

    with _own_place(place) as world:
        vm = world.make_vm("pinboard-vm", memory_mib=640, cpus=2)
        guest = vm.running()

        def pair() -> Pair:
            mine = _timed(lambda: check_task(world.place, "01-virtual-machine", "own-kernel", record=False))
            return mine, _timed(lambda: guest.run(["true"]))

        times, others = _in_turn("verdict", 7, tell, pair)
    return Measure(
        name="verdict", what="check 01 own-kernel", against="one command in the guest", times=times, other_times=others
    )


def _cluster(place: Place, tell: Tell) -> Measure:
    """A cluster of one node made by the course, against plain kind on the same image."""
    from lab_helpers.boundaries.cluster import Cluster
    from lab_helpers.boundaries.node_containers import remove_nodes
    from lab_helpers.images.node_image import NODE, node_image
    from lab_helpers.images.programs import kind_program
    from lab_helpers.tools.engine import need_engine

    program, environment = kind_program(place, tell), need_engine().environment
    node_image(place, tell)
    with _own_place(place) as world:
        mine, other, config = "pinboard-bench", "pinboard-bench-plain", world.place.state / "plain-kubeconfig"
        plain: list[str | Path] = [
            program,
            "create",
            "cluster",
            "--name",
            other,
            "--image",
            NODE,
            "--kubeconfig",
            config,
        ]

        def pair() -> Pair:
            made = _timed(lambda: Cluster.create(world.place, mine))
            remove_nodes(world.place, mine)
            plainly = _timed(lambda: run(plain, env=environment, timeout_s=300))
            remove_nodes(world.place, other)
            return made, plainly

        times, others = _in_turn("cluster", 4, tell, pair)
    return Measure(
        name="cluster",
        what="a cluster of one node",
        against="plain kind create cluster",
        times=times,
        other_times=others,
    )


BENCHES: dict[str, Callable[[Place, Tell], Measure]] = {
    "import": _import,
    "help": _help,
    "verdict": _verdict,
    "restore": _restore,
    "first-boot": _first_boot,
    "cluster": _cluster,
}


@contextmanager
def _own_place(place: Place) -> Iterator[World]:
    """A place of its own: what the learner has is neither used nor touched."""
    folder = Path(tempfile.mkdtemp(prefix="lab-bench-"))
    world = World(replace(place, state=folder, work=folder / "work"), "01-virtual-machine")
    try:
        yield world
    finally:
        world.clean()
        shutil.rmtree(folder, ignore_errors=True)
