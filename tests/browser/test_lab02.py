"""Lab 02 solved in the browser as a learner would: by typing into the cells, with the learner's own names and port."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from lab_helpers.core.ports import free_port
from lab_helpers.core.settings import Place
from lab_helpers.course import progress
from lab_helpers.course.engine import load_lab
from lab_helpers.course.world import World
from lab_helpers.images.base_image import BASE
from lab_helpers.tools.engine import find_engine
from tests.browser.conftest import Notebook

pytestmark = [pytest.mark.browser, pytest.mark.engine]

LAB = "02-containers"
Open = Callable[..., Notebook]


@dataclass(frozen=True)
class Names:
    """What this learner calls things: nobody else on this machine has them."""

    box: str
    image: str
    service: str
    small: str
    port: int


@pytest.fixture
def names(place: Place) -> Iterator[Names]:
    engine = find_engine()
    if engine is None:
        pytest.skip("no container engine answers: `lab doctor --fix`")
    with engine.client() as client:
        if not client.images.list(BASE):
            pytest.skip("the course's base image is not made yet: `lab prepare 02`")
    mine = uuid.uuid4().hex[:8]
    yield Names(f"box-{mine}", f"pins-{mine}:1", f"pins-{mine}", f"small-{mine}", free_port())
    World(place, "").clean()


def test_lab_02_as_a_learner_with_a_restart_of_the_kernel(open_notebook: Open, place: Place, names: Names) -> None:
    notebook = open_notebook("02", height=1000)
    same_kernel(notebook, names)

    notebook.restart_kernel()
    assert progress.read(place).lab(LAB).task("same-kernel").passed
    notebook.check("same-kernel", "PASSED")

    image(notebook, names)
    limits(notebook, names)

    lab, done = load_lab(place, LAB), progress.read(place).lab(LAB)
    totals = progress.lab_totals(lab, done)
    assert totals.passed == 3
    way = str(notebook.panel("limits", "PASSED").locator(".way").text_content())
    assert way.startswith(f"Lab 02: 3 of {totals.tasks} tasks, {totals.points} of {totals.total} points")


def same_kernel(notebook: Notebook, names: Names) -> None:
    panel = notebook.check("same-kernel", "NOT YET")
    assert panel.locator(".hint").count() == 1
    start, find = (notebook.cell(text) for text in ("docker run -d --name ...", "# look for the answers"))
    notebook.type_and_run(find, WHERE.format(box=names.box))
    notebook.type_and_run(start, f"!docker run -d --name {names.box} {BASE} python3 -m http.server")
    notebook.button("same-kernel", "Check again").click()
    notebook.panel("same-kernel", "NOT YET").locator("summary[data-key=running]", has_text="✔").wait_for()

    notebook.type_and_run(notebook.cell("pid_namespace = $namespace"), WHERE.format(box=names.box))
    notebook.button("same-kernel", "Check again").click()
    notebook.panel("same-kernel", "PASSED")


def image(notebook: Notebook, names: Names) -> None:
    notebook.check("image", "NOT YET")
    notebook.type_and_run(notebook.cell("# edit Dockerfile"), DOCKERFILE)
    run = f"!docker run -d --name {names.service} -p 127.0.0.1:{names.port}:8000 {names.image}"
    notebook.type_and_run(
        notebook.cell("what has to be made anew"), f"!docker build -q -t {names.image} .\n{run}\n{wait(names.port)}"
    )
    notebook.check("image", "PASSED")


def limits(notebook: Notebook, names: Names) -> None:
    notebook.check("limits", "NOT YET")
    run = f"docker run -d --name {names.small} --memory 128m --memory-swap 128m --cpus 0.5 --pids-limit 64"
    ready = wait(8000).replace("!curl", f"!docker exec {names.small} curl")
    notebook.type_and_run(notebook.cell("# Your turn: type"), f"!{run} {names.image}\n{ready}")
    notebook.check("limits", "PASSED")


def wait(port: int) -> str:
    """The line of a cell that waits until Pinboard is ready."""
    return f"!curl -s --retry 60 --retry-delay 1 --retry-all-errors http://127.0.0.1:{port}/readyz"


WHERE = """%%bash
pid=$(docker inspect --format '{{{{.State.Pid}}}}' {box})
namespace=$(docker run --rm --pid=host lab.local/python:3.13 readlink /proc/$pid/ns/pid)
printf '%s\\n' "container = {box}" "pid_on_host = $pid" "pid_namespace = $namespace" > process.txt
cat process.txt"""

DOCKERFILE = """%%bash
cat > Dockerfile <<'END'
FROM lab.local/python:3.13
WORKDIR /srv
COPY pinboard ./pinboard
ENV PINBOARD_HOST=0.0.0.0
EXPOSE 8000
CMD ["python3", "-m", "pinboard"]
END"""
