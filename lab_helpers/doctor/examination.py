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
from lab_helpers.doctor import machine, programs
from lab_helpers.doctor.report import Finding, Level, Report

Probe = Callable[[Place], Finding]


def guest_image(place: Place) -> Finding:
    """The guest's disk: here or not, and how it came here."""
    from lab_helpers.images.guest_image import TYPICAL_S, find_guest_image

    image = find_guest_image(place)
    if image is None:
        return Finding(
            id="GUEST-IMAGE",
            level=Level.NOTE,
            title="Guest disk",
            saw=f"not here yet; making it takes about {TYPICAL_S} s",
            advice="lab prepare 01",
        )
    return Finding(
        id="GUEST-IMAGE",
        level=Level.OK,
        title="Guest disk",
        saw=f"{image.key}, {image.way}",
        facts={"key": image.key, "folder": str(image.folder), "way": image.way},
    )


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
    "GUEST-IMAGE": guest_image,
    "ENGINE": programs.engine,
    "BROWSER": programs.browser,
    "POSTGRESQL": programs.postgresql,
}
"""Every finding's ID and the probe that makes it, in the order in which a report shows them."""

FOR_TESTS: dict[str, Probe] = {
    "BROWSER": partial(programs.browser, missing_level=Level.FAIL),
    "POSTGRESQL": partial(programs.postgresql, missing_level=Level.FAIL),
}
"""What only the tests need: worth a note to a learner, required of who runs the tests."""


def examine(place: Place, *, for_tests: bool = False) -> Report:
    """Look at everything; takes a second or two, and changes nothing."""
    began = time.monotonic()
    checks = {**CHECKS, **FOR_TESTS} if for_tests else CHECKS
    with ThreadPoolExecutor(max_workers=8) as pool:
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
