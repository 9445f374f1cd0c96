"""The command `lab`: a thin door. It reads the arguments, calls the course, shows the answer, sets the exit code.

Exit codes: 0 passed, 1 not yet, 2 usage, 3 environment, 4 broken, 130 interrupted.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lab_helpers.core.errors import ExitCode
from lab_helpers.core.settings import place
from lab_helpers.ui import author_commands
from lab_helpers.ui.command_parts import AsJson, LabName, LabNames, MaybeTask, TaskName, Yes
from lab_helpers.ui.command_parts import print_json as _print_json
from lab_helpers.ui.command_parts import screen as _screen

if TYPE_CHECKING:
    from lab_helpers.course.verdict import Verdict
    from lab_helpers.ui.checks import Answer

app = typer.Typer(
    name="lab",
    help="From VM to Kubernetes: a course on real tools. `lab` alone shows how far you are.",
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _alone(context: typer.Context) -> None:
    if context.invoked_subcommand is not None:
        return
    screen = _screen()
    if not screen.interactive:
        _show_status()
        return
    from lab_helpers.ui.terminal_board import run_board

    with screen:
        raise typer.Exit(run_board(place(), screen))


@app.command()
def setup(
    yes: Yes = False,
    for_tests: Annotated[bool, typer.Option("--for-tests", help="what the tests need as well; open nothing")] = False,
) -> None:
    """Install what is missing, get the first labs ready."""
    from lab_helpers.ui.setup import run_setup

    with _screen() as screen:
        raise typer.Exit(run_setup(place(), yes=yes, for_tests=for_tests, screen=screen))


@app.command()
def doctor(
    as_json: AsJson = False,
    fix: Annotated[bool, typer.Option("--fix", help="apply the safe cures first")] = False,
) -> None:
    """What this machine can do and lacks, with advice."""
    from lab_helpers.doctor import examine
    from lab_helpers.doctor import fix as cure
    from lab_helpers.ui.doctor import plan_lines, report_lines

    with _screen() as screen:
        screen.busy("looking at this machine", 3)
        report = examine(place())
        if fix:
            screen.tell_lines(plan_lines(place(), report))
            cure(place(), report, screen.tell)
            report = examine(place())
        if as_json:
            _print_json(report)
        else:
            screen.show(report_lines(report), fold=True)
    raise typer.Exit(report.exit_code)


@app.command("list")
def list_labs(as_json: AsJson = False) -> None:
    """The labs, how long they take, what they need."""
    from lab_helpers.ui.board import read_board
    from lab_helpers.ui.listing import list_lines

    board = read_board(place())
    if as_json:
        _print_json(board)
    else:
        _screen().show(list_lines(board))


@app.command()
def status(
    lab: Annotated[str | None, typer.Argument(metavar="LAB", help="one lab with all its tasks")] = None,
    as_json: AsJson = False,
) -> None:
    """How far you are, and the next step."""
    _show_status(lab, as_json=as_json)


def _show_status(lab: str | None = None, *, as_json: bool = False) -> None:
    from lab_helpers.ui.board import read_board
    from lab_helpers.ui.listing import status_lines

    board = read_board(place(), lab)
    if as_json:
        _print_json(board)
    else:
        _screen().show(status_lines(board))


@app.command("map")
def map_(as_json: AsJson = False) -> None:
    """What runs now, in what, and on which kernel."""
    from lab_helpers.course.boundaries_now import look
    from lab_helpers.ui.map_text import map_lines

    seen = look(place())
    if as_json:
        _print_json(seen)
    else:
        _screen().show(map_lines(seen))


@app.command("open")
def open_(
    lab: LabName = "00-start",
    browser: Annotated[bool, typer.Option(help="open the browser where there is a display")] = True,
    stop: Annotated[bool, typer.Option("--stop", help="end the running JupyterLab instead")] = False,
) -> None:
    """Open a lab's notebook in JupyterLab."""
    from lab_helpers.ui.jupyter import open_course, stop_jupyter
    from lab_helpers.ui.resume import tell_lost

    with _screen() as screen:
        if stop:
            screen.say(
                "JupyterLab is stopped." if stop_jupyter(place()) else "No JupyterLab of this course was running."
            )
            return
        opened = open_course(place(), lab, browser=browser, tell=screen.tell)
        screen.say(f"{opened.url}\nJupyterLab goes on in the background; `lab open --stop` ends it.")
        tell_lost(place(), lab, screen)


