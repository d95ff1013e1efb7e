"""What ``make mutants`` would try is well formed, and no item of a lesson is without a change that breaks it.

That each change turns a test red is for ``make mutants`` itself to say: it takes minutes.
"""

from __future__ import annotations

import mutants
import pytest

from stack.settings import REPO

GOOD = {
    "lesson": "114_01_03_basic_llm_task",
    "item": "Pass prompt to model",
    "find": "one",
    "replace": "two",
    "symptom": "Something.",
    "hint": "Look.",
}


def test_every_entry_fits_its_lesson():
    assert mutants.errors(mutants.mutations(), REPO / "dags") == []


def test_every_item_has_one():
    assert mutants.missing(mutants.mutations(), REPO / "dags") == []


@pytest.fixture
def dags(tmp_path):
    (tmp_path / "114_01_03_basic_llm_task.py").write_text("one = 1\nother = other = 1\n")
    return tmp_path


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"find": "three"}, "0 times, not once"),
        ({"find": "other"}, "2 times, not once"),
        ({"replace": "one"}, "changes nothing"),
        ({"replace": "one ="}, "does not compile"),
        ({"item": "Pass the prompt"}, "no such item"),
        ({"lesson": "114_01_99"}, "no such lesson"),
        ({"hint": None}, "all of them texts"),
        ({"why": "because"}, "its fields must be"),
    ],
)
def test_a_wrong_entry_is_found(dags, change, said):
    assert mutants.errors([GOOD], dags) == []
    (error,) = mutants.errors([{**GOOD, **change}], dags)
    assert said in error and "entry 1" in error


def test_an_item_without_one_is_found(dags):
    assert len(mutants.missing([GOOD], dags)) == 3
    assert mutants.missing([GOOD], dags)[0] == "114_01_03_basic_llm_task: Create simple LLM task"


@pytest.mark.parametrize(
    ("test", "red", "said"),
    [
        ("assert 1 == 2", True, "assert 1 == 2"),
        ("with __import__('pytest').raises(ValueError): pass", True, "DID NOT RAISE"),
        ("raise KeyError('x')", False, "KeyError"),
        ("pass", False, "green"),
    ],
)
def test_only_a_failed_assertion_counts(tmp_path, test, red, said):
    import subprocess
    import sys

    (tmp_path / "test_x.py").write_text(f"def test_x():\n    {test}\n")
    report = tmp_path / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={report}", "test_x.py"]
    subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
    verdict = mutants.Tests._read(report, 1.0)
    assert verdict.red is red and said in verdict.message


def test_lessons_and_single_entries_are_chosen():
    entries = [GOOD, {**GOOD, "find": "other"}, {**GOOD, "lesson": "114_01_04_ai_sdk_task_decorator"}]
    assert mutants.chosen_from(entries, []) == entries
    assert mutants.chosen_from(entries, ["114_01_03", "114_02"]) == entries[:2]
    assert mutants.chosen_from(entries, ["114_01_03"], find="oth") == entries[1:2]
    assert mutants.chosen_from(entries, [], find="one") == [entries[0], entries[2]]


def test_a_stack_that_does_not_start_is_told(tmp_path, monkeypatch):
    tests = mutants.Tests(tmp_path)
    monkeypatch.setattr(mutants.sys, "executable", "/bin/true")
    with pytest.raises(mutants.StackError, match="did not start"), tests.stack():
        pass
