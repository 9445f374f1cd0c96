"""The passport's text and picture: every word is there, nothing runs, and the picture is well-formed."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

import pytest

from lab_helpers.course.passport import Passport, Pin, Stamp, Stop
from lab_helpers.ui.passport_picture import columns, passport_svg, wrapped
from lab_helpers.ui.passport_text import passport_text

SVG = "{http://www.w3.org/2000/svg}"
GUEST, HOST = "5e1f7d2a-8a7c-4f0b-9a51-3f2f1c6d7e8f", "a751d8d7-7082-45ed-b5b0-23b6435f9063"


def stamp(**facts: Any) -> Stamp:
    plain = {"time": 1795821000, "boot_id": HOST, "kernel": "6.18.5", "version": "1.0.0", "vm": "", "container": ""}
    return Stamp(**{**plain, "node": "", "pod": "", "carried": True, **facts})


PAGE = Passport(
    pin=Pin(text="My <first> pin & more", author="me", made="2026-11-27T21:30:00.000001Z"),
    stops=(
        Stop(lab="01-vm", title="A virtual machine", stamp=stamp(boot_id=GUEST, vm="pinboard-vm")),
        Stop(lab="02-c", title="A container", stamp=stamp(container="54859576b9c8", carried=False)),
        Stop(lab="05-k", title="Kubernetes", stamp=stamp(node="worker2", pod="pinboard-7c9d4fd5d9-x2x7p")),
        Stop(lab="06-t", title="Three tiers"),
    ),
)


def parsed(svg: str) -> ET.Element:
    return ET.fromstring(svg)  # noqa: S314 - our own picture


def words(svg: str) -> list[str]:
    return ["".join(text.itertext()) for text in parsed(svg).iter(f"{SVG}text")]


def test_the_text_says_who_served_it_and_on_which_kernel() -> None:
    lines = [line.strip() for line in passport_text(PAGE).splitlines()]
    assert lines[1].startswith("“My <first> pin & more”, by me, made 2026-11-")
    assert "kernel:        A · 6.18.5 (boot id 5e1f7d2a)" in lines
    assert lines.count("kernel:        B · 6.18.5 (boot id a751d8d7)") == 2
    assert "pod:           pinboard-7c9d4fd5d9-x2x7p" in lines
    assert lines.count("your pin was on the board") == 2
    assert lines.count("your pin was not on the board yet") == 1
    assert "○ 06 Three tiers: no stamp yet" in lines


@pytest.mark.parametrize("inline", [False, True])
def test_the_picture_says_the_same_in_pictures_and_in_words(inline: bool) -> None:
    svg = passport_svg(PAGE, inline=inline)
    root = parsed(svg)
    assert root.get("role") == "img"
    named = {element.get("id"): element.text for element in root}
    assert [named[name] for name in (root.get("aria-labelledby") or "").split()] == [
        "Passport of a pin",
        passport_text(PAGE),
    ]
    shown = words(svg)
    for word in (
        "My <first> pin & more",
        "pinboard-vm",
        "54859576b9c8",
        "worker2",
        "a751d8d7",
        "5e1f7d2a",
        "no stamp yet",
    ):
        assert word in shown
    assert shown.count("B") == 2, "the letter says what the colour says"
    assert ("prefers-color-scheme" in svg) is not inline
    for outside in ("<script", "href", "url(", "@import", "onload"):
        assert outside not in svg


def test_an_empty_passport_and_one_with_many_stops_fit_on_their_page() -> None:
    for count in (0, 1, 2, 3, 7, 12):
        stops = tuple(Stop(lab=f"{n:02}-x", title="A lab with quite a long name", stamp=stamp()) for n in range(count))
        root = parsed(passport_svg(Passport(stops=stops)))
        height = float((root.get("viewBox") or "").split()[3])
        stamps = [group for group in root.iter(f"{SVG}g") if group.get("class") == "stamp"]
        assert len(stamps) == count
        assert all(float(text.get("y", 0)) < height for text in root.iter(f"{SVG}text"))


@pytest.mark.parametrize(
    "text", ["x" * 500, "漢字" * 200, "👍 " * 250, "a b " * 120, "\u202eevil\x1b[31m", "https://" + "long/" * 60]
)
def test_any_pin_fits_on_the_note(text: str) -> None:
    lines = wrapped(text, 32, 4)
    assert 1 <= len(lines) <= 4
    assert all(columns(line) <= 34 for line in lines)
    svg = passport_svg(PAGE.model_copy(update={"pin": Pin(text=text, author=text[:80], made="whenever")}))
    assert "\x1b" not in svg
    assert "\u202e" not in svg
    parsed(svg)
