"""From lab.md to notebooks: what the learner gets, what is kept for reference, drift, and the lint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nbformat
import pytest

from lab_helpers.core.errors import ExitCode, LabError
from lab_helpers.core.settings import Place
from lab_helpers.course.build import build, problems
from lab_helpers.course.declare import Lab
from lab_helpers.course.engine import load_lab
from lab_helpers.course.lesson import Lesson, read_lesson
from lab_helpers.course.lint import lint
from lab_helpers.course.rules import Rules
from tests.course.toy import RULES
from tests.course.toy_labs import GOOD_LESSON, GOOD_TASKS, checkout, write_lab


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    made = checkout(tmp_path, monkeypatch)
    build(made, rules=RULES)
    return made


def notebook(place: Place, name: str) -> Any:
    return json.loads((place.labs / "01-toy" / name).read_text())


def code(made: Any) -> list[str]:
    return ["".join(cell["source"]) for cell in made["cells"] if cell["cell_type"] == "code"]


def test_the_learner_gets_starters_in_the_place_of_solutions(place: Place) -> None:
    made = notebook(place, "lab.ipynb")
    assert code(made) == [
        "from tests.course.toy import check",
        "# Your turn: type your commands here",
        'check("greet")',
        "!date\n!mkdir -p $LAB_STATE/machines && touch $LAB_STATE/machines/box",
        "# wc counts",
        "# Your turn: type your commands here",
        'check("count")',
    ]
    assert "solution" not in (place.labs / "01-toy" / "lab.ipynb").read_text()
    assert made["metadata"] == {
        "kernelspec": {"display_name": "From VM to Kubernetes", "language": "python", "name": "vm-to-kubernetes"},
        "language_info": {"name": "python"},
    }
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in made["cells"])


def test_the_solution_has_the_same_text_and_the_solutions(place: Place) -> None:
    solved, given = notebook(place, "solution.ipynb"), notebook(place, "lab.ipynb")
    assert "!echo hello > greeting.txt" in code(solved)
    assert [cell["cell_type"] for cell in solved["cells"]] == [cell["cell_type"] for cell in given["cells"]]
    prose = [[cell["source"] for cell in made["cells"] if cell["cell_type"] == "markdown"] for made in (solved, given)]
    assert prose[0] == prose[1]
    for name in ("lab.ipynb", "solution.ipynb"):
        nbformat.validate(nbformat.read(place.labs / "01-toy" / name, as_version=4))  # type: ignore[no-untyped-call]


def test_a_rebuild_changes_nothing_and_ids_follow_their_cells(place: Place) -> None:
    assert build(place, rules=RULES).written == []
    before = {cell["id"] for cell in notebook(place, "lab.ipynb")["cells"]}
    lesson = place.labs / "01-toy" / "lab.md"
    lesson.write_text(GOOD_LESSON.lstrip().replace("Say hello.", "Say hello.\n\n```{code-cell}\n1 + 1\n```\n"))
    assert build(place, ["01"], rules=RULES).written == ["labs/01-toy/lab.ipynb", "labs/01-toy/solution.ipynb"]
    after = {cell["id"] for cell in notebook(place, "lab.ipynb")["cells"]}
    assert len(after - before) == 1
    assert before <= after


def test_cells_with_the_same_text_have_ids_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    twice = GOOD_LESSON.replace("Well done.", "```{code-cell}\n!date\n```\n\n```{code-cell}\n!date\n```\n")
    place = checkout(tmp_path, monkeypatch, {"01-toy": (GOOD_TASKS, twice)})
    build(place, rules=RULES)
    ids = [cell["id"] for cell in notebook(place, "lab.ipynb")["cells"]]
    assert len(set(ids)) == len(ids)


def test_references_are_taken_from_a_real_run_and_kept_with_their_cell(place: Place) -> None:
    assert [problem.file for problem in build(place, check=True, rules=RULES).problems] == [
        "labs/01-toy/solution.ipynb"
    ]
    build(place, run=True, rules=RULES)
    assert build(place, check=True, rules=RULES).exit_code is ExitCode.PASSED

    def outputs() -> dict[str, str]:
        cells = [cell for cell in notebook(place, "solution.ipynb")["cells"] if cell["cell_type"] == "code"]
        return {"".join(c["source"]): "".join("".join(o["text"]) for o in c["outputs"]) for c in cells}

    assert outputs()['check("greet")'] == "greet: PASSED, 3 of 3\n"
    assert outputs()["!wc -l < lines.txt > count.txt\n!cat lines.txt"] == "1\n2\n3\n", "without a terminal's returns"
    counts = [c.get("execution_count") for c in notebook(place, "solution.ipynb")["cells"] if c["cell_type"] == "code"]
    assert counts == list(range(1, 8)), "also cells without outputs are compared: that they say nothing"
    assert not list(place.state.glob("prove-*"))

    before = outputs()
    lesson = place.labs / "01-toy" / "lab.md"
    lesson.write_text(lesson.read_text().replace("!echo hello", "!echo  hello").replace("Say hello.", "Greet."))
    build(place, rules=RULES)
    kept = outputs()
    assert kept.pop("!echo  hello > greeting.txt") == ""
    before.pop("!echo hello > greeting.txt")
    assert kept == before
    found = build(place, check=True, rules=RULES).problems
    assert [problem.what for problem in found] == [
        "1 cells have no reference output, the first is `!echo  hello > greeting.txt`"
    ]
    assert found[0].do == "lab build --run 01"


def test_paths_of_the_machine_are_not_stored(place: Place) -> None:
    lesson = place.labs / "01-toy" / "lab.md"
    lesson.write_text(lesson.read_text().replace("!date\n", "!pwd; echo $LAB_STATE\n"))
    build(place, run=True, rules=RULES)
    text = (place.labs / "01-toy" / "solution.ipynb").read_text()
    assert str(place.root) not in text
    assert "/home/you/vm-to-kubernetes/work/01-toy\\n" in text
    assert "/home/you/vm-to-kubernetes/.lab\\n" in text


def test_a_solution_that_fails_is_not_taken_for_reference(place: Place) -> None:
    before = (place.labs / "01-toy" / "solution.ipynb").read_text()
    lesson = place.labs / "01-toy" / "lab.md"
    good = lesson.read_text()
    lesson.write_text(good.replace("!echo hello >", "!echo bye >"))
    with pytest.raises(LabError, match='check\\("greet"\\) did not pass') as caught:
        build(place, run=True, rules=RULES)
    assert "state 'other'" in caught.value.why
    lesson.write_text(good.replace("!echo hello > greeting.txt", "print('before')\n1 / 0"))
    with pytest.raises(LabError, match="failed") as caught:
        build(place, run=True, rules=RULES)
    assert "before" in caught.value.why
    assert "ZeroDivisionError: division by zero" in caught.value.why
    assert "Traceback" not in str(caught.value)
    assert (place.labs / "01-toy" / "solution.ipynb").read_text() == before
    assert not list(place.state.glob("prove-*"))


@pytest.mark.parametrize(
    ("name", "change", "what"),
    [
        ("lab.ipynb", ("Say hello.", "Say hullo."), "it is not what lab.md gives"),
        ("lab.ipynb", ('"execution_count": null', '"execution_count": 3'), "it holds outputs"),
        ("solution.ipynb", ("echo hello", "echo hallo"), "it is not what lab.md gives"),
        ("solution.ipynb", ('"cells"', '"cellz"'), "cannot be read"),
        ("lab.ipynb", ("{", "nonsense"), "cannot be read"),
    ],
)  # fmt: skip
def test_drift_is_found_and_named(place: Place, name: str, change: tuple[str, str], what: str) -> None:
    path = place.labs / "01-toy" / name
    path.write_text(path.read_text().replace(*change))
    report = build(place, ["01"], check=True, rules=RULES)
    found = [problem for problem in report.problems if "reference" not in problem.what]
    assert report.exit_code is ExitCode.NOT_YET
    assert [(problem.file, problem.do) for problem in found] == [(f"labs/01-toy/{name}", "lab build 01")]
    assert what in found[0].what


def test_a_missing_notebook_is_found(place: Place) -> None:
    (place.labs / "01-toy" / "lab.ipynb").unlink()
    assert "it is not there" in [problem.what for problem in build(place, check=True, rules=RULES).problems]


def test_text_that_is_no_lesson_is_told_in_a_sentence(place: Place) -> None:
    (place.labs / "01-toy" / "lab.md").write_text("```{code-cell}\n---\ntags: [\n---\n1\n```\n")
    with pytest.raises(LabError, match="not MyST text"):
        build(place, rules=RULES)
    (place.labs / "01-toy" / "lab.md").unlink()
    with pytest.raises(LabError, match="cannot be read"):
        build(place, rules=RULES)


CHECK = '```{code-cell}\ncheck("greet")\n```\n'


def linted(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    good: tuple[str, str],
    changes: tuple[tuple[str, str] | None, tuple[str, str] | None],
) -> list[str]:
    """What the lint says of a good lab's tasks.py and lesson after these changes, each an old text and a new one."""
    tasks, lesson = (text.replace(*change) if change else text for text, change in zip(good, changes, strict=True))
    assert (tasks, lesson) != good
    place = checkout(tmp_path, monkeypatch, {"01-toy": (tasks, lesson)})
    return lint(load_lab(place, "01"), read_lesson(place.labs / "01-toy" / "lab.md"))


