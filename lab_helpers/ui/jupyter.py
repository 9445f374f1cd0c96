"""JupyterLab for the course: its kernel, the learner's ssh, a server of our own on 127.0.0.1.

The server keeps its settings, history and runtime files under `.lab/jupyter`: nothing is read from or written to the
learner's own Jupyter folders. It outlives `lab open`; a second one finds it again, and `lab open --stop` ends it.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab_helpers.core.errors import LabError, WaitTimeoutError
from lab_helpers.core.events import Note, Progress, Tell, silent
from lab_helpers.core.ports import is_free
from lab_helpers.core.processes import ProcessId, find_program, start_detached
from lab_helpers.core.settings import Place
from lab_helpers.core.store import locked, write_atomic
from lab_helpers.core.waiting import wait_for

KERNEL = "vm-to-kubernetes"
FIRST_PORT, PORTS = 8888, 100

# What JupyterLab does by default and a course should not: ask for the news, lose the last two minutes, and forget on
# reload what a widget showed.
OVERRIDES: dict[str, dict[str, object]] = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/docmanager-extension:plugin": {"autosaveInterval": 15},
    "@jupyter-widgets/jupyterlab-manager:plugin": {"saveState": True},
}


@dataclass(frozen=True)
class Opened:
    """A JupyterLab that answers. `url` holds its token; `fresh` is False when it was running already."""

    url: str
    port: int
    fresh: bool


def learner_environment(place: Place) -> dict[str, str]:
    """The environment of the learner's commands: the place's own, and the way to an engine that docker cannot find."""
    from lab_helpers.tools.engine import find_engine

    engine = find_engine()
    return {**place.env(), **(engine.environment if engine else {})}


def install_kernel(place: Place) -> Path:
    """Write the course's kernelspec into this Python environment and the ssh wrappers; returns the kernelspec's folder.

    Can be called again at any time; nothing is written to the learner's HOME.
    """
    folder = Path(sys.prefix) / "share" / "jupyter" / "kernels" / KERNEL
    argv = [sys.executable, "-P", "-m", "lab_helpers.ui.kernel", "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": "From VM to Kubernetes", "language": "python"}
    _write_if_new(folder / "kernel.json", json.dumps(spec, indent=1) + "\n")
    install_wrappers(place)
    return folder


SSH = """#!/bin/sh
if [ -f {config} ]; then exec {program} -F {config} "$@"; fi
exec {program} "$@"
"""
DOCKER = """#!/bin/sh
# The real docker. What it makes here gets a label, by which the course tells this checkout's things from another's.
left=$#
seen=options
while [ $left -gt 0 ]; do
    word=$1
    shift
    set -- "$@" "$word"
    left=$((left - 1))
    case $seen:$word in
        value:*) seen=options ;;
        options:-c | options:--context | options:--config | options:-H | options:--host | options:-l | \
            options:--log-level | options:--tlscacert | options:--tlscert | options:--tlskey) seen=value ;;
        options:-*) ;;
        options:run | options:create | options:build | container:run | container:create | image:build | \\
            builder:build | buildx:build | volume:create | network:create) set -- "$@" --label {label} && seen=all ;;
        options:container | options:image | options:builder | options:buildx | options:volume | options:network)
            seen=$word ;;
        *) seen=all ;;
    esac
done
exec {program} "$@"
"""


def install_wrappers(place: Place) -> None:
    """Put `ssh`, `scp` and `docker` into place.bin: the real ones, told of the course's VMs, and of this place."""
    from lab_helpers.tools.engine import PLACE_LABEL

    told = {"config": shlex.quote(str(place.state / "ssh_config")), "label": f"{PLACE_LABEL}={place.mark}"}
    for name, text in (("ssh", SSH), ("scp", SSH), ("docker", DOCKER)):
        real = find_program(name)
        wrapper = place.bin / name
        if real is None:
            wrapper.unlink(missing_ok=True)  # "command not found" tells more than a wrapper around nothing
            continue
        _write_if_new(wrapper, text.format(program=shlex.quote(str(real)), **told), mode=0o755)


def _write_if_new(path: Path, text: str, *, mode: int = 0o644) -> None:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError, UnicodeDecodeError):
        if path.read_text(encoding="utf-8") == text and path.stat().st_mode & 0o777 == mode:
            return
    write_atomic(path, text, mode=mode)


def open_course(place: Place, lab: str = "00-start", *, browser: bool = True, tell: Tell = silent) -> Opened:
    """Bring the lab's notebook into the work folder and a JupyterLab that shows it; a running one is used again.

    With `browser`, and where there is a terminal and a display, the browser opens. Raises LabError when JupyterLab
    does not answer within 90 s, with the end of its log.
    """
    from lab_helpers.course.workspace import open_lab

    notebook = open_lab(place, lab)
    install_kernel(place)
    with locked(place.state / "jupyter.lock"):
        port = running_jupyter(place)
        fresh = port is None
        if port is None:
            tell(Progress("starting JupyterLab", typical_s=6))
            port = _start(place)
    page = notebook.relative_to(place.work).as_posix()
    opened = Opened(f"http://127.0.0.1:{port}/lab/tree/{page}?token={_token(place)}", port, fresh)
    if browser and _has_display():
        import webbrowser

        if webbrowser.open(opened.url):
            tell(Note("opened in your browser"))
    return opened


