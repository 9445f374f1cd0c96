"""labs/sanitize.cfg: what two machines may say differently compares as equal, and nothing else does."""

from __future__ import annotations

import platform
import re
from pathlib import Path

import pytest
from nbval.plugin import get_sanitize_patterns

from lab_helpers.core.settings import CHECKOUT, Place
from lab_helpers.course.reference import stored, write_sanitizer
from tests.course.toy import place_at


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """A separate place in a checkout that has the course's own sanitize.cfg."""
    root = tmp_path_factory.mktemp("checkout")
    (root / "labs").mkdir()
    (root / "labs" / "sanitize.cfg").write_bytes((CHECKOUT / "labs" / "sanitize.cfg").read_bytes())
    apart = root / ".lab" / "prove-12345678"
    apart.mkdir(parents=True)
    return Place(root=root, home=root / "home", state=apart, work=apart / "work")


def sanitized(place: Place, text: str) -> str:
    """As nbval does it, with nbval's own reader."""
    path = write_sanitizer(place, place.state / "sanitize.cfg")
    for pattern, replacement in dict(get_sanitize_patterns(path.read_text())).items():  # type: ignore[no-untyped-call]
        text = re.sub(pattern, replacement, text)
    return text


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("9b1deb4d-3b7d-4bad-9bdd-2b0d7b3dcb6d", "0e2a1c6f-8d5e-4b1a-9f0c-7d6e5f4a3b2c"),
        ("3 SHA256:" + "a" * 43, "3 SHA256:" + "B+/" * 14 + "c"),
        ("52:54:00:12:34:56", "52:54:00:ab:cd:ef"),
        ("pid:[4026531836]", "pid:[4026532201]"),
        ("2026-01-31T12:34:56.789Z up", "2027-11-01T01:02:03Z up"),
        ("2026-01-31 12:34:56 +0100", "2026-02-01 00:00:00 +0000"),
        ("Sat Jan 31 12:34:56 UTC 2026", "Sun Feb  1 00:00:00 CET 2026"),
        ("-rw-r--r-- 1 ada ada 5 Jan 31 12:34 x", "-rw-r--r-- 1 ada ada 5 Feb  1  2025 x"),
        (" 12:34:56 up 3 min,  load average: 0.10, 0.20, 0.30", " 01:02:03 up  2:10,  load average: 2.00, 1.00, 0.5"),
        ("350.11 500.90\n", "3.00 9.12\n"),
        ("started in 12 s, answered after 0.31s", "started in 3.5 s, answered after 1.2s"),
        ("Mem:            467         101", "Mem:            471          99"),
        ("512 MiB of 23.5 GiB", "512 MiB of 8 GiB"),
        ("MemTotal:         476164 kB", "MemTotal:         480000 kB"),
        ("Linux 6.12.57+deb13-cloud-amd64 x86_64", "Linux 6.12.60-cloud-arm64 aarch64"),
        ("Linux 6.1.0 #1 SMP PREEMPT Debian 6.1.0-1 (2026-01-01)", "Linux 6.1.0 #3-Ubuntu SMP x"),
        ("QEMU emulator version 7.2.17 (Debian 1:7.2+dfsg-7)", "QEMU emulator version 10.0.2 (Debian 1:7.2+dfsg-7)"),
        ("PostgreSQL 17.6", "PostgreSQL 16.1"),
        ("http://127.0.0.1:8001/version", "http://127.0.0.1:8042/version"),
        ("-netdev user,id=n,hostfwd=tcp:127.0.0.1:2222-:22", "-netdev user,id=n,hostfwd=tcp:127.0.0.1:40001-:22"),
        ("on port 8888", "on port 8890"),
        ("QEMU runs as pid 4711", "QEMU runs as pid 17"),
        ('{"pid":265, "process 4711"}', '{"pid":19, "process 12"}'),
        ("pid_max is 4444 in the guest and 32768 on the host", "pid_max is 4444 in the guest and 4194304 on the host"),
        ("curl: (56) Recv failure: Connection reset by peer\nno", "curl: (52) Empty reply from server\nno"),
        ("[1] 4711\n", "[1] 99\n"),
        ("container 3f2a9c0d1e4b", "container 0123456789ab"),
        ("<object at 0x7f4cade20180>", "<object at 0x10f4cade2>"),
        ("/tmp/tmpab12/x.sock ready", "/var/folders/zz/T/y.sock ready"),
        ("accelerator = kvm", "accelerator = tcg"),
        ("memory_gib = 23.5", "memory_gib = 8"),
        ("\x1b[1;32mgreen\x1b[0m\r\n", "green\n"),
        ("/dev/vda1  5.8G  1.2G  4.3G  22% /", "/dev/vda1  5.8G  1.3G  4.2G  24% /"),
    ],
)
def test_what_differs_by_machine_compares_as_equal(place: Place, one: str, other: str) -> None:
    assert one != other
    assert sanitized(place, one) == sanitized(place, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("greet: PASSED, 3 of 3", "greet: PASSED, 2 of 3"),
        ("✔ PASSED", "✘ NOT YET"),
        ("vm.swappiness = 7", "vm.swappiness = 60"),
        ("kernel.pid_max = 4444", "kernel.pid_max = 4194304"),
        ("2 CPUs", "1 CPUs"),
        ("5 rows", "6 rows"),
        ("HTTP/1.1 200 OK", "HTTP/1.1 503 Service Unavailable"),
        ("active (running)", "inactive (dead)"),
        ('{"text": "My first pin", "author": "me"}', '{"text": "Another pin", "author": "me"}'),
        ("pinboard-vm", "first-vm"),
        ("mnt:[4026531836]", "pid:[4026531836]"),
        ("exit code 0", "exit code 1"),
        ("127.0.0.1:8001", "no answer"),
        ("MemTotal:  476164 kB", "SwapTotal:  476164 kB"),
        ("12 MiB", "12 s"),
        ("id 1234567", "id 7654321"),
        ("pid_max is 4444 in the guest and 9 on the host", "pid_max is 4445 in the guest and 9 on the host"),
    ],
)
def test_what_a_lesson_is_about_is_still_compared(place: Place, one: str, other: str) -> None:
    assert sanitized(place, one) != sanitized(place, other)


