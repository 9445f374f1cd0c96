"""check, hint and predict in a real kernel, started from the course's own kernelspec."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from jupyter_client.manager import KernelManager

from lab_helpers.core.settings import CHECKOUT, Place
from lab_helpers.core.waiting import wait_for
from lab_helpers.course.progress import lock_prediction
from lab_helpers.ui.jupyter import KERNEL, install_kernel

LAB = "00-start"


@dataclass
class Cell:
    """What running a cell put out."""

    bundles: list[dict[str, Any]]
    text: str
    errors: list[str]


class Kernel:
    """A kernel of the course, whose notebook lies in `folder`."""

    def __init__(self, place: Place, folder: Path) -> None:
        env = {
            **os.environ,
            "LAB_STATE": str(place.state),
            "LAB_HOME": str(place.home),
            "HOME": str(place.state / "user"),
        }
        self._manager = KernelManager(kernel_name=KERNEL, connection_file=str(folder / "connection.json"))
        self._manager.start_kernel(env=env, cwd=str(folder))
        self._client = self._manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=60)

    def run(self, source: str) -> Cell:
        cell = Cell([], "", [])

        def hook(message: dict[str, Any]) -> None:
            content = message["content"]
            match message["msg_type"]:
                case "display_data":
                    cell.bundles.append(content["data"])
                case "stream":
                    cell.text += content["text"]
                case "error":
                    cell.errors.append(re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(content["traceback"])))

        self._client.execute_interactive(source, output_hook=hook, timeout=60)
        return cell

    def stop(self) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    state = tmp_path_factory.mktemp("state")
    (state / "work" / LAB / "desk").mkdir(parents=True)
    place = Place(root=CHECKOUT, home=state / "home", state=state, work=state / "work")
    install_kernel(place)
    return place


@pytest.fixture(scope="module")
def kernel(place: Place) -> Iterator[Kernel]:
    kernel = Kernel(place, place.work / LAB)
    yield kernel
    kernel.stop()


def test_a_check_is_one_output_with_a_widget_and_the_same_in_text(kernel: Kernel, place: Place) -> None:
    cell = kernel.run('check("first-check")')
    assert cell.errors == []
    assert [set(bundle) for bundle in cell.bundles] == [{"text/plain", "application/vnd.jupyter.widget-view+json"}]
    assert cell.bundles[0]["text/plain"].startswith("✘ NOT YET · 00-start first-check")

    (place.work / LAB / "desk" / "hello.txt").write_text("Ada\n")
    assert kernel.run('check("first-check")').bundles[0]["text/plain"].startswith("✔ PASSED")
    assert '"PASSED"' in place.progress.read_text()


def test_a_hint_is_one_more_than_the_check_gave(kernel: Kernel, place: Place) -> None:
    (place.work / LAB / "desk" / "hello.txt").unlink(missing_ok=True)
    shown = [kernel.run(f'{word}("first-check")').bundles[0]["text/plain"].count("Hint:") for word in ("check", "hint")]
    assert shown == [1, 2]


def test_a_prediction_says_its_choices_in_text(kernel: Kernel) -> None:
    text = kernel.run('predict("p", "yes", "no")').bundles[0]["text/plain"]
    assert [line.strip() for line in text.splitlines()[1:]] == ["○ yes", "○ no"]


def test_the_boundary_map_is_one_output_with_a_widget_and_the_same_in_text(kernel: Kernel) -> None:
    cell = kernel.run("boundary_map()")
    assert cell.errors == []
    assert [set(bundle) for bundle in cell.bundles] == [{"text/plain", "application/vnd.jupyter.widget-view+json"}]
    assert cell.bundles[0]["text/plain"].startswith("this machine · kernel 1 · ")
    kernel.run("boundary_map()")
    count = "import threading; print(sum(thread.name == 'boundary map' for thread in threading.enumerate()))"
    wait_for(lambda: kernel.run(count).text == "1\n", "the older map to end", timeout_s=60, interval_s=0.5)


def test_a_question_is_asked_locked_and_compared(kernel: Kernel, place: Place) -> None:
    asked, compared = kernel.run('predict("cd-lasts")'), kernel.run('compare("cd-lasts")')
    assert "○ where it was before" in asked.bundles[0]["text/plain"]
    assert "you predicted: nothing yet" in compared.bundles[0]["text/plain"]
    lock_prediction(place, LAB, "cd-lasts", "in desk")
    assert "◉ in desk (your prediction)" in kernel.run('predict("cd-lasts")').bundles[0]["text/plain"]
    text = kernel.run('compare("cd-lasts")').bundles[0]["text/plain"]
    assert "you predicted: in desk" in text
    assert "it is:         where it was before" in text


def test_an_answer_that_depends_on_the_machine_is_looked_up(kernel: Kernel) -> None:
    text = kernel.run('compare("accelerator")').bundles[0]["text/plain"]
    assert [word for word in ("kvm: Linux", "hvf: macOS", "tcg: software") if f"it is:         {word}" in text]


def test_the_ten_questions_and_the_passport_are_there_everywhere(kernel: Kernel) -> None:
    assert "0 of 10 answered" in kernel.run("questions()").bundles[0]["text/plain"]
    assert "Ten questions after" in kernel.run('questions("after")').bundles[0]["text/plain"]
    assert kernel.run("passport()").bundles[0]["text/plain"].startswith("Passport of a pin")


def test_the_lab_is_found_from_wherever_the_learner_went(kernel: Kernel, place: Place) -> None:
    for folder in ("desk", "/", str(place.work)):
        kernel.run(f"%cd {folder}")
        assert "first-check" in kernel.run('check("first-check")').bundles[0]["text/plain"]
        kernel.run(f"%cd {place.work / LAB}")


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ('check("first-chek")', "Did you mean first-check?"),
        ("check()", "the tasks are machine, first-check"),
        ("hint(None)", "the tasks are machine, first-check"),
        ("predict()", "at least two different choices"),
        ("check(1, 2, 3)", "check() takes from 0 to 1 positional arguments"),
        ('predict("p", "only one")', "at least two different choices"),
        ('predict("p", "same", "same")', "at least two different choices"),
        ('compare("cd-last")', 'it asks predict("accelerator"), predict("cd-lasts")'),
        ('recall("cd-lasts")', "has no such question: 'cd-lasts'"),
        ('questions("during")', "the rounds are before and after"),
        ("carry_pin()", "is no stop of the passport"),
        ("chek()", "NameError: name 'chek' is not defined"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
    ],
)
def test_no_error_is_a_traceback(kernel: Kernel, source: str, said: str) -> None:
    cell = kernel.run(source)
    assert cell.bundles == []
    assert said in cell.errors[0]
    assert "Traceback" not in cell.errors[0]
    assert "File " not in cell.errors[0]


def test_commands_in_cells_run_in_the_lab_s_environment(kernel: Kernel, place: Place) -> None:
    lines = kernel.run('!echo "$LAB_STATE"; echo "$KUBECONFIG"; command -v lab; command -v ssh').text.splitlines()
    assert lines[:2] == [str(place.state), str(place.state / "kubeconfig")]
    assert Path(lines[2]).name == "lab"
    assert lines[3] == str(place.bin / "ssh")
    assert not (place.state / "user" / ".ipython").exists(), "nothing is written to the learner's home"


def test_commands_in_cells_run_in_one_shell_whichever_the_learner_logs_in_with(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHELL", "/bin/false")
    kernel = Kernel(place, tmp_path)
    try:
        assert kernel.run("!command -v cat sh | wc -l").text.strip() == "2"
    finally:
        kernel.stop()


def test_lab_in_a_cell_says_the_same_as_check(kernel: Kernel, place: Place) -> None:
    (place.work / LAB / "desk" / "hello.txt").write_text("Ada\n")
    text = kernel.run('check("first-check")').bundles[0]["text/plain"]
    assert kernel.run("!lab check 00 first-check").text.splitlines() == text.splitlines()


def test_outside_of_a_lab_it_says_where_to_go(place: Place, tmp_path: Path) -> None:
    kernel = Kernel(place, tmp_path)
    try:
        cell = kernel.run('check("first-check")')
    finally:
        kernel.stop()
    assert "not in a lab's folder" in cell.errors[0]
    assert "lab open" in cell.errors[0]
