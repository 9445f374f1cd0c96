"""The lock: it holds what pyproject.toml asks for, each file by its hash, and no address."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from lab_helpers.core.settings import CHECKOUT

LOCK = (CHECKOUT / "requirements.lock").read_text()
BLOCKS = re.findall(r"^([\w.-]+)==(\S+)((?:.*\\\n)*.*)", LOCK, re.MULTILINE)


def wanted() -> list[Requirement]:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]
    extra = project["optional-dependencies"]["dev"]
    return [Requirement(line) for line in [*project["dependencies"], *extra]]


@pytest.mark.parametrize("requirement", wanted(), ids=lambda requirement: requirement.name)
def test_pyproject_and_lock_agree(requirement: Requirement) -> None:
    found = [Version(version) for name, version, _ in BLOCKS if name == canonicalize_name(requirement.name)]
    assert found, f"{requirement} is not in requirements.lock: compile it anew, its first lines tell how"
    assert all(version in requirement.specifier for version in found)


def test_every_package_has_hashes() -> None:
    assert len(BLOCKS) > 100
    assert [name for name, _, rest in BLOCKS if "--hash=sha256:" not in rest] == []


def test_there_is_no_address() -> None:
    assert "://" not in LOCK
    assert "index-url" not in LOCK.replace("--no-emit-index-url", "")


def test_every_supported_python_is_served() -> None:
    bounds = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert bounds == ">=3.11,<3.15"
    assert "--universal --python-version 3.11" in LOCK
    assert "python>=3.11,<3.15" in (CHECKOUT / "environment.yml").read_text()
