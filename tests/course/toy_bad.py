"""Toy labs that are broken on purpose, each task in one way of its own."""

from __future__ import annotations

BAD_TASKS = """
import time

from lab_helpers.course.declare import Lab
from lab_helpers.course.verdict import Evidence

LAB = Lab("02-bad", title="Bad", minutes=1)
CRITERIA = {"there": (1, "the file is there"), "text": (2, "it holds the text")}
HINTS = {"absent": ("Make a file.",), "other": ("Look at its text.",)}


def look(world, name):
    file = world.work / f"{name}.txt"
    there = file.is_file()
    state = "" if there else "absent"
    yield Evidence(criterion="there", ok=there, looked=name, expected="a file", saw=str(there), state=state)
    if there:
        saw = file.read_text().strip()
        state = "" if saw == "yes" else "other"
        yield Evidence(criterion="text", ok=saw == "yes", looked=name, expected="yes", saw=saw, state=state)


def task(name, hints=HINTS):
    return LAB.task(name, name, criteria=CRITERIA, hints=hints)


@task("always")
def always(world):
    for name in CRITERIA:
        yield Evidence(criterion=name, ok=True, looked="nothing", expected="", saw="")


@task("never")
def never(world):
    yield from look(world, "no-such-file")


@task("early")
def early(world):
    yield from look(world, "early")


@task("hintless", hints={"other": ("Look at its text.",)})
def hintless(world):
    yield from look(world, "hintless")


@task("raises")
def raises(world):
    yield Evidence(criterion="there", ok=True, looked="it", expected="it", saw="it")
    raise KeyError("a bug of the check")


@task("near")
def near(world):
    yield from look(world, "near")


def rewrite(text):
    def apply(world):
        file = world.work / "near.txt"
        file.write_text(text)
        yield
        file.write_text("yes")

    return apply


near.near_miss("good", fails="text", state="other")(rewrite("no"))
near.near_miss("accepted", fails="text")(rewrite(" yes "))
near.near_miss("met", fails="there")(rewrite("no"))
near.near_miss("state", fails="text", state="empty")(rewrite("no"))


@near.near_miss("unreached", fails="text")
def unreached(world):
    (world.work / "near.txt").unlink()
    yield
    (world.work / "near.txt").write_text("yes")


@near.near_miss("hangs", fails="text")
def hangs(world):
    time.sleep(600)
    yield


@near.near_miss("stumbles", fails="text")
def stumbles(world):
    raise OSError("no such thing")
    yield


@near.near_miss("empty", fails="text")
def empty(world):
    if False:
        yield


@near.near_miss("twice", fails="text")
def twice(world):
    (world.work / "near.txt").write_text("no")
    yield
    (world.work / "near.txt").write_text("yes")
    yield


@task("undone")
def undone(world):
    yield from look(world, "undone")


@undone.near_miss("stays", fails="text")
def stays(world):
    (world.work / "undone.txt").write_text("no")
    yield
"""


def _step(task: str, *solutions: str) -> str:
    cells = [f"```{{code-cell}}\n:tags: [solution]\n{source}\n```\n" for source in solutions]
    return f"## {task}\n\n" + "\n".join(cells) + f'\n```{{code-cell}}\ncheck("{task}")\n```\n'


BAD_LESSON = "\n".join(
    [
        "```{code-cell}\nfrom tests.course.toy import check\n```\n",
        _step("always", "1"),
        _step("never", "1"),
        _step("early", "!echo yes > early.txt", "1"),
        _step("hintless", "!echo yes > hintless.txt"),
        _step("raises", "1"),
        _step("near", "!echo yes > near.txt"),
        _step("undone", "!echo yes > undone.txt"),
    ]
)

LEAKY_TASKS = """
from lab_helpers.course.declare import Lab
from lab_helpers.course.verdict import Evidence

LAB = Lab("03-leaky", title="Leaky", minutes=1)


@LAB.task("leak", "Leave things", criteria={"there": (1, "it is there")}, hints={"absent": ("Make it.",)})
def leak(world):
    there = (world.place.state / "junk").is_file()
    yield Evidence(
        criterion="there", ok=there, looked="junk", expected="a file", saw=str(there), state="" if there else "absent"
    )
"""

LEAKY_LESSON = """
```{code-cell}
import subprocess, sys
from tests.course.toy import check
```

```{code-cell}
:tags: [solution]
!echo junk > $LAB_STATE/junk
code = "import socket, time; s = socket.create_server(('127.0.0.1', 0)); time.sleep(600)"
server = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
```

```{code-cell}
print("said in the first run")
```

```{code-cell}
check("leak")
```
"""
