"""The command `lab` as its user meets it: a program with exit codes, which never shows a traceback."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lab_helpers.core.settings import WRAPPERS, Place
from lab_helpers.core.waiting import wait_for
from lab_helpers.course import workspace
from lab_helpers.course.boundaries_now import BoundaryMap
from lab_helpers.course.verdict import Verdict
from lab_helpers.ui.board import Board
from lab_helpers.ui.checks import LabVerdicts
from tests.toy_cli import Toy

COMMANDS = [
    "setup",
    "doctor",
    "list",
    "status",
    "map",
    "open",
    "resume",
    "prepare",
    "check",
    "watch",
    "hint",
    "break",
    "questions",
    "passport",
    "solve",
    "reset",
    "goto",
    "clean",
]
COMMANDS += ["vm", "env", "uninstall", "build", "prove", "bench", "test"]


@pytest.fixture
def toy(tmp_path: Path) -> Toy:
    return Toy.make(tmp_path)


def no_traceback(*texts: str) -> bool:
    return not any("Traceback" in text or 'File "' in text for text in texts)


def test_help_names_every_command(toy: Toy) -> None:
    done = toy.lab("--help")
    assert done.returncode == 0
    listed = re.findall(r"^  (\w+) +\S", done.stdout.split("Commands:")[1], re.MULTILINE)
    assert listed == COMMANDS
    assert "..." not in done.stdout.split("Commands:")[1], "a one-line help is cut off"


@pytest.mark.parametrize("code", ["from lab_helpers import check, hint, predict, watch", "import lab_helpers.cli"])
def test_what_starts_each_command_loads_nothing_heavy(code: str) -> None:
    """How long it takes is measured by `lab bench`."""
    heavy = "docker, kubernetes, httpx, rich, pydantic, IPython, ipywidgets, matplotlib, psutil, qemu, requests, yaml"
    script = f"{code}\nimport sys\nprint(*(set({heavy.split(', ')!r}) & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == ""


def test_not_yet_then_passed(toy: Toy) -> None:
    failing = toy.lab("check", "00-toy", "file")
    assert failing.returncode == 1
    for part in (
        "NOT YET",
        "looked at:",
        "hello.txt",
        "expected:",
        "saw:",
        "nothing",
        "look yourself:",
        "ls hello.txt",
    ):
        assert part in failing.stdout
    assert "Hint: Make a file." in failing.stdout

    (toy.work / "hello.txt").write_text("hello")
    passing = toy.lab("check", "0", "file")
    assert passing.returncode == 0
    assert "PASSED" in passing.stdout
    assert "3 of 3 points" in passing.stdout


def test_json_is_the_verdict_and_nothing_else(toy: Toy) -> None:
    done = toy.lab("check", "toy", "file", "--json")
    assert done.returncode == 1
    verdict = Verdict.model_validate({k: v for k, v in json.loads(done.stdout).items() if k not in ("points", "total")})
    assert (verdict.task, verdict.state) == ("file", "missing")
    assert json.loads(done.stdout)["total"] == 3


@pytest.mark.parametrize(
    ("files", "code", "outcome"),
    [
        ((), 4, "BROKEN"),
        (("mended",), 3, "BLOCKED"),
        (("mended", "tool"), 1, "NOT_YET"),
        (("mended", "tool", "hello.txt"), 0, "PASSED"),
    ],
)
def test_a_whole_lab_has_the_gravest_outcome(toy: Toy, files: tuple[str, ...], code: int, outcome: str) -> None:
    for name in files:
        (toy.work / name).write_text("x")
    text, as_json = toy.lab("check", "00"), toy.lab("check", "00", "--json")
    assert (text.returncode, as_json.returncode) == (code, code)
    said = json.loads(as_json.stdout)
    assert said["outcome"] == outcome
    assert set(said) == set(LabVerdicts.model_fields)
    assert [verdict["task"] for verdict in said["verdicts"]] == ["file", "machine", "bug"]
    assert no_traceback(text.stdout, text.stderr)


def test_hints_come_one_at_a_time(toy: Toy) -> None:
    hints = [
        re.findall(r"Hint: (.*)", toy.lab(*words, "00", "file").stdout) for words in (["check"], ["hint"], ["hint"])
    ]
    assert [len(shown) for shown in hints] == [1, 2, 3]
    assert hints[2] == ["Make a file.", "echo hello > hello.txt", "It goes beside the notebook."]
    assert "Another hint" not in toy.lab("hint", "00", "file").stdout


def test_the_solution_comes_after_the_last_hint_for_who_has_tried(toy: Toy) -> None:
    lesson = '```{code-cell}\n:tags: [solution]\n!echo hello > hello.txt\n```\n\n```{code-cell}\ncheck("file")\n```\n'
    (toy.root / "labs" / "00-toy" / "lab.md").write_text(lesson)
    toy.lab("check", "00", "file")
    last = [toy.lab("hint", "00", "file").stdout for _ in range(3)][-1]
    assert "That was the last hint. Try it, and `lab check 00-toy file`" in last
    assert "!echo hello" not in last
    again = toy.lab("check", "00", "file").stdout
    assert "Then `lab hint 00-toy file` shows the solution of this step." in again
    shown = toy.lab("hint", "00", "file")
    assert "  The solution of this step:\n    !echo hello > hello.txt\n" in shown.stdout
    assert shown.returncode == 1


def test_a_new_state_begins_with_its_first_hint_also_for_who_has_tried(toy: Toy) -> None:
    for word in ("check", "check", "hint", "hint"):
        toy.lab(word, "00", "file")
    (toy.work / "hello.txt").touch()
    shown = toy.lab("hint", "00", "file").stdout
    assert "Hint: Write." in shown
    assert "The solution of this step:" not in shown


def test_how_far_the_learner_is_is_said_once(toy: Toy) -> None:
    (toy.work / "hello.txt").write_text("x")
    assert toy.lab("check", "00", "file").stdout.endswith("\n  Lab 00: 1 of 3 tasks, 3 of 5 points; next: machine\n")
    assert toy.lab("check", "00").stdout.count("Lab 00:") == 1


def test_a_broken_check_says_how_to_report_it(toy: Toy) -> None:
    said = toy.lab("check", "00", "bug").stdout
    command = re.search(r"to report it:  cat (.*)", said)
    assert command
    assert "a bug on purpose" in Path(command[1]).read_text()


def test_status_follows_the_learner(toy: Toy) -> None:
    assert toy.lab().stdout == toy.lab("status").stdout
    assert "0 of 3 tasks" in toy.lab("status").stdout
    (toy.work / "hello.txt").write_text("hello")
    toy.lab("check", "00", "file")
    (toy.work / "hello.txt").unlink()
    toy.lab("check", "00", "file")
    board = Board.model_validate_json(toy.lab("status", "--json").stdout)
    row = board.labs[0].tasks[0]
    assert (row.passed, row.best, row.tries) == (True, 3, 2), "progress means passed once"
    assert board == Board.model_validate_json(toy.lab("list", "--json").stdout)


@pytest.mark.parametrize(
    "words",
    [
        ["check"],
        ["check", "99"],
        ["check", "00", "fil"],
        ["check", "00", "file", "more"],
        ["check", "", ""],
        ["check", "../00-toy", "file"],
        ["check", "00", "\u202e\x1b[31mred\U0001f600" * 20],
        [b"check", b"\xff\xfe", b"\x80"],
        ["hint", "00"],
        ["hint", "00", "nothing"],
        ["status", "nothing"],
        ["chekc", "00"],
        ["--json"],
        ["status", "--json=yes"],
        ["vm", "nothing"],
        ["vm", "create"],
        ["solve", "nothing"],
        ["reset"],
        ["reset", "nothing"],
        ["open", "nothing"],
        ["prove", "nothing"],
        ["prepare", "nothing"],
        ["build", "nothing"],
        ["questions", "during"],
        ["passport", "--carry", "nothing"],
        ["passport", "--text", "x"],
    ],
)
def test_nonsense_is_a_usage_error(toy: Toy, words: list[str | bytes]) -> None:
    done = toy.lab(*words)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.strip()
    assert "\x1b" not in done.stderr
    assert no_traceback(done.stderr)


def test_a_near_name_is_suggested(toy: Toy) -> None:
    assert "Did you mean file?" in toy.lab("check", "00", "fil").stderr
    assert "Did you mean 'check'?" in toy.lab("chekc", "00").stderr


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_terminal_encoding_will_do(toy: Toy, encoding: str) -> None:
    done = toy.lab("check", "00", "file", PYTHONIOENCODING=encoding, LC_ALL="C")
    assert done.returncode == 1
    assert "NOT YET" in done.stdout
    assert no_traceback(done.stderr)


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_descriptors_change_nothing(toy: Toy, closed: str) -> None:
    words = ["sh", "-c", f'"$@" {closed}', "sh", *toy.argv("check", "00", "file")]
    done = subprocess.run(words, env=toy.env(), capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert no_traceback(done.stderr)
    assert (toy.state / "progress.jsonl").read_text().count("\n") == 1, "what was said must not land in the progress"


def test_a_reader_that_goes_away_is_no_trouble(toy: Toy) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as gone:
        done = subprocess.run(
            toy.argv("list"), env=toy.env(), stdout=gone, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert done.returncode == 1, "nobody read the answer, so it is not a success"
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_below_stdout_is_the_machine_s_trouble(toy: Toy) -> None:
    with open("/dev/full", "w") as full:  # noqa: PTH123
        done = subprocess.run(
            toy.argv("list"), env=toy.env(), stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert done.returncode == 3
    assert "No space left" in done.stderr
    assert no_traceback(done.stderr)


@pytest.mark.parametrize("words", [["check", "00", "file"], ["env"], ["hint", "00", "file"], ["status"], ["clean"]])
def test_a_state_folder_that_is_none(toy: Toy, words: list[str]) -> None:
    file = toy.root / "a-file"
    file.write_text("")
    done = toy.lab(*words, LAB_STATE=str(file / "state"))
    assert done.returncode in ((0, 3) if words in (["status"], ["clean"]) else (3,))
    assert no_traceback(done.stdout, done.stderr)


def test_an_unforeseen_error_is_our_bug_with_a_log(toy: Toy) -> None:
    (toy.state / "jupyter.json").mkdir()  # nobody foresaw a folder there
    done = toy.lab("status")
    assert done.returncode == 4
    assert done.stdout == ""
    assert "nothing is wrong with your work" in done.stderr
    assert no_traceback(done.stderr)
    log = next((toy.state / "logs").glob("broken-*.txt"))
    assert str(log) in done.stderr
    assert "Traceback" in log.read_text()


def test_a_damaged_record_is_told_of_once_and_the_rest_is_kept(toy: Toy) -> None:
    (toy.work / "hello.txt").write_text("hello")
    toy.lab("check", "00", "file")
    with (toy.state / "progress.jsonl").open("ab") as file:
        file.write(b'{"kind": "verd\n')
    told, after = toy.lab("status", "--json"), toy.lab("status", "--json")
    assert told.stderr.startswith("A line in the record of your progress was damaged and was set aside in ")
    assert after.stderr == ""
    for done in (told, after):
        assert done.returncode == 0
        assert Board.model_validate_json(done.stdout).labs[0].passed == 1


def test_two_checkouts_and_two_learners_do_not_mix(toy: Toy, tmp_path: Path) -> None:
    """Another checkout has a state of its own; and so has a learner who shares one, and names it in LAB_STATE."""
    other = Toy.make(tmp_path / "other")
    theirs = tmp_path / "learner"
    (toy.work / "hello.txt").write_text("hello")
    assert toy.lab("check", "00", "file").returncode == 0
    assert "1 of 3 tasks" in toy.lab().stdout
    assert "0 of 3 tasks" in other.lab().stdout
    assert "0 of 3 tasks" in toy.lab(LAB_STATE=str(theirs)).stdout
    assert toy.lab("check", "00", "file", LAB_STATE=str(theirs)).returncode == 1
    places = [Place(tmp_path, tmp_path, state, tmp_path) for state in (toy.state, other.state, theirs)]
    assert len({place.sockets for place in places}) == 3
    assert all(str(os.getuid()) in place.sockets.name for place in places)


def test_a_newer_course_keeps_progress_and_work(toy: Toy) -> None:
    lab = toy.root / "labs" / "00-toy"
    (lab / "lab.ipynb").write_text("{}")
    (lab / "files").mkdir()
    (lab / "files" / "notes.txt").write_text("of the course")
    open_lab(toy)
    (toy.work / "hello.txt").write_text("hello")
    (toy.work / "notes.txt").write_text("of the learner")
    assert toy.lab("check", "00", "file").returncode == 0
    tasks = lab / "tasks.py"
    renamed = tasks.read_text().replace('"file", "Make a file"', '"file", "Make a file, now with another title"')
    tasks.write_text(renamed.replace('"machine", "Need', '"engine", "Need'))
    (lab / "files" / "notes.txt").write_text("of the newer course")
    assert "notes.new.txt" in open_lab(toy)
    assert (toy.work / "notes.txt").read_text() == "of the learner"
    assert (toy.work / "hello.txt").read_text() == "hello"
    row = Board.model_validate_json(toy.lab("status", "--json").stdout).labs[0]
    assert [(task.id, task.passed) for task in row.tasks] == [("file", True), ("engine", False), ("bug", False)]


def open_lab(toy: Toy) -> str:
    """Bring the lab into the work folder as `lab open` does, without a JupyterLab. What was told comes back."""
    place = Place(toy.root, toy.root / "home", toy.state, toy.state / "work")
    told: list[str] = []
    workspace.open_lab(place, "00", lambda event: told.append(str(event)))
    return " ".join(told)


def test_prepare_of_a_lab_that_builds_upon_nothing(toy: Toy) -> None:
    done = toy.lab("prepare")
    assert (done.returncode, done.stdout) == (0, "Ready: 00-toy\n")


def test_env_is_for_eval(toy: Toy) -> None:
    done = subprocess.run(
        ["sh", "-c", 'eval "$("$@" env)" && echo "$PATH" && echo "$KUBECONFIG"', "sh", *toy.argv()],
        env=toy.env(LAB_HOME=str(toy.root / "it's home")),
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    path, kubeconfig = done.stdout.splitlines()
    assert path.split(":")[:2] == [str(toy.state / WRAPPERS), str(Path(sys.prefix) / "bin")]
    assert kubeconfig == str(toy.state / "kubeconfig")


def test_ctrl_c_is_said_in_one_line(toy: Toy) -> None:
    (toy.work / "slow").touch()
    process = subprocess.Popen(
        toy.argv("check", "00", "bug"), env=toy.env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    wait_for((toy.work / "began").exists, "the check to begin", timeout_s=20)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130
    assert out == ""
    assert err.splitlines() == ["Stopped. Run it again to go on."]


def test_colours_on_a_terminal_and_only_there(toy: Toy) -> None:
    plain = toy.lab("check", "00", "file").stdout
    code, seen = on_terminal(toy, "check", "00", "file")
    assert code == 1
    assert "\x1b[" in seen
    assert "\x1b" not in plain
    bare = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen).replace("\r", "")
    assert [line.rstrip() for line in bare.splitlines()] == plain.splitlines(), "the same words"


def test_no_colour_where_it_is_not_wanted(toy: Toy) -> None:
    assert "\x1b" not in on_terminal(toy, "check", "00", "file", TERM="dumb")[1]
    assert "\x1b[3" not in on_terminal(toy, "check", "00", "file", NO_COLOR="1")[1]
    assert "\x1b" not in on_terminal(toy, "check", "00", "file", JPY_PARENT_PID="1")[1], "a notebook's ! line"


def on_terminal(toy: Toy, *words: str, **more: str) -> tuple[int, str]:
    """Run `lab` on a pseudo-terminal of 100 columns: its exit code, and all that it wrote there."""
    leader, follower = pty.openpty()
    env = {name: value for name, value in toy.env(TERM="xterm-256color", COLUMNS="100").items() if name != "NO_COLOR"}
    process = subprocess.Popen(toy.argv(*words), env={**env, **more}, stdin=follower, stdout=follower, stderr=follower)
    os.close(follower)
    seen = b""
    while True:
        ready, _, _ = select.select([leader], [], [], 30)
        try:
            chunk = os.read(leader, 65536) if ready else b""
        except OSError:  # Linux: the last writer is gone
            chunk = b""
        if not chunk:
            break
        seen += chunk
    os.close(leader)
    return process.wait(timeout=30), seen.decode()


def test_the_map_is_a_tree_and_json_in_the_published_form(toy: Toy) -> None:
    nowhere = {"DOCKER_HOST": "unix:///nonexistent/docker.sock"}
    assert toy.lab("map", **nowhere).stdout.startswith("this machine · kernel 1 · ")
    seen = BoundaryMap.model_validate_json(toy.lab("map", "--json", **nowhere).stdout)
    assert [box.name for box in seen.machine.walk()] == ["this machine"]


DUTY = """

