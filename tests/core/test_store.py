"""Storage survives being killed: appended logs, files replaced whole, locks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lab_helpers.core.errors import WaitTimeoutError
from lab_helpers.core.store import AppendLog, locked, remove_halves, write_atomic
from lab_helpers.core.waiting import wait_for


def test_records_come_back_in_order(tmp_path: Path) -> None:
    log = AppendLog(tmp_path / "deep" / "log.jsonl")
    for number in range(5):
        log.append({"number": number, "text": "grüße\n"})
    assert [record["number"] for record in log.read()] == [0, 1, 2, 3, 4]


def test_no_file_is_an_empty_log(tmp_path: Path) -> None:
    assert AppendLog(tmp_path / "log.jsonl").read() == []


@pytest.mark.parametrize("damage", [b'{"half": ', b"\x00\xff\x00", b"[1, 2]", b"nonsense"])
def test_a_damaged_line_is_set_aside_and_the_rest_is_kept(tmp_path: Path, damage: bytes) -> None:
    log = AppendLog(tmp_path / "log.jsonl")
    log.append({"n": 1})
    with log.path.open("ab") as file:
        file.write(damage)  # no newline: the writer was killed in the middle
    log.append({"n": 2})
    assert [record["n"] for record in log.read()] == [1, 2]
    assert (tmp_path / "log.jsonl.damaged").read_bytes() == damage + b"\n"
    assert [record["n"] for record in log.read()] == [1, 2]
    log.append({"n": 3})
    assert [record["n"] for record in log.read()] == [1, 2, 3]


WRITER = """
import sys
from pathlib import Path
from lab_helpers.core.store import AppendLog
log, number = AppendLog(Path(sys.argv[1])), 0
while True:
    log.append({"writer": sys.argv[2], "number": number, "pad": "x" * 200})
    number += 1
    print(number, flush=True)
"""


def test_what_was_acknowledged_is_there_after_kill_9_of_two_writers(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), name], stdout=subprocess.PIPE, text=True)
        for name in ("a", "b")
    ]
    acknowledged = {}
    for name, writer in zip("ab", writers, strict=True):
        assert writer.stdout
        for _ in range(20):
            acknowledged[name] = int(writer.stdout.readline())
    for writer in writers:
        os.kill(writer.pid, signal.SIGKILL)
        writer.communicate()
    records = AppendLog(path).read()
    for name, count in acknowledged.items():
        numbers = [record["number"] for record in records if record["writer"] == name]
        assert numbers == list(range(len(numbers)))
        assert len(numbers) >= count


def test_a_file_is_replaced_whole_and_has_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, "old")
    write_atomic(path, "new", mode=0o600)
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_replaced_leaves_nothing_half_done(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        write_atomic(tmp_path / "folder", "text")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


HALF_WRITER = """
import os, sys
from pathlib import Path
from lab_helpers.core.store import write_atomic
os.fsync = lambda descriptor: (print("writing", flush=True), sys.stdin.read())
write_atomic(Path(sys.argv[1]), "text")
"""


def test_what_a_killed_writer_left_is_removed_and_what_is_being_written_stays(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / ".mine.half").touch()
    argv = [sys.executable, "-c", HALF_WRITER, str(tmp_path / "inner" / "file")]
    writers = [subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for writer in writers:
        assert writer.stdout and writer.stdout.readline() == "writing\n"
    writers[0].kill()
    writers[0].communicate()
    assert len(list((tmp_path / "inner").iterdir())) == 2
    remove_halves(tmp_path)
    assert len(list((tmp_path / "inner").iterdir())) == 1
    writers[1].communicate("")
    assert [path.name for path in (tmp_path / "inner").iterdir()] == ["file"]
    assert (tmp_path / ".mine.half").exists()


HOLDER = """
import sys
from pathlib import Path
from lab_helpers.core.store import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lock_keeps_others_out_until_its_holder_dies(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout and holder.stdout.readline() == "held\n"
    with pytest.raises(WaitTimeoutError), locked(path, timeout_s=0.2):
        pass
    os.kill(holder.pid, signal.SIGKILL)
    holder.communicate()
    with locked(path, timeout_s=2):
        pass


def test_a_child_that_inherits_the_lock_holds_it(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with locked(path) as descriptor:
        child = subprocess.Popen(["sleep", "60"], pass_fds=(descriptor,))
    with pytest.raises(WaitTimeoutError), locked(path, timeout_s=0.2):
        pass
    child.kill()
    child.wait()
    with locked(path, timeout_s=2):
        pass


def test_records_are_plain_json_lines(tmp_path: Path) -> None:
    log = AppendLog(tmp_path / "log.jsonl")
    log.append({"a": 1})
    assert wait_for(log.path.exists, "the log", timeout_s=1)
    assert json.loads(log.path.read_text()) == {"a": 1}


def test_damaged_lines_are_told_of_once(tmp_path: Path) -> None:
    log = AppendLog(tmp_path / "log.jsonl")
    log.append({"n": 1})
    assert (log.read(), log.newly_damaged()) == ([{"n": 1}], 0)
    for damage, lines in ((b"{half\n", 1), (b"\x00\x00\n[]\n", 2)):
        with log.path.open("ab") as file:
            file.write(damage)
        assert log.read() == [{"n": 1}]
        assert (log.newly_damaged(), log.newly_damaged()) == (lines, 0)
    (tmp_path / "log.jsonl.damaged.told").write_text("nonsense")
    assert (log.newly_damaged(), log.newly_damaged()) == (3, 0)