def running_jupyter(place: Place) -> int | None:
    """The port of this place's JupyterLab; None when it does not run or does not answer to our token."""
    record = _record(place)
    if record is None or not _process(record).alive():
        return None
    port = int(record["port"])
    return port if _answers(port, _token(place)) else None


def stop_jupyter(place: Place) -> bool:
    """End this place's JupyterLab and its kernels. True when one ran."""
    with locked(place.state / "jupyter.lock"):
        record = _record(place)
        running = record is not None and _process(record).alive()
        if record is not None and running:
            _process(record).end(grace_s=15)
        _record_file(place).unlink(missing_ok=True)
    return running


def _start(place: Place) -> int:
    """Start a server on the first free port and wait until it answers."""
    token = _token(place)
    _write_settings(place)
    log = place.state / "logs" / "jupyter.log"
    write_atomic(log, "", mode=0o600)
    for port in range(FIRST_PORT, FIRST_PORT + PORTS):
        if not is_free("127.0.0.1", port):
            continue
        argv = [sys.executable, "-m", "jupyterlab", f"--ServerApp.port={port}"]
        identity, process = start_detached(argv, log=log, env=_server_env(place), cwd=place.work)
        record = {"pid": identity.pid, "started": identity.started, "port": port}
        write_atomic(_record_file(place), json.dumps(record) + "\n", mode=0o600)

        def answered(port: int = port) -> str | None:
            if _answers(port, token):
                return "answered"
            return "ended" if process.poll() is not None else None  # noqa: B023 - called within this turn only

        try:
            outcome = wait_for(
                answered, "JupyterLab to answer", timeout_s=90, interval_s=0.1, log=lambda: log.read_text("utf-8")
            )
        except WaitTimeoutError:
            identity.end()
            raise
        if outcome == "answered":
            return port
        if is_free("127.0.0.1", port):  # it ended, and not because somebody else took the port in between
            said = "\n".join(log.read_text("utf-8", errors="replace").splitlines()[-15:])
            raise LabError("JupyterLab ended as soon as it was started.", why=said, do=f"read all of {log}")
    raise LabError(
        f"All ports from {FIRST_PORT} to {FIRST_PORT + PORTS - 1} are in use.", do="stop a program that listens there"
    )


def _write_settings(place: Place) -> None:
    """The server's configuration, as a file: a token or a path on a command line is there for every user to read."""
    settings = place.state / "jupyter" / "settings"
    write_atomic(settings / "overrides.json", json.dumps(OVERRIDES, indent=1))
    shell = os.environ.get("SHELL") or "/bin/sh"
    config: dict[str, dict[str, Any]] = {
        "ServerApp": {
            "ip": "127.0.0.1",
            "port_retries": 0,
            "open_browser": False,
            "root_dir": str(place.work),
            "allow_root": os.getuid() == 0,  # containers and CI; elsewhere JupyterLab's own refusal never matters
            "terminado_settings": {"shell_command": [shell]},  # not a login shell: /etc/profile would reset our PATH
        },
        "LabApp": {"extension_manager": "readonly", "news_url": None},
        "LabServerApp": {"app_settings_dir": str(settings)},
    }
    write_atomic(place.state / "jupyter" / "config" / "jupyter_lab_config.json", json.dumps(config, indent=1))


def _server_env(place: Place) -> dict[str, str]:
    own = place.state / "jupyter"
    return {
        **place.env(),
        "JUPYTER_CONFIG_DIR": str(own / "config"),
        "JUPYTER_DATA_DIR": str(own / "data"),
        "JUPYTER_RUNTIME_DIR": str(own / "runtime"),
        "IPYTHONDIR": str(place.state / "ipython"),
        "JUPYTER_TOKEN_FILE": str(_token_file(place)),
        "JUPYTER_TOKEN": "",  # one from a Jupyter around us would win over the file
        "JPY_PARENT_PID": "",  # `!lab open` in a cell: what is started is no part of that kernel
    }


def _token_file(place: Place) -> Path:
    return place.state / "jupyter.token"


def _token(place: Place) -> str:
    """The server's token. It stays the same, so that an open tab finds a server that was started again."""
    file = _token_file(place)
    with contextlib.suppress(FileNotFoundError):
        if token := file.read_text(encoding="ascii").strip():
            return token
    token = secrets.token_hex(24)
    write_atomic(file, token, mode=0o600)  # no newline: Jupyter takes the file as it is
    return token


def _record_file(place: Place) -> Path:
    return place.state / "jupyter.json"


def _record(place: Place) -> dict[str, Any] | None:
    try:
        record = json.loads(_record_file(place).read_text(encoding="utf-8"))
        return {"pid": int(record["pid"]), "started": float(record["started"]), "port": int(record["port"])}
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _process(record: dict[str, Any]) -> ProcessId:
    return ProcessId(record["pid"], record["started"])


def _answers(port: int, token: str) -> bool:
    """True when a server on that port lets our token in. A proxy of the environment is not asked."""
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=3)
    try:
        connection.request("GET", "/api/status", headers={"Authorization": f"token {token}"})
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _has_display() -> bool:
    if not (sys.stdout and sys.stdout.isatty()):
        return False
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
