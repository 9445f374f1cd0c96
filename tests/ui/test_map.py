"""The boundary map as a picture and in words: whatever is in it, they say the same, and every box is in its place."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest

from lab_helpers.course.boundaries_engine import SeenEngine
from lab_helpers.course.boundaries_guests import SeenGuests
from lab_helpers.course.boundaries_now import BoundaryMap, Box
from lab_helpers.ui.map_layout import Placed, columns_of, layout, least_width, wrap
from lab_helpers.ui.map_svg import COLOURS, UNKNOWN, WIDTHS, colours, map_html, map_svg
from lab_helpers.ui.map_text import age_words, kernel_words, map_lines, map_text, memory_words, name_of
from tests.course.map_scenes import HOSTILE, NOW, any_map, container, full, guest, scene

SVG = "{http://www.w3.org/2000/svg}"
SEEDS = range(25)


# -- the layout


@pytest.mark.parametrize("seed", SEEDS)
def test_every_box_lies_in_its_parent_and_no_two_overlap(seed: int) -> None:
    machine = any_map(seed).machine
    for width in WIDTHS:
        page = layout(machine, width, NOW)
        assert page.width == max(width, least_width(machine))
        assert [placed.box for placed in page.walk()] == list(machine.walk()), "each box once, in its place"
        for placed in page.walk():
            top = max(words.y for words in placed.words)
            for words in placed.words:
                assert placed.x < words.x < placed.x + placed.width
                assert placed.y < words.y < placed.y + placed.height
            for child in placed.children:
                assert inside(child, placed)
                assert child.y > top, "a box does not cover the words of the one around it"
            for number, one in enumerate(placed.children):
                assert not any(overlap(one, other) for other in placed.children[number + 1 :])


def inside(child: Placed, parent: Placed) -> bool:
    return (
        parent.x < child.x
        and parent.y < child.y
        and child.x + child.width < parent.x + parent.width + 0.01
        and child.y + child.height < parent.y + parent.height + 0.01
    )


def overlap(a: Placed, b: Placed) -> bool:
    return a.x < b.x + b.width and b.x < a.x + a.width and a.y < b.y + b.height and b.y < a.y + a.height


def test_boxes_stand_side_by_side_while_there_is_room() -> None:
    seen = scene(SeenGuests((guest(),)), SeenEngine(tuple(container(f"c{n}") for n in range(10))))
    rows = {width: len({child.y for child in layout(seen.machine, width, NOW).children}) for width in WIDTHS}
    assert rows == {880: 3, 560: 4, 340: 6}


@pytest.mark.parametrize("columns", [1, 2, 7, 30])
@pytest.mark.parametrize(
    "text", ["", "web", "kube-controller-manager-control-plane", "x" * 40, "漢字" * 9, "a b  c-d/e.f"]
)
def test_wrapped_lines_are_short_enough_and_lose_no_letter(text: str, columns: int) -> None:
    lines = wrap(text, columns)
    assert re.sub(r"\s", "", "".join(lines)) == re.sub(r"\s", "", text)
    assert all(columns_of(line) <= columns or len(line) == 1 for line in lines)


def test_names_are_broken_at_their_hyphens() -> None:
    assert wrap("kube-scheduler-pinboard-control-plane", 17) == ["kube-scheduler-", "pinboard-control-", "plane"]


# -- picture and words


@pytest.mark.parametrize("seed", SEEDS)
def test_the_picture_is_sound_and_says_what_the_text_says(seed: int) -> None:
    seen = any_map(seed)
    for width in WIDTHS:
        svg = ElementTree.fromstring(map_svg(seen, width))  # noqa: S314 - our own
        titles = [title.text or "" for title in svg.iter(f"{SVG}title")][1:]
        text = (svg.findtext(f"{SVG}desc") or "").splitlines()
        assert text == map_text(seen).splitlines()
        assert len(titles) == len(list(seen.machine.walk()))
        for box, title, line in zip(seen.machine.walk(), titles, text, strict=False):
            assert name_of(box) in title
            assert name_of(box) in line
            assert kernel_words(box) in title and kernel_words(box) in line


def drawn(group: ElementTree.Element) -> str:
    """The name as it is drawn in a box, its lines put together."""
    return "".join(text.text or "" for text in group.iter(f"{SVG}text") if text.get("class") == "name")


@pytest.mark.parametrize("width", WIDTHS)
def test_the_names_are_drawn_whole(width: int) -> None:
    seen = full()
    svg = ElementTree.fromstring(map_svg(seen, width))  # noqa: S314
    assert [drawn(group) for group in svg.iter(f"{SVG}g")] == [box.name for box in seen.machine.walk()]


def test_a_kernel_is_told_by_its_colour_and_by_its_name() -> None:
    seen = full()
    svg = ElementTree.fromstring(map_svg(seen, 880))  # noqa: S314
    for box, group in zip(seen.machine.walk(), svg.iter(f"{SVG}g"), strict=True):
        frame, sign = list(group.iter(f"{SVG}rect"))
        assert frame.get("stroke") == sign.get("fill") == colours(box.kernel)[0]
        assert [text.text for text in group.iter(f"{SVG}text") if text.get("class") == "sign"] == [kernel_words(box)]
    thick = [group for group in svg.iter(f"{SVG}g") if group.find(f"{SVG}rect").get("stroke-width") == "3"]  # type: ignore[union-attr]
    assert [drawn(group) for group in thick] == ["this machine", "pinboard-vm", "slow", "docker-desktop"]


def test_the_signs_can_be_read() -> None:
    for back, ink in (*COLOURS, UNKNOWN):
        light, dark = sorted((luminance(back), luminance(ink)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, back
    assert len({colour for colour, _ in COLOURS}) == len(COLOURS)


def luminance(colour: str) -> float:
    """https://www.w3.org/TR/WCAG21/#dfn-relative-luminance"""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_a_picture_for_who_cannot_see_it() -> None:
    svg = ElementTree.fromstring(map_svg(full(), 880))  # noqa: S314
    assert svg.get("role") == "img"
    assert [child.tag for child in svg][:2] == [f"{SVG}title", f"{SVG}desc"]
    assert svg.findtext(f"{SVG}title") == "What runs now: 15 boxes on 3 kernels"


