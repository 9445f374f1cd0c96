"""kubectl, and the files in which it finds its clusters.

Source of the file's form and of its lock: https://kubernetes.io/docs/concepts/configuration/organize-cluster-access-kubeconfig/
and client-go's tools/clientcmd: kubectl and kind lock NAME by making NAME.lock.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from lab_helpers.core.errors import ToolError
from lab_helpers.core.processes import Completed, pasteable, run
from lab_helpers.core.store import write_atomic
from lab_helpers.core.waiting import wait_for

STALE_LOCK_S = 10
"""A lock that is older than this was left by a program that was killed: they hold it for milliseconds."""
_FORWARDING = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+) ->")


@dataclass(frozen=True)
class Kubectl:
    """The program kubectl, with a kubeconfig of its own: the user's is neither read nor written."""

    program: Path
    kubeconfig: str
    """The text of the file."""
    cache: Path
    """Where it remembers what a cluster can do; by default that would be in the user's home."""

    def run(
        self, args: Sequence[str], *, stdin: str | None = None, timeout_s: float = 60, check: bool = True
    ) -> Completed:
        """Run it to its end. Raises ToolError as `core.processes.run` does."""
        with self._argv(args) as argv:
            return run(argv, stdin=stdin, timeout_s=timeout_s, check=check)

    @contextlib.contextmanager
    def forward(self, target: str, port: int, *, namespace: str, local_port: int, timeout_s: float) -> Iterator[int]:
        """Lead a port of 127.0.0.1 (0: a free one) to a port of `target` ("pod/NAME", "service/NAME"); yields it.

        Raises ToolError when it ends at once, WaitTimeoutError when it does not listen within `timeout_s` seconds.
        """
        words = ("port-forward", "--address", "127.0.0.1", "-n", namespace, target, f"{local_port or ''}:{port}")
        with (
            self._argv(words) as argv,
            tempfile.TemporaryFile("w+") as said,
            subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=said, stderr=said) as process,
        ):

            def listening() -> int | None:
                """The port; 0 when kubectl has ended."""
                ended = process.poll() is not None
                found = _FORWARDING.search(_text(said))
                return int(found[1]) if found else 0 if ended else None

            try:
                found = wait_for(listening, f"a forward to {target}", timeout_s=timeout_s, hint=pasteable(argv))
                if not found:
                    what = f"kubectl could not forward a port to {target}."
                    raise ToolError(what, command=pasteable(argv), output=_text(said), code=process.returncode)
                yield found
            finally:
                process.terminate()

    @contextlib.contextmanager
    def _argv(self, args: Sequence[str]) -> Iterator[list[str]]:
        with tempfile.TemporaryDirectory(prefix="lab-kube-") as folder:  # mode 0700
            path = Path(folder) / "kubeconfig"
            path.write_text(self.kubeconfig)
            yield [str(self.program), "--kubeconfig", str(path), "--cache-dir", str(self.cache), *args]


def _text(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


def _yaml() -> Any:
    """The kubernetes client brings it along; it has no type annotations."""
    return importlib.import_module("yaml")


def parse_kubeconfig(text: str) -> dict[str, Any]:
    """A kubeconfig; empty when the text is none."""
    yaml = _yaml()
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError:
        return {}
    return content if isinstance(content, dict) else {}


def read_kubeconfig(path: Path) -> dict[str, Any]:
    """The kubeconfig in a file; empty when there is none, or none that can be read."""
    try:
        return parse_kubeconfig(path.read_text())
    except (OSError, ValueError):
        return {}


def forget_cluster(path: Path, name: str) -> None:
    """Take a kind cluster (its entry, user and context) out of a kubeconfig, as `kind delete cluster` does."""
    yaml = _yaml()
    key = f"kind-{name}"
    with locked_kubeconfig(path):
        content = read_kubeconfig(path)
        kept = dict(content)
        for part in ("clusters", "users", "contexts"):
            kept[part] = [entry for entry in content.get(part) or [] if entry.get("name") != key]
        if kept.get("current-context") == key:
            kept["current-context"] = ""
        if content and kept != content:
            write_atomic(path, yaml.safe_dump(kept, sort_keys=False), mode=0o600)


@contextlib.contextmanager
def locked_kubeconfig(path: Path) -> Iterator[None]:
    """Hold the lock that kubectl and kind take. A stale one is broken. Raises WaitTimeoutError."""
    lock = path.with_name(path.name + ".lock")
    path.parent.mkdir(parents=True, exist_ok=True)

    def take() -> bool:
        try:
            os.close(os.open(lock, os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            with contextlib.suppress(FileNotFoundError):
                if time.time() - lock.stat().st_mtime > STALE_LOCK_S:
                    lock.unlink()
            return False
        return True

    wait_for(take, f"a program that holds {lock}", timeout_s=2 * STALE_LOCK_S)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
