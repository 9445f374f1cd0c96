"""`lab watch`: the tasks of a lab one after the other, each looked at again whenever something changes.

With a terminal on both sides single keys work: h a hint, c check now, q quit. Without one it prints each new verdict.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from lab_helpers.core.errors import ExitCode
from lab_helpers.course.progress import read
from lab_helpers.course.verdict import Verdict
from lab_helpers.course.watching import Ended, watch
from lab_helpers.ui.checks import Answer, ask_check, ask_hint
from lab_helpers.ui.keys import END, has_keys, key, single_keys
from lab_helpers.ui.text import Line, answer_lines

if TYPE_CHECKING:
    from lab_helpers.core.settings import Place
    from lab_helpers.course.declare import Lab
    from lab_helpers.ui.terminal import Screen

KEYS = "h: hint · c: check now · q: quit"


class Watcher:
    """Follows one lab in a terminal."""

    def __init__(self, place: Place, lab: Lab, screen: Screen) -> None:
        self._place, self._lab, self._screen = place, lab, screen
        self._asking = threading.Lock()
        self._shown: list[Line] = []
        self.quit = threading.Event()
        self._task = ""

    def run(self) -> ExitCode:
        """Until every task of the lab has passed (PASSED), or somebody quits or nothing changes (NOT_YET)."""
        done = read(self._place).lab(self._lab.name)
        open_tasks = [name for name in self._lab.tasks if not done.task(name).passed]
        for number, self._task in enumerate(open_tasks, start=1):
            self._head(number, len(open_tasks))
            ended = watch(self._look, self._place, self._lab.name, self.quit)
            if ended is not Ended.PASSED:
                self._screen.say(f"The watch is over: {ended}. `lab watch {self._lab.name}` goes on.")
                return ExitCode.NOT_YET
        self._screen.say(f"Every task of {self._lab.name} has passed.")
        return ExitCode.PASSED

    def key(self, pressed: str) -> None:
        """What one key does."""
        match pressed:
            case "h":
                self._ask(ask_hint)
            case "c":
                self._ask(ask_check)
            case "q":
                self.quit.set()

    def _look(self) -> Verdict:
        return self._ask(ask_check, again=False)

    def _ask(self, question: Callable[[Place, Lab, str], Answer], *, again: bool = True) -> Verdict:
        """Ask and show the answer; one that says the same as the last is shown only when somebody asked (`again`)."""
        with self._asking:
            answer = question(self._place, self._lab, self._task)
            what = f"{self._lab.name} {self._task}"
            lines = answer_lines(answer, hint=f"lab hint {what}", check=f"lab check {what}")
            if again or lines != self._shown:
                self._screen.show([Line(""), *lines])
            self._shown = lines
        return answer.verdict

    def _head(self, number: int, of: int) -> None:
        bar = "#" * (number - 1) + "-" * (of - number + 1)
        keys = f"   {KEYS}" if has_keys() else ""
        text = f"\n[{bar}] {self._lab.title}: {self._lab.tasks[self._task].title}{keys}"
        self._screen.show([Line(text, style="head")])


def run_watch(place: Place, lab: Lab, screen: Screen) -> ExitCode:
    """Watch a lab. The keys are read beside it where there is a terminal."""
    watcher = Watcher(place, lab, screen)
    with _keys(watcher):
        return watcher.run()


@contextlib.contextmanager
def _keys(watcher: Watcher) -> Iterator[None]:
    """Single keys for the watcher, read beside it."""
    if not has_keys():
        yield
        return
    over = threading.Event()

    def listen() -> None:
        while not over.is_set():
            pressed = key(0.2)
            watcher.key("q" if pressed == END else pressed)
            if pressed == END:
                return

    listener = threading.Thread(target=listen, daemon=True)
    with single_keys():
        listener.start()
        try:
            yield
        finally:
            over.set()
            listener.join()  # the next key is somebody else's