def test_a_stored_output_compares_as_equal_with_what_another_machine_puts_out(place: Place, tmp_path: Path) -> None:
    other = place_at(tmp_path)
    (tmp_path / "labs").mkdir()
    (other.state).mkdir()

    def said(here: Place) -> str:
        files = f"{here.work}/01-toy/x {here.state}/bin {here.home}/images {here.root}/labs"
        return f"\x1b[32m{files}\x1b[0m\r\nCopied to {here.work}.\r\non {platform.node()}\r\n"

    output = {"output_type": "stream", "name": "stdout", "text": said(other)}
    kept = stored([output], other)[0]["text"]
    assert str(tmp_path) not in kept
    assert kept.startswith("/home/you/vm-to-kubernetes/work/01-toy/x /home/you/vm-to-kubernetes/.lab/bin ")
    assert sanitized(place, kept) == sanitized(place, said(place))
    assert sanitized(place, kept) != sanitized(place, said(place).replace("/labs", "/labz"))


def test_longer_names_are_not_taken_for_a_path_of_ours(place: Place) -> None:
    text = f"{place.root}-old/x /srv{place.root}/y"
    assert sanitized(place, text).count("CHECKOUT") == 0
    assert stored([{"output_type": "stream", "name": "stdout", "text": text}], place)[0]["text"] == text


def test_widgets_are_not_stored_and_their_text_is(place: Place) -> None:
    widget = {"application/vnd.jupyter.widget-view+json": {"model_id": "abc"}}
    outputs = [
        {"output_type": "display_data", "metadata": {}, "data": {**widget, "text/plain": "✔ PASSED"}},
        {"output_type": "display_data", "metadata": {}, "data": widget},
    ]
    assert [output["data"] for output in stored(outputs, place)] == [{"text/plain": "✔ PASSED"}]
    assert "application/vnd.jupyter.widget-view+json" in outputs[0]["data"], "what was run is left as it is"