@pytest.mark.parametrize(
    ("tasks", "lesson", "complaint"),
    [
        (None, ("!date\n", "!date\n" * 10), "the cell `!date` has 11 lines; 10 are allowed"),
        (None, (CHECK, ""), 'the task greet has 0 cells with check("greet"); it needs one'),
        (None, ("Well done.", CHECK), 'the task greet has 2 cells with check("greet"); it needs one'),
        (None, ("Well done.", CHECK.replace("greet", "gret")), 'check("gret"): the lab has no such task'),
        (None, ("Say hello.", '```{code-cell}\n   \n```\n'), "a code cell is empty"),
        (
            None,
            ("```{code-cell}\n:tags: [solution]\n!echo hello > greeting.txt\n```\n", ""),
            'there is no cell tagged `solution` before check("greet") and after the check before it',
        ),
        (('"absent": ("Make a file.", "Make it with echo.")', '"absent": ()'), None, "no hints for the state 'absent'"),
        (('"other": ("Look at its text.",)', '"other": ("Look at its text.")'), None, "no hints for the state 'other'"),
        (('"other": ("Look at its text.",)', '"other": (" ",)'), None, "no hints for the state 'other'"),
        (('@greet.near_miss("elsewhere"', '@count.near_miss("elsewhere"'), None, "the task greet has 2 near misses"),
        (('@count.near_miss("gone"', '@count.near_miss("empty"'), None, "task count has two near misses named empty"),
    ],
)  # fmt: skip
def test_the_lint(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tasks: tuple[str, str] | None,
    lesson: tuple[str, str] | None,
    complaint: str,
) -> None:
    complaints = linted(tmp_path, monkeypatch, (GOOD_TASKS, GOOD_LESSON), (tasks, lesson))
    assert [one for one in complaints if complaint in one], complaints


