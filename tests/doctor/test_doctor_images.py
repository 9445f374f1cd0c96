"""What the doctor says about the images and where they come from."""

from __future__ import annotations

import pytest

from lab_helpers.core.settings import place
from lab_helpers.doctor import images
from lab_helpers.doctor.report import Level
from lab_helpers.images import registry

MIRROR = "127.0.0.1:5000/mirror"


@pytest.mark.parametrize(
    ("there", "level", "said"),
    [
        ((MIRROR, "docker.io"), Level.OK, f"answers: {MIRROR}, docker.io"),
        (("docker.io",), Level.OK, f"answers: docker.io; LAB_REGISTRY names {MIRROR}, which does not answer"),
        ((), Level.NOTE, f"LAB_REGISTRY names {MIRROR}, which does not answer"),
    ],
)
def test_the_mirror_is_asked_as_well(
    there: tuple[str, ...], level: Level, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_REGISTRY", f"https://{MIRROR}/")
    monkeypatch.setattr(registry, "answering", lambda name: name in there)
    finding = images.registry(place())
    assert finding.level is level
    assert finding.saw.endswith(said)
