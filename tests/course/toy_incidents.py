"""A toy lab with incidents: a "service" that is a file, which holds a greeting and a wall."""

from __future__ import annotations

TASKS = """
from lab_helpers.core.errors import LabError
from lab_helpers.course.declare import Lab
from lab_helpers.course.verdict import Evidence

LAB = Lab("04-duty", title="On call", minutes=1)


def service(world):
    return world.work / "service.txt"


def begin(world):
    if (world.work / "too-early").exists():
        raise LabError("There is nothing yet that could break.", do="make it")
    service(world).write_text("hello\\nwall\\n")
    return {"greeting": "hello"}


def rescue(world, facts):
    service(world).write_text(facts["greeting"] + "\\nwall\\n")


def end(world, facts):
    service(world).unlink(missing_ok=True)
    (world.work / "ended").touch()


@LAB.on_call(
    "On call",
    brief="service.txt says hello, and has a wall",
    criteria={"serves": (2, "it says hello"), "walls": (1, "the wall is there")},
    hints={"absent": ("Look for the file.",), "silent": ("Look into the file.",), "no-wall": ("Mind the wall.",)},
    after=(),
    begin=begin,
    rescue=rescue,
    end=end,
)
def ON_CALL(world, facts):
    there = service(world).is_file()
    lines = service(world).read_text().split("\\n") if there else []
    good = facts["greeting"] in lines
    yield Evidence(criterion="serves", ok=good, looked="it", expected="hello", saw="hello" if good else "nothing",
                   state="" if good else "silent" if there else "absent")
    if good:
        wall = "wall" in lines
        yield Evidence(criterion="walls", ok=wall, looked="it", expected="a wall", saw="a wall" if wall else "no wall",
                       state="" if wall else "no-wall")


@ON_CALL.incident("gone", symptom="It is gone.", explanation="somebody removed the file.", fails="serves",
                  state="absent", hints=("Write it anew.",), mend=rescue)
def gone(world, chance, facts):
    service(world).unlink()


@ON_CALL.incident("mute", symptom="It says nothing.", explanation="somebody overwrote the file.", fails="serves",
                  state="silent", hints=("Write hello.",), mend=rescue)
def mute(world, chance, facts):
    service(world).write_text(f"{chance.random()}\\nwall\\n")


@ON_CALL.wrong_mend("mute", "without-a-wall", fails="walls", state="no-wall")
def without_a_wall(world, facts):
    service(world).write_text("hello\\n")
    yield
"""

LESSON = """
```{code-cell}
from tests.course.toy import break_it, check
```

```{code-cell}
break_it(SEED)
```

```{code-cell}
:tags: [solution]
!printf 'hello\\nwall\\n' > service.txt
```

```{code-cell}
check("incident")
```
"""
