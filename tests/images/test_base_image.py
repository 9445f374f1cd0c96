"""The base image: its key, both ways to it, and makers that are stopped or killed. Each engine here is a test's own."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from lab_helpers.core.errors import MachineError, ToolError
from lab_helpers.core.events import Event, Note, Progress
from lab_helpers.core.settings import Place, place
from lab_helpers.core.store import locked
from lab_helpers.core.waiting import wait_for
from lab_helpers.images import base_image as module
from lab_helpers.images import registry as registry_module
from lab_helpers.images.base_image import BASE, base_image, find_base_image, image_key
from lab_helpers.images.registry import DEBIAN
from lab_helpers.tools.engine import Engine
from lab_helpers.tools.qemu import host_arch
from tests.images.daemons import Registry, own_engine, own_registry, push_and_forget, remove_images, small_image


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


@pytest.fixture(autouse=True)
def _asked_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    registry_module._asked.cache_clear()
    registry_module._reached.cache_clear()
    for name in ("LAB_REGISTRY", "LAB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def shared_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with own_engine(tmp_path_factory.mktemp("engine") / "e") as engine:
        yield engine


@pytest.fixture
def engine(shared_engine: Engine) -> Iterator[Engine]:
    """An engine without any image."""
    yield shared_engine
    with shared_engine.client() as client:
        assert not client.containers.list(all=True)
    remove_images(shared_engine)


@pytest.fixture
def no_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine that reaches none."""
    monkeypatch.setattr(registry_module, "_answers", lambda _host: False)
    monkeypatch.setattr(registry_module, "_engine_finds", lambda _engine, _name: False)


@pytest.fixture
def cached(empty: Place) -> Path:
    """A place whose cache has the tar of today's recipe; made once for all tests, in the machine's own cache."""
    name = f"{image_key(host_arch())}.tar"
    real = place().images / name
    if not shutil.which("mmdebstrap"):
        pytest.skip("mmdebstrap is not installed")
    with locked(real.with_suffix(".lock"), timeout_s=600) as lock:
        module._build_tar(real, lock, lambda _event: None)
    empty.images.mkdir(parents=True)
    for path in (real, real.with_suffix(".json")):
        (empty.images / path.name).symlink_to(path)
    return empty.images / name


def runs(engine: Engine, *argv: str) -> str:
    """What a command says in a container of the base image."""
    with engine.client() as client:
        return str(client.containers.run(BASE, list(argv), remove=True, network_mode="none").decode())


def is_complete(engine: Engine) -> None:
    """Everything that the labs expect of the base image, and nothing that it should not have."""
    runs(engine, "python3", "-c", "import starlette, uvicorn, psycopg")
    runs(engine, "sh", "-euc", "curl --version && ps --version && ip -V && test -s /etc/ssl/certs/ca-certificates.crt")
    assert runs(engine, "cat", "/etc/debian_version").startswith("13")
    addresses = runs(engine, "sh", "-euc", "cat /etc/apt/sources.list.d/*; test ! -e /etc/apt/sources.list")
    assert {line for line in addresses.splitlines() if line.startswith("URIs")} == {
        "URIs: http://deb.debian.org/debian",
        "URIs: http://deb.debian.org/debian-security",
    }
    unwanted = "ls -A /usr/share/man /usr/share/locale /var/lib/apt/lists /var/cache/apt/archives"
    assert ".deb" not in runs(engine, "sh", "-c", unwanted)
    assert (
        runs(engine, "sh", "-c", "find /usr/share/man /usr/share/locale /var/lib/apt/lists -type f ! -name lock") == ""
    )
    with engine.client() as client:
        config = client.images.get(BASE).attrs["Config"]
    assert config["Cmd"] == ["python3"]
    assert "LANG=C.UTF-8" in config["Env"]


# -- without an engine -------------------------------------------------------------------------------------------------


