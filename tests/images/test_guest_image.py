"""The guest's disk: its key, its cache, and a build that is killed."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from lab_helpers.core.errors import MachineError, ToolError
from lab_helpers.core.events import Event, Progress
from lab_helpers.core.settings import Place, place
from lab_helpers.core.waiting import wait_for
from lab_helpers.images import guest_image as module
from lab_helpers.images.guest_image import GuestImage, find_guest_image, guest_image, image_key
from lab_helpers.tools.qemu import host_arch


@pytest.fixture
def empty(tmp_path: Path) -> Place:
    return replace(place(), home=tmp_path / "home", state=tmp_path / "state", work=tmp_path / "work")


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A copy of the recipe that a test may change."""
    copy = tmp_path / "recipe"
    shutil.copytree(module.RECIPE, copy)
    monkeypatch.setattr(module, "RECIPE", copy)
    return copy


def test_the_key_follows_everything_that_the_disk_is_made_of(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {image_key("amd64"), image_key("arm64")}
    (recipe / "customize.sh").write_text("# another\n")
    keys.add(image_key("amd64"))
    (recipe / "rootfs" / "new").write_text("")
    keys.add(image_key("amd64"))
    (recipe / "mini-init").chmod(0o644)
    keys.add(image_key("amd64"))
    monkeypatch.setattr(module, "PACKAGES", ("nano",))
    keys.add(image_key("amd64"))
    assert len(keys) == 6
    assert image_key("amd64") in keys  # and it is the same for the same


def test_an_empty_cache_has_no_image_and_half_of_one_is_none(empty: Place) -> None:
    assert find_guest_image(empty, "amd64") is None
    folder = empty.images / image_key("amd64")
    folder.mkdir(parents=True)
    (folder / "image.json").write_text("{}")
    (folder / "vmlinuz").touch()
    assert find_guest_image(empty, "amd64") is None


def test_offline_means_that_nothing_is_built(empty: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_OFFLINE", "1")
    with pytest.raises(MachineError) as caught:
        guest_image(empty)
    assert caught.value.finding == "GUEST-IMAGE"
    assert not list(empty.images.glob("guest-*/*"))


def test_a_machine_that_cannot_build_says_so(empty: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(module, "find_program", lambda _name: None)
    with pytest.raises(MachineError) as caught:
        guest_image(empty)
    assert caught.value.finding == "IMAGE-BUILDER"


def test_a_build_that_fails_says_why_and_leaves_no_image(
    empty: Place, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "find_program", lambda name: Path("/usr/bin") / name if name == "mmdebstrap" else None)
    (recipe / "build.sh").write_text("#!/bin/sh\necho 'STEP 1/6 trying'\necho 'no such mirror' >&2\nexit 7\n")
    with pytest.raises(ToolError) as caught:
        guest_image(empty)
    assert "no such mirror" in str(caught.value)
    assert find_guest_image(empty) is None


def test_progress_is_read_from_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("STEP 0/6 cleaning\n")
    first = module._progress(log)
    log.write_text(log.read_text() + "STEP 1/6 downloading\nI: extracting archives...\n")
    second = module._progress(log)
    log.write_text(log.read_text() + "STEP 5/6 packing the disk\n")
    third = module._progress(log)
    assert first.done < second.done < third.done < (third.total or 0)
    assert "packing" in third.what


BUILD = """
import sys
from dataclasses import replace
from pathlib import Path
from lab_helpers.core.settings import place
from lab_helpers.images import guest_image as module
module.RECIPE = Path(sys.argv[2])
module.find_program = lambda name: Path("/usr/bin") / name if name == "mmdebstrap" else None
print(module.guest_image(replace(place(), home=Path(sys.argv[1]))).key)
"""

SLOW = """#!/bin/sh
echo "STEP 1/6 waiting"
cd "$(dirname "$LAB_OUT")"
echo run >> runs
while [ ! -e go ]; do sleep 0.05; done
mkdir "$LAB_OUT" && cd "$LAB_OUT" && touch disk.qcow2 vmlinuz initrd.img && echo '{}' > image.json
echo "STEP 6/6 done"
"""


def test_after_kill_9_the_build_goes_on_and_the_next_caller_waits_for_it(empty: Place, recipe: Path) -> None:
    (recipe / "build.sh").write_text(SLOW)
    runs, go = empty.images / "runs", empty.images / "go"
    argv = [sys.executable, "-c", BUILD, str(empty.home), str(recipe)]
    first = subprocess.Popen(argv)
    wait_for(runs.exists, "the first build to begin", timeout_s=20)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    second = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    with pytest.raises(subprocess.TimeoutExpired):
        second.communicate(timeout=2)
    go.touch()
    out, _ = second.communicate(timeout=60)
    assert second.returncode == 0
    assert out.strip() == image_key(host_arch())
    assert runs.read_text() == "run\n"


def test_ctrl_c_ends_the_build_and_the_next_one_starts_clean(empty: Place, recipe: Path) -> None:
    (recipe / "build.sh").write_text(SLOW)
    runs, go = empty.images / "runs", empty.images / "go"
    argv = [sys.executable, "-c", BUILD, str(empty.home), str(recipe)]
    first = subprocess.Popen(argv, stderr=subprocess.PIPE)
    wait_for(runs.exists, "the first build to begin", timeout_s=20)
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=15)
    assert first.returncode != 0
    go.touch()
    second = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    assert second.stdout.strip() == image_key(host_arch())
    assert runs.read_text() == "run\nrun\n"


@pytest.mark.live
@pytest.mark.full
def test_the_disk_is_built_for_real_with_progress(empty: Place) -> None:
    if not shutil.which("mmdebstrap"):
        pytest.skip("mmdebstrap is not installed")
    events: list[Event] = []
    image = guest_image(empty, events.append)
    assert image.disk.stat().st_size > 100e6
    assert not os.access(image.disk, os.W_OK) or os.getuid() == 0
    assert {event.what for event in events if isinstance(event, Progress)} >= {"guest disk: packing the disk"}


@pytest.mark.live
def test_the_image_of_the_course_is_read_only(image: GuestImage) -> None:
    for path in (image.disk, image.kernel, image.initrd):
        assert path.stat().st_mode & 0o222 == 0