@app.command()
def resume(
    lab: Annotated[str | None, typer.Argument(metavar="LAB", help="none: the lab where you were")] = None,
    yes: Yes = False,
) -> None:
    """After a pause: where you were, and bring back what is off."""
    from lab_helpers.ui.resume import run_resume

    with _screen() as screen:
        raise typer.Exit(run_resume(place(), lab, yes=yes, screen=screen))


@app.command()
def prepare(
    labs: LabNames = None,
    everything: Annotated[bool, typer.Option("--all", help="for all labs: shows sizes, asks, goes on")] = False,
    yes: Yes = False,
) -> None:
    """Get ahead of time what labs build upon. It may take minutes."""
    from lab_helpers.course import engine
    from lab_helpers.ui.prepare import run_prepare_all

    here = place()
    with _screen() as screen:
        if everything:
            raise typer.Exit(run_prepare_all(here, yes=yes, screen=screen))
        chosen = [engine.load_lab(here, name) for name in labs] if labs else engine.all_labs(here)
        for lab in chosen:
            engine.prepare(here, lab, tell=screen.tell)
        screen.say(f"Ready: {', '.join(lab.name for lab in chosen)}")


@app.command()
def check(lab: LabName, task: MaybeTask = None, as_json: AsJson = False) -> None:
    """Say whether a task is done. Without TASK: all of the lab."""
    from dataclasses import replace

    from lab_helpers.course import engine
    from lab_helpers.ui.checks import LabVerdicts, ask_check

    here = place()
    declared = engine.load_lab(here, lab)
    chosen = [engine.find_task(declared, task)] if task is not None else declared.tasks.values()
    last = list(chosen)[-1:]
    verdicts: list[Verdict] = []
    for each in chosen:
        answer = ask_check(here, declared, each.id)
        if not as_json:  # how far the learner is, is said once
            _show_answer(answer if [each] == last else replace(answer, way=""), gap=bool(verdicts))
        verdicts.append(answer.verdict)
    together = LabVerdicts.of(declared.name, verdicts)
    if as_json:
        _print_json(verdicts[0] if task is not None else together)
    raise typer.Exit(together.outcome.exit_code)


def _show_answer(answer: Answer, *, gap: bool = False) -> None:
    from lab_helpers.ui.text import Line, answer_lines

    what = f"{answer.verdict.lab} {answer.verdict.task}"
    _screen().show([Line("")] * gap + answer_lines(answer, hint=f"lab hint {what}", check=f"lab check {what}"))


@app.command()
def watch(lab: LabName) -> None:
    """Check a lab's tasks, again whenever something changes."""
    from lab_helpers.course.engine import load_lab
    from lab_helpers.ui.watch import run_watch

    here = place()
    with _screen() as screen:
        raise typer.Exit(run_watch(here, load_lab(here, lab), screen))


@app.command()
def hint(lab: LabName, task: TaskName) -> None:
    """Look, and give one hint more for what was seen."""
    from lab_helpers.course import engine
    from lab_helpers.ui.checks import ask_hint

    here = place()
    answer = ask_hint(here, engine.load_lab(here, lab), task)
    _show_answer(answer)
    raise typer.Exit(answer.verdict.outcome.exit_code)


@app.command("break")
def break_(
    lab: LabName,
    seed: Annotated[int | None, typer.Option(metavar="N", help="which incident; none: a random one")] = None,
    undo: Annotated[bool, typer.Option("--undo", help="take the open incident back instead")] = False,
) -> None:
    """Break something, for you to find and mend."""
    from lab_helpers.core.errors import UsageError
    from lab_helpers.course import incidents
    from lab_helpers.course.engine import load_lab
    from lab_helpers.ui.incidents import started_lines, undone_lines

    if undo and seed is not None:
        raise UsageError("`--undo` and `--seed` do not go together.", do="run `lab break LAB --undo`, then break again")
    here = place()
    with _screen() as screen:
        declared = load_lab(here, lab)
        if undo:
            screen.show(undone_lines(declared, incidents.undo(here, declared, screen.tell)))
            return
        started = incidents.break_lab(here, declared, seed, screen.tell)
        screen.show(started_lines(started))
    raise typer.Exit(ExitCode.PASSED if started.fresh else ExitCode.NOT_YET)


@app.command()
def questions(
    which: Annotated[str, typer.Argument(metavar="[ROUND]", help="before or after; none: the one that is due")] = "",
    as_json: AsJson = False,
) -> None:
    """The ten questions before and after the course."""
    from lab_helpers.ui.questions_terminal import run_questions

    with _screen() as screen:
        report = run_questions(place(), which, screen, ask=not as_json)
        if as_json:
            _print_json(report)


