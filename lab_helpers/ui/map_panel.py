"""The boundary map in a notebook: the picture, which follows what happens by itself, and what it says as text."""

from __future__ import annotations

import threading
import time
from html import escape
from typing import TYPE_CHECKING

from lab_helpers.course.boundaries_now import PATIENCE_S, BoundaryMap
from lab_helpers.course.boundaries_watch import Follower, MapPace
from lab_helpers.course.watching import Ended
from lab_helpers.ui.failures import named
from lab_helpers.ui.map_svg import map_html
from lab_helpers.ui.map_text import map_text
from lab_helpers.ui.text import harmless
from lab_helpers.ui.widgets import ipywidgets

if TYPE_CHECKING:
    from lab_helpers.core.settings import Place

_GROUP = 'role="group" aria-label="The boundary map as text" tabindex="0"'
"""It may be wider than the page: with a tab stop it can be scrolled with keys as well."""
_running: list[MapPanel] = []
"""The map of this kernel that follows what happens: one at most."""


class MapPanel:
    """A map, its buttons, and its text. `text` is what it says without a picture."""

    def __init__(self, place: Place, pace: MapPace | None = None) -> None:
        widgets = ipywidgets()
        self._place, self._pace = place, pace
        self._picture = widgets.HTML()
        self._words = widgets.HTML(layout=widgets.Layout(display="none"))
        self._when = widgets.HTML()
        self._state = widgets.HTML()
        self._pause = widgets.Button(description="Pause", icon="pause")
        self._now = widgets.Button(description="Look now", icon="refresh")
        self._as_text = widgets.Button(description="Show as text", icon="align-left")
        self._pause.on_click(lambda _: self._toggle())
        self._now.on_click(lambda _: self._look_now())
        self._as_text.on_click(lambda _: self._toggle_text())
        row = [self._pause, self._now, self._as_text, self._when, self._state]
        buttons = widgets.HBox(row, layout=widgets.Layout(flex_flow="row wrap", align_items="center"))
        self.widget = widgets.VBox([self._picture, buttons, self._words])
        self._paused = False
        self.thread: threading.Thread | None = None
        self._follower = Follower(place, self.show, pace)
        self._seen = self._follower.first(patience_s=PATIENCE_S)
        self.show(self._seen)

    def show(self, seen: BoundaryMap) -> None:
        """Draw another map. Any thread may call it."""
        self._seen = seen
        self.text = map_text(seen)
        self._picture.value = map_html(seen)
        self._words.value = f'<pre class="lab-map-text" {_GROUP}>{escape(self.text)}</pre>'
        self._when.value = f"<span>as of {time.strftime('%H:%M:%S', time.localtime(seen.looked_at))}</span>"

    def follow(self) -> None:
        """Keep it up to date from now on, in the background. An older map of this kernel stays as it is."""
        for older in _running:
            if older is not self:
                older.end("a newer map goes on")
        _running[:] = [self]
        self._say("follows what happens")
        self.thread = threading.Thread(target=self._run, name="boundary map", daemon=True)
        self.thread.start()

    def end(self, why: str) -> None:
        """Stop following."""
        self._follower.stop()
        self._say(f"not updated any more: {why}", over=True)

    def _run(self) -> None:
        try:
            ended = self._follower.run(self._seen)
        except Exception as error:  # noqa: BLE001 - no cell could show it
            self._say(f"not updated any more: {harmless(str(named(error)))}", over=True)
            return
        if ended is Ended.IDLE:
            self._say(f"not updated any more: {ended}", over=True)

    def _say(self, words: str, *, over: bool = False) -> None:
        self._state.value = f'<span role="status">· {escape(words)}</span>'
        self._pause.layout.display = "none" if over else ""

    def _toggle(self) -> None:
        self._paused = not self._paused
        self._follower.pause(self._paused)
        self._pause.description, self._pause.icon = ("Go on", "play") if self._paused else ("Pause", "pause")
        self._say("paused" if self._paused else "follows what happens")

    def _look_now(self) -> None:
        if self.thread is not None and self.thread.is_alive() and self in _running:
            self._follower.refresh()
            return
        try:  # it has ended: one look, and it goes on from there
            self._paused = False
            self._pause.description, self._pause.icon = "Pause", "pause"
            self._follower = Follower(self._place, self.show, self._pace)
            self.show(self._follower.first(patience_s=PATIENCE_S))
            self.follow()
        except Exception as error:  # noqa: BLE001 - a click has no cell that could show it
            self._say(harmless(str(named(error))), over=True)

    def _toggle_text(self) -> None:
        hidden = self._words.layout.display == "none"
        self._words.layout.display = "" if hidden else "none"
        self._as_text.description = "Hide the text" if hidden else "Show as text"
