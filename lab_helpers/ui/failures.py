"""What the course says when something goes wrong: a sentence and an exit code, never a traceback."""

from __future__ import annotations

import errno
import os
import sys
import traceback

from lab_helpers.core.errors import ExitCode, LabError

# What the operating system refuses because of the machine's state, and not because of a bug of ours.
REFUSALS = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.EIO,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.ENAMETOOLONG,
}


class RefusedError(LabError):
    """The operating system did not let us: a folder that cannot be written, a full disk."""

    exit_code = ExitCode.MACHINE


class OurBugError(LabError):
    """An error that nobody foresaw. Its traceback is in a file, for the report."""

    exit_code = ExitCode.BROKEN


def named(error: Exception) -> LabError:
    """The error as one that can be shown. What nobody foresaw is a bug of ours; its traceback goes to `.lab/logs`."""
    if isinstance(error, LabError):
        return error
    if isinstance(error, OSError) and error.errno in REFUSALS:
        where = f" ({error.filename})" if error.filename else ""
        return RefusedError(
            f"This machine refused: {error.strerror or error}{where}.",
            why="a file or folder of the course, or the disk, cannot be used as it is",
            do="make room, or make the path writable; `lab doctor` looks at both",
        )
    said = str(error).splitlines()[0] if str(error).strip() else "it gave no reason"
    return OurBugError(
        "The course's own program is broken here; nothing is wrong with your work.",
        why=f"{type(error).__name__}: {said}",
        do=f"report it with {_log(error)}",
    )


def _log(error: Exception) -> str:
    from lab_helpers.core.settings import place

    trace = "".join(traceback.format_exception(error))
    log = place().state / "logs" / f"broken-lab-{os.getpid()}.txt"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(f"{sys.argv}\n\n{trace}", encoding="utf-8", errors="backslashreplace")
    except OSError:
        return "these words: " + " / ".join(line.strip() for line in trace.splitlines()[-3:])
    return f"the file {log}"


def safe_streams() -> None:
    """Make printing safe: descriptors that were closed lead nowhere, characters that cannot be shown are escaped."""
    for descriptor, mode in ((0, os.O_RDONLY), (1, os.O_WRONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, mode)  # takes the lowest free number: this descriptor
    if sys.stdin is None:
        sys.stdin = open(0, encoding="utf-8")  # noqa: SIM115 - for the life of the process
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(descriptor, "w", encoding="utf-8"))  # noqa: SIM115, PTH123
        else:
            stream.reconfigure(errors="backslashreplace")


def say_failure(error: Exception | KeyboardInterrupt) -> int:
    """Tell the user of `lab` what happened, on stderr, and return the exit code."""
    if isinstance(error, KeyboardInterrupt):
        _say("Stopped. Run it again to go on.")
        return ExitCode.INTERRUPTED
    if isinstance(error, OSError):  # what is still buffered cannot be written: let the last flush find an open door
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    if isinstance(error, BrokenPipeError):  # the reader went away (`lab list | head -1`): nobody is left to tell
        return ExitCode.NOT_YET
    shown = named(error)
    _say(str(shown))
    return shown.exit_code


def say_damage() -> None:
    """Tell on stderr, once, of records that were found damaged. It costs a look at two files that are hardly there."""
    for sentence in damage():
        _say(sentence)


def damage() -> list[str]:
    """A sentence for each log of this place that lost lines since this was asked last. They are told of only once."""
    from lab_helpers.core.settings import place

    here = place()
    told = []
    for path, what in ((here.progress, "your progress"), (here.journal, "what happened in the labs")):
        aside = path.with_name(f"{path.name}.damaged")
        if aside.is_file():  # before anything heavy is loaded
            from lab_helpers.core.store import AppendLog

            if lines := AppendLog(path).newly_damaged():
                those = "A line" if lines == 1 else f"{lines} lines"
                were = "was" if lines == 1 else "were"
                told.append(
                    f"{those} in the record of {what} {were} damaged and {were} set aside in {aside}. "
                    "Everything else is kept."
                )
    return told


def _say(text: str) -> None:
    from lab_helpers.ui.text import harmless

    try:
        print(harmless(text, limit=4000), file=sys.stderr, flush=True)  # noqa: T201
    except OSError:  # stderr is gone too; the exit code still tells
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
