"""`lab vm`: what needs no guest."""

from __future__ import annotations

import pytest

from lab_helpers.ui.vm_commands import without_escapes


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("\x1b[!p\x1b]104\x07\x1b[?7hlogin", "login"),  # what systemd sends to a console when it starts
        ("\x1b[6n\x1b[32766;32766H\x1b[6n\x1b[?2004hroot@vm:~# ", "root@vm:~# "),
        ("\x1b]0;a title\x1b\\text", "text"),
        ("\x1b]3008;start=1;type=shell\x1b\\\x1b[0;1;31mred\x1b[0m", "red"),
        ("\x1bP+q544e\x1b\\after", "after"),
        ("\x1b]2;never ended\nnext line", "\nnext line"),
        ("\x1b(B\x1b=\x1b>\x1bcx", "x"),
        ("[  OK  ] Started\r\n\ttab [6n kept\x08\x00\x1b", "[  OK  ] Started\n\ttab [6n kept"),
    ],
)
def test_a_console_is_read_without_what_steers_a_terminal(written: str, read: str) -> None:
    assert without_escapes(written) == read
