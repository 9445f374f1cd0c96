"""A real dockerd of a test's own, beside the machine's: with folders, a socket and a bridge of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from lab_helpers.core.processes import find_program, run
from lab_helpers.core.settings import Place
from lab_helpers.core.settings import place as real_place
from lab_helpers.tools.dockerd import Daemon


@contextlib.contextmanager
def own_daemon() -> Iterator[tuple[Place, Daemon]]:
    """The place that it belongs to, and how it is started; what runs of it in the end is ended."""
    if os.geteuid() != 0 or find_program("dockerd") is None:
        pytest.skip("a dockerd of one's own needs root, and the package docker.io")
    folder = Path(tempfile.mkdtemp(prefix="lab-dockerd-"))  # a short path: sockets have a limit
    # A bridge of its own: with --bridge=none a dockerd takes the machine's docker0 away.
    bridge = f"lab{folder.name[-8:].replace('_', 'x')}"
    run(["ip", "link", "add", bridge, "type", "bridge"])
    run(["ip", "address", "add", "10.213.77.1/24", "dev", bridge])
    place = replace(real_place(), home=folder / "home", state=folder / "state", work=folder / "work")
    paths = {"config-file": "daemon.json", "data-root": "data", "exec-root": "exec", "pidfile": "pid"}
    words = [word for name, path in paths.items() for word in (f"--{name}", str(folder / path))]
    daemon = Daemon(
        socket=folder / "sock",
        pidfile=folder / "pid",
        exec_root=folder / "exec",
        config=folder / "daemon.json",
        programs=folder / "programs",
        words=(*words, "--host", f"unix://{folder}/sock", f"--bridge={bridge}", "--iptables=false"),
    )
    daemon.config.write_text('{"debug": false}')
    try:
        yield place, daemon
    finally:
        if process := daemon.process():
            process.end(grace_s=30)
        run(["ip", "link", "delete", bridge], check=False)
        for mounted in psutil.disk_partitions(all=True):  # a killed one leaves its folder mounted upon itself
            if Path(mounted.mountpoint).is_relative_to(folder):
                run(["umount", "--lazy", mounted.mountpoint])
        shutil.rmtree(folder)