def test_a_task_without_criteria_or_hints_is_none() -> None:
    lab = Lab("01-toy", title="", minutes=1)
    lab.task("bare", "Bare", criteria={}, hints={})(lambda _: iter(()))
    complaints = lint(lab, Lesson(Path("lab.md"), ()), near_misses=0)
    assert "the task bare has no criteria" in complaints
    assert "the task bare has no hints" in complaints


def test_the_lint_finds_nothing_in_a_good_lab_and_tells_the_order(place: Place) -> None:
    lesson = read_lesson(place.labs / "01-toy" / "lab.md")
    assert lint(load_lab(place, "01"), lesson) == []
    first, second = GOOD_TASKS.index('@LAB.task("greet"'), GOOD_TASKS.index('@LAB.task("count"')
    end = GOOD_TASKS.index("def near(task")
    swapped = GOOD_TASKS[:first] + GOOD_TASKS[second:end] + GOOD_TASKS[first:second] + GOOD_TASKS[end:]
    write_lab(place.root, "01-toy", swapped, GOOD_LESSON)
    assert lint(load_lab(place, "01"), lesson) == [
        "the checks come in the order greet, count; the tasks are declared as count, greet"
    ]


def test_fewer_near_misses_can_be_asked_for(place: Place) -> None:
    tasks = GOOD_TASKS.replace('@greet.near_miss("elsewhere"', '@count.near_miss("elsewhere"')
    write_lab(place.root, "01-toy", tasks, GOOD_LESSON)
    strict, lax = (problems(place, load_lab(place, "01"), Rules(near_misses=number)) for number in (3, 2))
    assert len(strict) == len(lax) + 1