def forget(world, facts):
    (world.work / "service").unlink(missing_ok=True)

def begin(world):
    (world.work / "service").write_text("hello")
    return {}

@LAB.on_call("On call", brief="a file service says hello", criteria={"serves": (1, "it serves")},
             hints={"silent": ("Look.",)}, after=(), begin=begin, rescue=lambda world, facts: None, end=forget)
def duty(world, facts):
    there = (world.work / "service").exists()
    yield Evidence(criterion="serves", ok=there, looked="it", expected="a file", saw=str(there),
                   state="" if there else "silent")

@duty.incident("gone", symptom="It is gone!", explanation="it was removed.", fails="serves", state="silent", hints=(),
               mend=forget)
def gone(world, chance, facts):
    forget(world, facts)
"""


def test_break_reports_an_incident_and_takes_it_back(toy: Toy) -> None:
    tasks = toy.root / "labs" / "00-toy" / "tasks.py"
    assert toy.lab("break", "00-toy").returncode == 2, "a lab without incidents"
    tasks.write_text(tasks.read_text() + DUTY)
    first, again = toy.lab("break", "0", "--seed", "7"), toy.lab("break", "0", "--seed", "8")
    assert (first.returncode, again.returncode) == (0, 1)
    assert "seed 7" in first.stdout
    assert "It is gone!" in first.stdout
    assert "lab check 00 incident" in first.stdout
    assert "removed" not in first.stdout
    assert "There is an incident already" in again.stdout
    assert "seed 7" in again.stdout
    (toy.work / "service").touch()
    passed = toy.lab("check", "00-toy", "incident")
    assert passed.returncode == 0
    assert "What it was: it was removed." in passed.stdout

    assert toy.lab("break", "0", "--undo", "--seed", "7").returncode == 2
    assert "Taken back" in toy.lab("break", "0", "--undo").stdout
    assert no_traceback(first.stderr, again.stderr, passed.stderr)
