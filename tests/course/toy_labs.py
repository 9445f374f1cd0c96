"""Checkouts with toy labs: real files in a temporary folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab_helpers.core.settings import CHECKOUT, Place
from tests.course.toy import place_at

GOOD_TASKS = """
from lab_helpers.course.declare import Lab
from lab_helpers.course.verdict import Evidence

LAB = Lab("01-toy", title="A toy", minutes=1, vms=("box",))


def look(world, name, wanted):
    file = world.work / name
    there = file.is_file()
    yield Evidence(
        criterion="there", ok=there, looked=str(file), expected="a file", saw="a file" if there else "nothing",
        state="" if there else "absent",
    )
    if not there:
        return
    text = file.read_text().strip()
    yield Evidence(
        criterion="text", ok=text == wanted, looked=f"the text of {name}", expected=wanted, saw=text,
        command=f"cat {name}", state="" if text == wanted else "other",
    )


CRITERIA = {"there": (1, "the file is there"), "text": (2, "it holds the text")}
HINTS = {"absent": ("Make a file.", "Make it with echo."), "other": ("Look at its text.",)}


@LAB.task("greet", "Write a greeting", criteria=CRITERIA, hints=HINTS)
def greet(world):
    yield from look(world, "greeting.txt", "hello")


@LAB.task("count", "Count", criteria=CRITERIA, hints=HINTS, after=("greet",))
def count(world):
    yield from look(world, "count.txt", "3")


def near(task, name, wrong):
    def instead(world):
        file = world.work / name
        before = file.read_text()
        file.write_text(wrong)
        yield
        file.write_text(before)

    return instead


for task, name in ((greet, "greeting.txt"), (count, "count.txt")):
    task.near_miss("empty", fails="text", state="other")(near(task, name, ""))
    task.near_miss("longer", fails="text")(near(task, name, "hello and 3"))


@greet.near_miss("elsewhere", fails="there", state="absent")
def elsewhere(world):
    file = world.work / "greeting.txt"
    file.rename(file.with_name("greting.txt"))
    yield
    file.with_name("greting.txt").rename(file)


@count.near_miss("gone", fails="there")
def gone(world):
    file = world.work / "count.txt"
    file.unlink()
    yield
    file.write_text("3\\n")
"""

GOOD_LESSON = """
---
kernelspec:
  name: vm-to-kubernetes
  display_name: From VM to Kubernetes
---
# A toy

```{code-cell}
from tests.course.toy import check
```

Say hello.

```{code-cell}
:tags: [solution]
!echo hello > greeting.txt
```

```{code-cell}
check("greet")
```

Now count; the time is different in each run.

```{code-cell}
!date
!mkdir -p $LAB_STATE/machines && touch $LAB_STATE/machines/box
```

```{code-cell}
---
tags: [solution]
starter: |
  # wc counts
---
!printf '1\\n2\\n3\\n' > lines.txt
```

```{code-cell}
:tags: [solution]
!wc -l < lines.txt > count.txt
!cat lines.txt
```

```{code-cell}
check("count")
```

Well done.
"""


def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, labs: dict[str, tuple[str, str]] | None = None) -> Place:
    """A checkout of toy labs: name -> (tasks.py, lab.md). Without labs: the good one, 01-toy."""
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    monkeypatch.setenv("TOY_ROOT", str(tmp_path))
    for name, (tasks, lesson) in (labs or {"01-toy": (GOOD_TASKS, GOOD_LESSON)}).items():
        write_lab(tmp_path, name, tasks, lesson)
    (tmp_path / "labs" / "sanitize.cfg").write_bytes((CHECKOUT / "labs" / "sanitize.cfg").read_bytes())
    return place_at(tmp_path)


def write_lab(root: Path, name: str, tasks: str, lesson: str) -> None:
    folder = root / "labs" / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tasks.py").write_text(tasks)
    (folder / "lab.md").write_text(lesson.lstrip())
