"""What a lesson's predictions and recall questions keep to: each is declared, asked, and then compared."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from lab_helpers.course.declare import Lab
from lab_helpers.course.lesson import Cell, Lesson
from lab_helpers.course.predictions import Prediction


def lint_questions(lab: Lab, lesson: Lesson) -> list[str]:
    """All complaints about a lab's questions, one sentence each."""
    complaints = [complaint for question in lab.questions for complaint in _declared(question)]
    names = [question.name for question in lab.questions]
    complaints += [f"two questions are named {name}" for name in sorted(set(names)) if names.count(name) > 1]
    return [*complaints, *_in_cells(lab, lesson)]


def _declared(question: Prediction) -> Iterator[str]:
    name = question.name
    if not question.ask.strip():
        yield f"the question {name} asks nothing"
    if len(question.choices) < 2 or len(set(question.choices)) != len(question.choices):
        yield f"the question {name} needs at least two different choices"
    if question.answer is None:
        yield f"the question {name} has no answer"
    elif isinstance(question.answer, str):
        if question.answer not in question.choices:
            yield f"the answer to the question {name} is none of its choices: {question.answer!r}"
        if not question.because.strip():
            yield f"the answer to the question {name} has no explanation"


def _in_cells(lab: Lab, lesson: Lesson) -> Iterator[str]:
    declared = {question.name: question for question in lab.questions}
    asked: list[str] = []
    compared: list[str] = []
    for cell in lesson.cells:
        for word, name in cell.asked:
            question = declared.get(name)
            call = f'{word}("{name}")'
            if question is None:
                yield f"{call}: the lab declares no such question"
            elif word == "compare":
                if question.recall:
                    yield f"{call}: a recall question compares at once"
                elif name not in asked:
                    yield f"{call} comes before its predict()"
                compared.append(name)
                continue
            elif (word == "recall") != question.recall:
                yield f"{call}: it is declared as a {'recall question' if question.recall else 'prediction'}"
            asked.append(name)
        yield from _named_choices(cell, declared)
    for name, question in declared.items():
        if asked.count(name) != 1:
            word = "recall" if question.recall else "predict"
            yield f'the question {name} has {asked.count(name)} cells with {word}("{name}"); it needs one'
        if not question.recall and name not in compared:
            yield f'the prediction {name} has no cell with compare("{name}")'


def _named_choices(cell: Cell, declared: dict[str, Prediction]) -> Iterator[str]:
    """A cell may name the choices; then they are the declared ones."""
    if not cell.asked:
        return
    try:
        tree = ast.parse(cell.source)
    except SyntaxError:  # it has lines for the shell as well
        return
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        words = [word.value for word in call.args if isinstance(word, ast.Constant) and isinstance(word.value, str)]
        if not isinstance(call.func, ast.Name) or call.func.id != "predict" or len(words) < 2:
            continue
        question = declared.get(words[0])
        if question and tuple(words[1:]) != question.choices:
            yield f'predict("{words[0]}") names other choices than are declared'