ASKING_TASKS = GOOD_TASKS.replace(
    'vms=("box",))',
    'vms=("box",), questions=QUESTIONS)',
).replace(
    "\nLAB = ",
    """
from lab_helpers.course.predictions import prediction, recall

QUESTIONS = (
    recall("earlier", "Which?", choices=("a", "b"), answer="a", because="It is."),
    prediction("lines", "How many?", choices=("2", "3"), answer="3", because="It counts."),
)

LAB = """,
    1,
)
ASKING_LESSON = GOOD_LESSON.replace(
    "Say hello.",
    '```{code-cell}\nrecall("earlier")\n```\n\n```{code-cell}\npredict("lines", "2", "3")\n```\n\nSay hello.',
).replace("Well done.", '```{code-cell}\ncompare("lines")\n```\n')


@pytest.mark.parametrize(
    ("tasks", "lesson", "complaint"),
    [
        (None, ('predict("lines", "2", "3")', 'predict("lines")'), ""),
        (None, ('predict("lines"', 'predict("linez"'), 'predict("linez"): the lab declares no such question'),
        (None, ('predict("lines"', 'predict("linez"'), 'the question lines has 0 cells with predict("lines")'),
        (None, ('recall("earlier")', '1'), 'the question earlier has 0 cells with recall("earlier"); it needs one'),
        (None, ('recall("earlier")', 'predict("earlier")'), 'predict("earlier"): it is declared as a recall question'),
        (None, ('recall("earlier")', 'recall("earlier")\nrecall("earlier")'), "the question earlier has 2 cells"),
        (None, ('recall("earlier")', 'recall("earlier")\ncompare("lines")'), '("lines") comes before its predict()'),
        (None, ('compare("lines")', 'compare("earlier")'), 'compare("earlier"): a recall question compares at once'),
        (None, ('compare("lines")', '1'), 'the prediction lines has no cell with compare("lines")'),
        (None, ('"2", "3")', '"2", "4")'), 'predict("lines") names other choices than are declared'),
        (('answer="3"', 'answer="4"'), None, "the answer to the question lines is none of its choices: '4'"),
        (('because="It counts."', 'because=" "'), None, "the answer to the question lines has no explanation"),
        (('"How many?"', '""'), None, "the question lines asks nothing"),
        (('choices=("a", "b")', 'choices=("a", "a")'), None, "earlier needs at least two different choices"),
        (('prediction("lines"', 'prediction("earlier"'), None, "two questions are named earlier"),
    ],
)  # fmt: skip
def test_the_lint_of_questions(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tasks: tuple[str, str] | None,
    lesson: tuple[str, str] | None,
    complaint: str,
) -> None:
    complaints = linted(tmp_path, monkeypatch, (ASKING_TASKS, ASKING_LESSON), (tasks, lesson))
    if complaint:
        assert [one for one in complaints if complaint in one], complaints
    else:
        assert complaints == []