def test_the_key_follows_everything_that_the_image_is_made_of(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {image_key("amd64"), image_key("arm64")}
    (recipe / "trim.sh").write_text("# another\n")
    keys.add(image_key("amd64"))
    monkeypatch.setattr(module, "PACKAGES", ("nano",))
    keys.add(image_key("amd64"))
    monkeypatch.setattr(module, "CONFIG", ("CMD []",))
    keys.add(image_key("amd64"))
    monkeypatch.setattr(module, "DEBIAN", replace(DEBIAN, digest="sha256:0"))
    keys.add(image_key("amd64"))
    assert len(keys) == 6
    assert image_key("amd64") in keys  # and it is the same for the same


def test_progress_is_read_from_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("")
    first = module._progress(log)
    log.write_text("I: running apt-get update...\nI: downloading packages with apt...\n")
    second = module._progress(log)
    log.write_text(log.read_text() + "I: installing remaining packages inside the chroot...\nI: creating tarball...\n")
    third = module._progress(log)
    assert first.done < second.done < third.done < (third.total or 0)
    assert "packing" in third.what


def test_trimming_needs_to_be_told_where() -> None:
    """Without an argument it would trim the machine that it runs on."""
    assert subprocess.run([module.RECIPE / "trim.sh"], capture_output=True, check=False).returncode != 0


# -- from the cache ----------------------------------------------------------------------------------------------------


@pytest.mark.live
@pytest.mark.engine
@pytest.mark.full
def test_out_of_the_cache_it_needs_no_network(
    empty: Place, cached: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_OFFLINE", "1")
    assert find_base_image(engine) is None
    made = base_image(empty)
    assert made == find_base_image(engine)
    assert (made.tag, made.key) == (BASE, cached.stem)
    assert "from Debian packages" in made.way
    assert made.seconds > 1
    is_complete(engine)
    told: list[Event] = []
    assert base_image(empty, told.append) == made
    assert not told


@pytest.mark.live
@pytest.mark.engine
@pytest.mark.full
def test_offline_without_it_says_so(empty: Place, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_OFFLINE", "1")
    with pytest.raises(MachineError) as caught:
        base_image(empty)
    assert caught.value.finding == "BASE-IMAGE"
    assert "lab prepare 02" in caught.value.do


@pytest.mark.live
@pytest.mark.engine
@pytest.mark.full
@pytest.mark.usefixtures("no_registry")
def test_a_machine_that_can_neither_get_nor_build_it_says_so(
    empty: Place, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "find_program", lambda _name: None)
    with pytest.raises(MachineError) as caught:
        base_image(empty)
    assert caught.value.finding == "BASE-IMAGE"
    assert "LAB_REGISTRY" in caught.value.do


@pytest.mark.live
@pytest.mark.engine
@pytest.mark.full
def test_an_image_of_another_recipe_is_none_of_ours(empty: Place, cached: Path, engine: Engine) -> None:
    del cached
    small_image(engine, BASE, "of somebody else")
    assert find_base_image(engine) is None
    assert base_image(empty) == find_base_image(engine)
    is_complete(engine)


# -- from a registry ---------------------------------------------------------------------------------------------------


@pytest.fixture
def mirror(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    with own_registry(tmp_path / "registry") as registry:
        monkeypatch.setenv("LAB_REGISTRY", registry.address)
        yield registry


def stand_in(engine: Engine, mirror: Registry, tar: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Put a Debian into the mirror, and let its digest be the one that we want."""
    name = f"{mirror.address}/library/debian:trixie-slim"
    with engine.client(timeout_s=300) as client:
        client.api.import_image_from_file(str(tar), repository=name.removesuffix(":trixie-slim"), tag="trixie-slim")
    _, digest = push_and_forget(engine, name)
    monkeypatch.setattr(module, "DEBIAN", replace(DEBIAN, digest=digest))
    return digest


@pytest.mark.live
@pytest.mark.engine
@pytest.mark.full
def test_where_a_registry_answers_it_is_made_from_its_debian(
    empty: Place, cached: Path, engine: Engine, mirror: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stand-in for Debian has our packages already, which leaves apt nothing to do; see the next test for apt."""
    digest = stand_in(engine, mirror, cached, monkeypatch)
    cached.unlink()
    before = len(mirror.requests())
    told: list[Event] = []
    made = base_image(empty, told.append)
    assert f"GET /v2/library/debian/manifests/{digest}" in mirror.requests()[before:]
    assert made == find_base_image(engine)
    assert made.way == "from the registry's debian:trixie-slim with apt"
    assert not list(empty.images.glob("*.tar"))
    assert any(isinstance(event, Progress) and "pulling debian" in event.what for event in told)
    is_complete(engine)


@pytest.mark.live
@pytest.mark.engine
@pytest.mark.full
@pytest.mark.full
def test_apt_installs_what_the_registrys_debian_lacks(
    empty: Place, engine: Engine, mirror: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not shutil.which("mmdebstrap"):
        pytest.skip("mmdebstrap is not installed")
    bare = empty.images / f"{image_key(host_arch())}.tar"
    with monkeypatch.context() as patch, locked(bare.with_suffix(".lock"), timeout_s=60) as lock:
        patch.setattr(module, "PACKAGES", ("ca-certificates",))
        module._build_tar(bare, lock, lambda _event: None)
    stand_in(engine, mirror, bare, monkeypatch)
    bare.unlink()
    assert base_image(empty).way == "from the registry's debian:trixie-slim with apt"
    is_complete(engine)


@pytest.mark.live
@pytest.mark.engine
@pytest.mark.full
def test_a_registry_without_debian_is_told_and_it_is_built_here(
    empty: Place, cached: Path, engine: Engine, mirror: Registry, recipe: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_module, "_answers", lambda host: host == mirror.address)
    (recipe / "build.sh").write_text(
        f"#!/bin/sh\ncp {cached} $LAB_OUT\ncp {cached.with_suffix('.json')} ${{LAB_OUT%.tar}}.json\n"
    )
    told: list[Event] = []
    made = base_image(empty, told.append)
    notes = " ".join(event.text for event in told if isinstance(event, Note))
    assert f"debian:trixie-slim cannot be had from {mirror.address}" in notes
    assert "manifest unknown" in notes or "not found" in notes
    assert "from Debian packages on this machine" in notes
    assert f"/v2/library/debian/manifests/{DEBIAN.digest}" in mirror.requests()
    assert made.key == image_key(host_arch())
    assert "from Debian packages" in made.way


@pytest.mark.live
@pytest.mark.engine
@pytest.mark.full
def test_a_build_that_fails_in_the_engine_is_told_and_leaves_nothing(
    empty: Place, engine: Engine, mirror: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as where the engine gets images, but no packages. Here Debian's image has no shell at all."""
    name = f"{mirror.address}/library/debian:trixie-slim"
    small_image(engine, name, "no Debian")
    _, digest = push_and_forget(engine, name)
    monkeypatch.setattr(module, "DEBIAN", replace(DEBIAN, digest=digest))
    monkeypatch.setattr(module, "find_program", lambda _name: None)
    told: list[Event] = []
    with pytest.raises(MachineError):
        base_image(empty, told.append)
    assert any(isinstance(event, Note) and "/bin/sh" in event.text for event in told)
    assert find_base_image(engine) is None


# -- stopped and killed ------------------------------------------------------------------------------------------------

MAKE = """
import sys
from dataclasses import replace
from pathlib import Path
from lab_helpers.core.settings import place
from lab_helpers.images import base_image as module, registry
registry._answers = lambda host: False
registry._engine_finds = lambda engine, name: False
module.RECIPE = Path(sys.argv[2])
print(module.base_image(replace(place(), home=Path(sys.argv[1]))).key)
"""

SLOW = """#!/bin/sh
cd "$(dirname "$LAB_OUT")"
echo run >> runs
while [ ! -e go ]; do sleep 0.05; done
echo '{"way": "slowly", "seconds": 1}' > "${LAB_OUT%.tar}.json"
tar -cf "$LAB_OUT.part" runs && mv "$LAB_OUT.part" "$LAB_OUT"
"""


@pytest.mark.live
@pytest.mark.engine
@pytest.mark.full
def test_after_kill_9_the_build_goes_on_and_the_next_caller_waits_for_it(
    empty: Place, engine: Engine, recipe: Path
) -> None:
    (recipe / "build.sh").write_text(SLOW)
    ran, go = empty.images / "runs", empty.images / "go"
    argv = [sys.executable, "-c", MAKE, str(empty.home), str(recipe)]
    first = subprocess.Popen(argv)
    wait_for(ran.exists, "the first build to begin", timeout_s=20)
    first.kill()
    first.wait()
    second = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    with pytest.raises(subprocess.TimeoutExpired):
        second.communicate(timeout=2)
    go.touch()
    out, _ = second.communicate(timeout=60)
    assert second.returncode == 0
    assert out.strip() == image_key(host_arch())
    assert ran.read_text() == "run\n"
    found = find_base_image(engine)
    assert found is not None
    assert found.way == "slowly"


@pytest.mark.live
@pytest.mark.engine
@pytest.mark.full
def test_ctrl_c_ends_the_build_and_the_next_one_starts_clean(empty: Place, engine: Engine, recipe: Path) -> None:
    (recipe / "build.sh").write_text(SLOW)
    ran, go = empty.images / "runs", empty.images / "go"
    argv = [sys.executable, "-c", MAKE, str(empty.home), str(recipe)]
    first = subprocess.Popen(argv, stderr=subprocess.PIPE)
    wait_for(ran.exists, "the first build to begin", timeout_s=20)
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=15)
    assert first.returncode != 0
    with locked(empty.images / f"{image_key(host_arch())}.lock", timeout_s=0):
        assert find_base_image(engine) is None  # and nobody holds the lock: the builder has ended with it
    go.touch()
    second = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    assert second.stdout.strip() == image_key(host_arch())
    assert ran.read_text() == "run\nrun\n"


@pytest.mark.live
@pytest.mark.engine
@pytest.mark.full
@pytest.mark.usefixtures("no_registry")
def test_a_build_that_fails_says_why_and_leaves_no_tar(empty: Place, engine: Engine, recipe: Path) -> None:
    (recipe / "build.sh").write_text("#!/bin/sh\necho half > $LAB_OUT.part\necho 'no such mirror' >&2\nexit 7\n")
    with pytest.raises(ToolError) as caught:
        base_image(empty)
    assert "no such mirror" in str(caught.value)
    assert find_base_image(engine) is None
    assert not list(empty.images.glob("*.tar"))


@pytest.mark.live
@pytest.mark.engine
@pytest.mark.full
@pytest.mark.full
def test_when_all_of_a_real_build_is_killed_the_next_one_leaves_nothing_of_it(
    empty: Place, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not shutil.which("mmdebstrap"):
        pytest.skip("mmdebstrap is not installed")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    argv = [sys.executable, "-c", MAKE, str(empty.home), str(module.RECIPE)]
    log = empty.images / f"{image_key(host_arch())}.log"
    first = subprocess.Popen(argv)
    wait_for(lambda: log.exists() and "installing essential" in log.read_text(), "the build", timeout_s=120)
    everybody = [*psutil.Process(first.pid).children(recursive=True), psutil.Process(first.pid)]
    for process in everybody:
        process.kill()
    psutil.wait_procs(everybody, timeout=20)
    first.wait()
    [left] = scratch.iterdir()
    assert any(left.iterdir())

    second = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    assert second.returncode == 0, second.stderr
    assert second.stdout.strip() == image_key(host_arch())
    assert {path.suffix for path in empty.images.iterdir()} == {".tar", ".json", ".log", ".lock"}
    assert not list(scratch.iterdir())
    assert str(scratch) not in Path("/proc/self/mountinfo").read_text()
    is_complete(engine)
    made = find_base_image(engine)
    assert made is not None
    assert "from Debian packages" in made.way


IN_ENGINE = """
import sys
from dataclasses import replace
from pathlib import Path
from lab_helpers.core.settings import place
from lab_helpers.images import base_image as module
module.pull = lambda engine, reference, tell: sys.argv[3]
module.RECIPE = Path(sys.argv[2])
print(module.base_image(replace(place(), home=Path(sys.argv[1]))).way)
"""


@pytest.mark.live
@pytest.mark.engine
@pytest.mark.full
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_build_in_the_engine_ends_with_us(
    empty: Place, cached: Path, engine: Engine, recipe: Path, how: signal.Signals
) -> None:
    install = recipe / "install.sh"
    works = install.read_text()
    install.write_text("sleep 600")  # which makes it another recipe, with another key
    with engine.client(timeout_s=300) as client:
        client.api.import_image_from_file(str(cached), repository="debian", tag="stand-in")
        debian = client.images.get("debian:stand-in").id
        argv = [sys.executable, "-c", IN_ENGINE, str(empty.home), str(recipe), debian]
        with subprocess.Popen(argv, stderr=subprocess.PIPE) as first:
            wait_for(lambda: bool(client.containers.list()), "the build to begin", timeout_s=60)
            first.send_signal(how)
            first.communicate(timeout=30)
        wait_for(lambda: not client.containers.list(all=True), "its container to be gone", timeout_s=30)
    assert find_base_image(engine) is None
    install.write_text(works + "# and once more another recipe\n")
    second = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=True)
    assert second.stdout.strip() == "from the registry's debian:trixie-slim with apt"
    is_complete(engine)
