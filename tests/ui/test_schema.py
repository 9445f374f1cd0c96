"""docs/schema/ says what `--json` prints."""

from __future__ import annotations

from lab_helpers.core.settings import CHECKOUT
from lab_helpers.ui.schema import schemas


def test_the_published_schemas_are_those_of_the_models() -> None:
    folder = CHECKOUT / "docs" / "schema"
    published = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.json")}
    assert published == schemas(), "run: python -m lab_helpers.ui.schema"