@pytest.mark.parametrize("where", ["name", "detail", "note"])
def test_what_comes_from_outside_is_escaped(where: str) -> None:
    given: dict[str, Any] = {"name": "web", where: HOSTILE}
    seen = full().model_copy(update={"machine": Box(kind="machine", name="m", children=(Box(kind="pod", **given),))})
    for text in (map_html(seen), map_text(seen)):
        assert "\x1b" not in text
        assert "\u202e" not in text
    assert "<script" not in map_html(seen)
    for width in WIDTHS:
        svg = ElementTree.fromstring(map_svg(seen, width))  # noqa: S314
        assert not [element for element in svg.iter() if "script" in element.tag]
        assert "<script>alert('x')</script>" in (svg.findtext(f"{SVG}desc") or "")


def test_names_of_guests_and_notes_cannot_add_lines_to_the_text() -> None:
    seen = scene(SeenGuests((replace(guest(), name="a\nand 99 containers", note="b\nc"),), troubles=("d\ne",)))
    assert len(map_text(seen).splitlines()) == 2 + 1 + 2 + 1


# -- words


def test_the_text_is_a_tree_with_the_kernels_under_it() -> None:
    seen = scene(SeenGuests((guest(),)), SeenEngine((container("pinboard", "paused"),), others=1, off=("old",)))
    assert map_text(seen).splitlines() == [
        "this machine · kernel 1 · 5.9 of 15.6 GiB · started 25 h ago",
        "├─ VM pinboard-vm · kernel 2 · takes 388 MiB, given 640 MiB · started 3 min ago",
        "└─ container pinboard · kernel 1 · 23 of 128 MiB · started 12 s ago · pinboard:1 · paused",
        "",
        "kernel 1: Linux 6.1.0-host, boot id boot-host",
        "kernel 2: Linux 6.12-guest, boot id boot-guest",
        "Off: the container old.",
        "and 1 container that is not the course's",
    ]


def test_in_the_terminal_a_line_has_the_colour_of_its_kernel() -> None:
    from lab_helpers.ui.terminal import STYLES

    lines = map_lines(full())
    assert [line.style for line in lines[:5]] == ["kernel-1", "kernel-3", "quiet", "kernel-2", "kernel-2"]
    assert {line.style for line in lines if line.style} <= STYLES.keys()


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (47.9 * 3600, "47 h"),
        (2e5, "2 days"),
    ],
)
def test_ages_get_coarser_the_longer_ago(seconds: float, words: str) -> None:
    assert age_words(NOW - seconds, NOW) == f"started {words} ago"
    assert age_words(None, NOW) == ""


@pytest.mark.parametrize(
    ("used", "of", "words"),
    [
        (None, None, ""),
        (None, 64, "64 MiB at most"),
        (0, None, "1 MiB"),
        (12, 64, "12 of 64 MiB"),
        (512, 20480, "0.5 of 20.0 GiB"),
    ],
)
def test_memory_in_words(used: int | None, of: int | None, words: str) -> None:
    assert memory_words(Box(kind="container", name="x", memory_mib=used, memory_of_mib=of)) == words


def test_it_survives_its_json() -> None:
    assert BoundaryMap.model_validate_json(full().model_dump_json()) == full()
