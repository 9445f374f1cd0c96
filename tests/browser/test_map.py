"""The boundary map in JupyterLab: it appears, follows what happens, and answers to keys."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import pytest

from lab_helpers.boundaries.vm import Vm
from lab_helpers.core.settings import Place
from lab_helpers.images.guest_image import GuestImage
from tests.browser.conftest import Notebook

pytestmark = pytest.mark.browser

OUTSIDE = """map => [...map.querySelectorAll("svg")].filter(svg => svg.getClientRects().length).flatMap(svg =>
    [...svg.querySelectorAll("g")].flatMap(group => {
        const box = group.querySelector("rect").getBBox();
        return [...group.querySelectorAll("text")].filter(text => {
            const at = text.getBBox();
            return at.x < box.x || at.x + at.width > box.x + box.width || at.y + at.height > box.y + box.height + 1;
        }).map(text => text.textContent);
    }))"""


@pytest.fixture
def vm(place: Place, image: GuestImage) -> Iterator[Vm]:
    made = Vm.create(place, "map-vm", image, memory_mib=256, cpus=1)
    yield made
    made.remove()


def test_the_map_follows_what_happens_and_answers_to_keys(open_notebook: Callable[..., Notebook], vm: Vm) -> None:
    page = open_notebook().page
    cell = page.locator(".jp-CodeCell").filter(has_text="# Your turn").last
    cell.locator(".cm-content").click()
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.type("boundary_map()")
    page.keyboard.press("Shift+Enter")
    output = page.locator(".jp-CodeCell").filter(has_text="boundary_map()").last
    picture = output.locator(".lab-map svg:visible")
    picture.wait_for(timeout=60_000)
    assert picture.count() == 1, "one of the three widths"
    assert picture.get_attribute("role") == "img"
    name = picture.locator("text.name", has_text="map-vm")
    assert name.count() == 0

    with subprocess.Popen([*vm.command(), "-S"], cwd=vm.folder) as qemu:  # -S: it never boots, and so costs nothing
        name.wait_for(timeout=60_000)
        assert output.locator(".lab-map").evaluate(OUTSIDE) == []
        pause = output.get_by_role("button", name="Pause")
        pause.focus()
        page.keyboard.press("Enter")
        output.get_by_text("paused").wait_for(timeout=60_000)
        qemu.kill()
    output.get_by_role("button", name="Look now").focus()
    page.keyboard.press("Enter")
    name.wait_for(state="detached", timeout=60_000)
    output.get_by_role("button", name="Show as text").focus()
    page.keyboard.press("Enter")
    output.locator("pre.lab-map-text", has_text="this machine · kernel 1").wait_for(timeout=60_000)