@app.command()
def passport(
    as_json: AsJson = False,
    picture: Annotated[Path | None, typer.Option(metavar="FILE", help="write it as a picture (SVG)")] = None,
    carry: Annotated[str | None, typer.Option(metavar="LAB", help="pin your own pin to that lab's Pinboard")] = None,
    text: Annotated[str, typer.Option(help="with --carry: your pin, if you have none yet")] = "",
) -> None:
    """Your pin's journey: who served it, stop by stop."""
    from lab_helpers.ui.passport_command import run_passport

    with _screen() as screen:
        page = run_passport(place(), screen, picture=picture, carry=carry, text=text, show=not as_json)
        if as_json:
            _print_json(page)


@app.command()
def solve(lab: LabName, task: MaybeTask = None) -> None:
    """Run the solution for real, up to TASK or to the end."""
    from lab_helpers.course.engine import load_lab
    from lab_helpers.course.solve import solve as run_solution
    from lab_helpers.ui.checks import Answer, LabVerdicts

    here = place()
    with _screen() as screen:
        declared = load_lab(here, lab)
        verdicts = run_solution(here, declared, task, tell=screen.tell)
    for number, verdict in enumerate(verdicts):
        _show_answer(Answer(verdict), gap=number > 0)
    raise typer.Exit(LabVerdicts.of(declared.name, verdicts).outcome.exit_code)


@app.command()
def reset(lab: LabName) -> None:
    """Bring a lab back to its start. Your work is kept."""
    from lab_helpers.course.engine import load_lab
    from lab_helpers.course.workspace import reset as reset_lab

    here = place()
    with _screen() as screen:
        screen.busy("removing what the lab made", 3)
        notebook = reset_lab(here, load_lab(here, lab), tell=screen.tell)
        screen.say(f"Fresh again: {notebook}")


@app.command("goto")
def goto_(
    lab: LabName,
    task: TaskName,
    before: Annotated[bool, typer.Option("--before", help="as the task begins, instead of after it")] = False,
    solve_again: Annotated[bool, typer.Option("--solve", help="run the solution even if the state is saved")] = False,
    as_json: AsJson = False,
) -> None:
    """Go to where a task is solved, or begins. Your work is kept."""
    from lab_helpers.course.time_machine import goto
    from lab_helpers.ui.journey import arrival_lines

    with _screen() as screen:
        arrival = goto(place(), lab, task, before=before, tell=screen.tell, use_saved=not solve_again)
        if as_json:
            _print_json(arrival)
        else:
            screen.show(arrival_lines(arrival))
    raise typer.Exit(arrival.exit_code)


@app.command()
def clean() -> None:
    """Remove what the labs made. Notebooks and progress stay."""
    from lab_helpers.course.workspace import clean_all
    from lab_helpers.ui.listing import clean_lines

    with _screen() as screen:
        screen.show(clean_lines(clean_all(place(), tell=screen.tell)))


@app.command(add_help_option=False, context_settings={"ignore_unknown_options": True, "allow_extra_args": True})
def vm(context: typer.Context) -> None:
    """Virtual machines. More: lab vm --help."""
    from lab_helpers.ui.vm_commands import vm_app

    vm_app(args=context.args, prog_name="lab vm")


@app.command()
def env() -> None:
    """The environment for your shell: eval "$(lab env)"."""
    import shlex

    from lab_helpers.ui.jupyter import install_wrappers, learner_environment

    here = place()
    install_wrappers(here)
    names = learner_environment(here)
    _screen().say("\n".join(f"export {name}={shlex.quote(value)}" for name, value in names.items()))


@app.command()
def uninstall(
    yes: Yes = False,
    caches: Annotated[bool, typer.Option("--caches", help="also what other checkouts share")] = False,
) -> None:
    """Remove all that the course put on this machine."""
    from lab_helpers.ui.setup import run_uninstall

    with _screen() as screen:
        raise typer.Exit(run_uninstall(place(), yes=yes, caches=caches, screen=screen))


author_commands.register(app)


def main() -> None:
    """The entry point: runs `lab` and never shows a traceback, whatever happens."""
    from lab_helpers.ui.failures import safe_streams, say_damage, say_failure

    safe_streams()
    try:
        code = _run()
        say_damage()
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last line of defence: a sentence for the user
        code = say_failure(error)
    raise SystemExit(code)


def _run() -> int:
    try:
        app(prog_name="lab")
    except SystemExit as stop:
        if stop.code == ExitCode.INTERRUPTED:
            raise KeyboardInterrupt from None
        sys.stdout.flush()
        return stop.code if isinstance(stop.code, int) else 0
    return 0


if __name__ == "__main__":
    main()
