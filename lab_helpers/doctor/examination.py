"""The examination: every probe at once, each in a thread of its own, since most of them wait for a program."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from lab_helpers.core.errors import LabError
from lab_helpers.core.settings import Place
from lab_helpers.doctor import engine, images, machine, programs
from lab_helpers.doctor.report import Finding, Level, Report

Probe = Callable[[Place], Finding]


def state_writable(place: Place) -> Finding:
    """The folders that the course writes to: caches, state, the learner's work."""
    for folder in (place.state, place.home, place.work):
        nearest = next(path for path in (folder, *folder.parents) if path.exists())
        if not os.access(nearest, os.W_OK | os.X_OK):
            return Finding(
                id="STATE-WRITABLE",
                level=Level.FAIL,
                title="Folders of the course",
                saw=f"{nearest} cannot be written to",
                advice=f"give yourself the right to write there: sudo chown -R $USER '{nearest}'",
            )
    saw = f"{place.state}, {place.home} and {place.work} can be written to"
    return Finding(id="STATE-WRITABLE", level=Level.OK, title="Folders of the course", saw=saw)


CHECKS: dict[str, Probe] = {
    "HOST": machine.host,
    "PYTHON": machine.python,
    "STATE-WRITABLE": state_writable,
    "ACCEL": machine.accelerator,
    "MEMORY": machine.memory,
    "DISK": machine.disk,
    "PORTS": machine.ports,
    "NETWORK": machine.network,
    "QEMU": programs.qemu_programs,
    "SSH": programs.ssh_programs,
    "CURL": programs.curl,
    "IMAGE-BUILDER": programs.image_builder,
    "GUEST-IMAGE": images.guest_image,
    "ENGINE": engine.engine,
    "ENGINE-GROUP": engine.group,
    "ENGINE-PLAIN": engine.plain,
    "ENGINE-PRIVILEGED": engine.privileged,
    "ENGINE-STORAGE": engine.storage,
    "CGROUP": engine.cgroup,
    "INOTIFY": engine.inotify,
    "REGISTRY": images.registry,
    "BASE-IMAGE": images.base_image,
    "KIND": images.kind,
    "KUBECTL": images.kubectl,
    "NODE-IMAGE": images.node_image,
    "BROWSER": programs.browser,
    "POSTGRESQL": programs.postgresql,
}
"""Every finding's ID and the probe that makes it, in the order in which a report shows them."""

FOR_TESTS: dict[str, Probe] = {
    "ENGINE": partial(engine.engine, missing_level=Level.FAIL),
    "ENGINE-GROUP": partial(engine.group, denied_level=Level.FAIL),
    "ENGINE-PLAIN": partial(engine.plain, broken_level=Level.FAIL),
    "ENGINE-PRIVILEGED": partial(engine.privileged, broken_level=Level.FAIL),
    "BROWSER": partial(programs.browser, missing_level=Level.FAIL),
    "POSTGRESQL": partial(programs.postgresql, missing_level=Level.FAIL),
}
"""What is required of who runs the tests; to a learner it is worth a note, or a warning until a lab needs it."""


def examine(place: Place, *, for_tests: bool = False) -> Report:
    """Look at everything; takes a second or two. It leaves nothing behind, in the engine neither."""
    began = time.monotonic()
    checks = {**CHECKS, **FOR_TESTS} if for_tests else CHECKS
    engine.forget()
    with ThreadPoolExecutor(max_workers=len(checks)) as pool:
        findings = list(pool.map(lambda item: _look(place, *item), checks.items()))
    return Report(findings=tuple(findings), seconds=round(time.monotonic() - began, 2))


def _look(place: Place, name: str, probe: Probe) -> Finding:
    """One finding. A probe that fails is a finding too: the others still count."""
    try:
        return probe(place)
    except (LabError, OSError, ValueError, subprocess.SubprocessError) as error:
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        return Finding(
            id=name, level=Level.WARN, title=name.capitalize(), saw=f"could not be looked at: {what}", advice=""
        )
