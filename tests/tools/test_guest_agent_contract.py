"""The contract of tools.guest_agent, against a fake agent and against the real one in a running guest."""

from __future__ import annotations

import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lab_helpers.boundaries.vm import Vm
from lab_helpers.core.errors import ToolError
from lab_helpers.tools.guest_agent import GuestAgent, GuestAgentError
from tests.fakes.fake_agent import FakeAgent


@pytest.fixture(params=["fake", pytest.param("real", marks=pytest.mark.live)])
def agent(request: pytest.FixtureRequest) -> Iterator[GuestAgent]:
    if request.param == "real":
        vm: Vm = request.getfixturevalue("vm")
        found = vm.running().agent
        assert found
        yield found
        return
    with tempfile.TemporaryDirectory(prefix="agent-") as folder:
        fake = FakeAgent(Path(folder) / "agent")
        yield GuestAgent(Path(folder) / "agent")
        fake.close()


def test_it_answers(agent: GuestAgent) -> None:
    agent.ping()


def test_output_errors_and_code_come_back_apart(agent: GuestAgent) -> None:
    done = agent.run(["/bin/sh", "-c", "echo out; echo err >&2; exit 3"], check=False)
    assert (done.out, done.err, done.code) == ("out\n", "err\n", 3)


def test_what_is_given_as_input_arrives(agent: GuestAgent) -> None:
    assert agent.run(["cat"], stdin="grüße\n").out == "grüße\n"


def test_arguments_arrive_as_they_are(agent: GuestAgent) -> None:
    assert agent.run(["/bin/echo", "two words", "$HOME", "a'b"]).out == "two words $HOME a'b\n"


def test_a_large_output_arrives_whole(agent: GuestAgent) -> None:
    assert len(agent.run(["head", "-c", "300000", "/dev/zero"]).out) == 300000


def test_a_failure_raises_with_what_was_said(agent: GuestAgent) -> None:
    with pytest.raises(ToolError) as caught:
        agent.run(["/bin/sh", "-c", "echo no such luck >&2; exit 1"])
    assert "no such luck" in str(caught.value)


def test_a_death_by_signal_is_told_as_a_shell_tells_it(agent: GuestAgent) -> None:
    assert agent.run(["/bin/sh", "-c", "kill -9 $$"], check=False).code == 137


def test_a_program_that_is_not_there_is_an_error(agent: GuestAgent) -> None:
    with pytest.raises(GuestAgentError):
        agent.run(["/no/such/program"])


def test_a_program_that_takes_too_long_is_an_error(agent: GuestAgent) -> None:
    with pytest.raises(ToolError, match="did not finish"):
        agent.run(["sleep", "20"], timeout_s=0.5)


def test_what_an_earlier_client_left_half_said_is_skipped(agent: GuestAgent) -> None:
    with socket.socket(socket.AF_UNIX) as rude:
        rude.connect(str(agent.path))
        rude.sendall(b'{"execute": "guest-ping"}\n{"exec')
    assert agent.run(["/bin/echo", "still here"]).out == "still here\n"


def test_many_at_once_take_turns(agent: GuestAgent) -> None:
    answers: list[str] = []
    threads = [
        threading.Thread(target=lambda n=n: answers.append(agent.run(["/bin/echo", str(n)]).out.strip()))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [str(n) for n in range(8)]


def test_nobody_there_is_an_error_and_not_a_hang(tmp_path: Path) -> None:
    with pytest.raises(GuestAgentError):
        GuestAgent(tmp_path / "nobody").ping()


def test_a_guest_that_does_not_answer_is_an_error_and_not_a_hang() -> None:
    with tempfile.TemporaryDirectory(prefix="agent-") as folder, socket.socket(socket.AF_UNIX) as mute:
        mute.bind(f"{folder}/agent")
        mute.listen(1)
        with pytest.raises(GuestAgentError):
            GuestAgent(Path(folder) / "agent").ping(timeout_s=0.2)
