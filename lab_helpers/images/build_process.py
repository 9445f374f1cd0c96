"""A build as a process of its own: if we are killed it goes on and keeps the lock, so that the next caller waits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from lab_helpers.core.errors import ToolError
from lab_helpers.core.events import Progress, Tell
from lab_helpers.core.processes import pasteable, run_session


def run_build(
    argv: Sequence[str],
    *,
    what: str,
    log: Path,
    settings: Mapping[str, str],
    lock: int,
    progress: Callable[[Path], Progress],
    again: str,
    tell: Tell,
) -> None:
    """Run the program that builds `what` to its end; what it says goes to `log`, out of which `progress` reads.

    `settings` are added to its environment, and it inherits `lock` (see core.store.locked). Ctrl-C ends it with us.
    Raises ToolError when it fails; `again` is the command that tries once more.
    """
    code = run_session(argv, log=log, env=settings, pass_fds=(lock,), tick=lambda: tell(progress(log)))
    if code != 0:
        raise ToolError(
            f"{what} could not be built.",
            command=pasteable(argv),
            output=log.read_text(errors="replace"),
            code=code,
            do=f"the whole log is in {log}; is the network there? `lab doctor` looks; then run `{again}` again",
        )
