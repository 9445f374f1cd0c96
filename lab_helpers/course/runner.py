"""Runs a lesson's cells for real, one at a time, in a kernel like the learner's."""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from lab_helpers.core.errors import LabError
from lab_helpers.core.settings import Place
from lab_helpers.core.store import write_atomic
from lab_helpers.course.lesson import KERNEL_NAME, KERNEL_TITLE, Lesson, solution_notebook
from lab_helpers.course.reference import COLOURS
from lab_helpers.course.rules import Rules


class CellError(LabError):
    """A cell of a solution failed. `output` is what it put out."""

    def __init__(self, lab: str, source: str, output: str) -> None:
        super().__init__(
            f"A cell of {lab}'s solution failed:\n{_indented(source)}",
            why="it put out:\n" + _indented(output or "nothing"),
            do="run `lab doctor`; if it finds nothing, `lab reset` the lab and try again",
        )
        self.source = source
        self.output = output


def _indented(text: str) -> str:
    return "\n".join("    " + line for line in text.splitlines()[-30:])


@contextlib.contextmanager
def environment(place: Place, kernel: str) -> Iterator[None]:
    """Let this process and all that it starts live in `place`, with a kernel that needs no installation.

    Nothing of the user's own Jupyter and IPython settings is read; tools speak English and UTC.
    """
    jupyter = place.state / "jupyter"
    argv = [sys.executable, "-P", "-m", kernel, "-f", "{connection_file}"]
    spec = {"argv": argv, "display_name": KERNEL_TITLE, "language": "python"}
    write_atomic(jupyter / "kernels" / KERNEL_NAME / "kernel.json", json.dumps(spec))
    (jupyter / "runtime").mkdir(parents=True, exist_ok=True)
    (jupyter / "runtime").chmod(0o700)
    ours = {
        **place.env(),
        "JUPYTER_PATH": str(jupyter),
        "JUPYTER_RUNTIME_DIR": str(jupyter / "runtime"),
        "JUPYTER_CONFIG_DIR": str(jupyter / "config"),
        "JUPYTER_DATA_DIR": str(jupyter / "data"),
        "IPYTHONDIR": str(place.state / "ipython"),
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
    }
    before = dict(os.environ)
    os.environ.update(ours)
    os.environ.pop("PYTHONSTARTUP", None)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


class Runner:
    """A kernel in the lab's work folder and the solved notebook that runs in it. Use it as a context, in `environment`.

    The learner's notebook is not touched.
    """

    def __init__(self, place: Place, lab: str, lesson: Lesson, rules: Rules) -> None:
        self.place = place
        self.lab = lab
        self.lesson = lesson
        self.rules = rules
        self.notebook = solution_notebook(lesson)
        self._stack = contextlib.ExitStack()
        self._client: Any = None

    def __enter__(self) -> Runner:
        work = self.place.work / self.lab
        work.mkdir(parents=True, exist_ok=True)
        specs = importlib.import_module("jupyter_client.kernelspec").KernelSpecManager(
            kernel_dirs=[str(self.place.state / "jupyter" / "kernels")]
        )
        log = _open_log(self.place.state / "logs" / "kernel.log")
        self._stack.callback(log.close)
        try:
            try:
                self._start(specs, work, log)
            except RuntimeError:
                # Its ports are chosen before it listens on them: another program may have been quicker.
                self._start(specs, work, log)
        except RuntimeError as error:
            self._stack.close()
            raise LabError("The notebook's kernel did not start.", why=str(error), do=f"read {log.name}") from None
        except BaseException:
            self._stop_now()
            raise
        return self

    def _start(self, specs: Any, work: Path, log: Any) -> None:
        """Start the kernel, with ports of its own. Raises RuntimeError when it dies while it starts."""
        manager = importlib.import_module("jupyter_client").AsyncKernelManager(
            kernel_name=KERNEL_NAME, kernel_spec_manager=specs
        )
        self._client = importlib.import_module("nbclient").NotebookClient(
            self.notebook, km=manager, timeout=self.rules.cell_s, startup_timeout=60, coalesce_streams=True
        )
        self._stack.enter_context(
            self._client.setup_kernel(
                cwd=str(work), env=dict(os.environ), stdout=log, stderr=log, stdin=None, cleanup_kc=True
            )
        )

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if kind is not None:
            self._stop_now()
        self._stack.close()

    def _stop_now(self) -> None:
        """After Ctrl-C or an error: what waits for the kernel is dropped, and the kernel is not asked but killed."""
        import asyncio

        loop = importlib.import_module("jupyter_core.utils").ensure_event_loop()  # the one that nbclient runs in
        waiting = asyncio.all_tasks(loop)
        for task in waiting:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*waiting, return_exceptions=True))
        self._client.shutdown_kernel = "immediate"

    def run(self, position: int) -> None:
        """Run the cell at `position` of the lesson; text is passed over. Raises CellError with what it put out."""
        cell = self.notebook.cells[position]
        exceptions = importlib.import_module("nbclient.exceptions")
        try:
            self._client.execute_cell(cell, position)
        except exceptions.CellExecutionError:
            raise CellError(self.lab, cell.source, text_of(cell.outputs)) from None
        except exceptions.CellTimeoutError:
            said = text_of(cell.outputs) + f"\n(not finished after {self.rules.cell_s:.0f} s)"
            raise CellError(self.lab, cell.source, said) from None
        except exceptions.DeadKernelError:
            raise CellError(self.lab, cell.source, text_of(cell.outputs) + "\n(the kernel died)") from None


def _open_log(path: Path) -> Any:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("ab")


def text_of(outputs: list[Any]) -> str:
    """What a cell put out, as plain text: streams, results and errors in order, without colours."""
    parts = []
    for output in outputs:
        if output["output_type"] == "stream":
            parts.append(output["text"])
        elif output["output_type"] == "error":
            parts.append(f"{output['ename']}: {output['evalue']}")
        else:
            parts.append(output.get("data", {}).get("text/plain", ""))
    return COLOURS.sub("", "\n".join(str(part).rstrip("\n") for part in parts if part)).strip()
