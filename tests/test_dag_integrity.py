"""Every file in ``dags/`` is a lesson of the outline that parses cleanly and looks like one."""

from __future__ import annotations

import checks
import pytest

from stack.settings import REPO

LESSONS = checks.outline(REPO)
PRESENT = checks.present(REPO)
FIXTURES = REPO / "tests" / "fixtures"


def test_the_outline_has_50_lessons_of_4_items():
    assert len(LESSONS) == 50
    assert all(len(lesson["checklist"]) == 4 for lesson in LESSONS.values())


def test_every_file_is_a_lesson_of_the_outline():
    assert PRESENT, "dags/ is empty"
    assert set(PRESENT) <= set(LESSONS)


def test_all_files_parse_without_error_or_warning(dagbag):
    assert dagbag.import_errors == {}
    assert dagbag.captured_warnings == {}
    assert sorted(dagbag.dags) == PRESENT


@pytest.mark.parametrize("dag_id", PRESENT)
def test_metadata(dag_id, dagbag):
    assert checks.metadata_errors(LESSONS[dag_id], dagbag.dags[dag_id]) == []


@pytest.mark.parametrize("dag_id", PRESENT)
def test_form(dag_id):
    assert checks.form_errors(REPO / "dags" / f"{dag_id}.py") == []


def test_nothing_is_opened_at_parse_time(running_stack):
    assert checks.parse_time_errors(*(REPO / "dags" / f"{dag_id}.py" for dag_id in PRESENT)) == {}


# The checks bite: each of these lessons has exactly the fault that its name tells.

TEMPLATE = (FIXTURES / "lesson_with_a_missing_item.py").read_text()
ROW = "| Create simple LLM task | `ask` |\n"
FAULTS = {
    "missing_item": ("", ""),
    "silent_task": (ROW, ROW + "| Pass prompt to model | `write` |\n"),
    "phantom_task": (ROW, ROW + "| Pass prompt to model | `write_prompt` |\n"),
    "wrong_tag": ('"beginner"', '"advanced"'),
    "query_at_parse_time": ("@dag(", 'import socket\n\nsocket.getaddrinfo("127.0.0.1", 9)\n\n\n@dag('),
}


@pytest.fixture
def bad_file(tmp_path):
    """``bad_file(fault)`` writes a lesson with that fault and returns its path."""

    def write(fault: str):
        right, wrong = FAULTS[fault]
        assert right in TEMPLATE
        path = tmp_path / f"{fault}.py"
        path.write_text(TEMPLATE.replace(right, wrong, 1) if right else TEMPLATE)
        return path

    return write


@pytest.fixture
def bad(running_stack, bad_file):
    """``bad(fault)`` is the DAG of such a lesson."""
    from airflow.dag_processing.dagbag import DagBag

    def load(fault: str):
        path = bad_file(fault)
        bag = DagBag(dag_folder=str(path), bundle_path=path.parent, bundle_name="bad")
        assert bag.import_errors == {}
        return next(iter(bag.dags.values()))

    return load


LESSON = {
    "id": "114.1.3",
    "title": "Basic LLM Task",
    "tags": ["reference", "core", "beginner", "success"],
    "checklist": ["Create simple LLM task", "Pass prompt to model"],
}


def test_a_missing_item_is_found(bad):
    errors = checks.checklist_errors(LESSON, bad("missing_item"))
    assert errors == ["the doc's table has no row for 'Pass prompt to model'"]


def test_an_item_that_no_task_says_is_found(bad):
    errors = checks.checklist_errors(LESSON, bad("silent_task"))
    assert errors == ["'Pass prompt to model': none of its tasks' docstrings begins with it"]


def test_an_item_of_a_task_that_does_not_exist_is_found(bad):
    errors = checks.checklist_errors(LESSON, bad("phantom_task"))
    assert errors == ["'Pass prompt to model': the table names tasks that do not exist: write_prompt"]


def test_a_wrong_tag_is_found(bad):
    assert checks.metadata_errors(LESSON, bad("missing_item")) == []
    errors = checks.metadata_errors(LESSON, bad("wrong_tag"))
    assert len(errors) == 1 and errors[0].startswith("tags are")


def test_a_param_that_keeps_the_form_s_button_grey_is_found(bad):
    from airflow.sdk import Param

    dag = bad("missing_item")
    dag.params["note"] = Param("", type="string", title="Note")
    assert checks.metadata_errors(LESSON, dag) == ["the param note is empty: allow null and let that be its default"]


def test_a_query_at_parse_time_is_found(bad_file):
    errors = checks.parse_time_errors(bad_file("query_at_parse_time"))
    (found,) = errors.values()
    assert "socket.getaddrinfo" in found[0]


def test_bad_form_is_found():
    errors = checks.form_errors(FIXTURES / "bad_form.py")
    assert any("print()" in e for e in errors)
    assert any("bare except" in e for e in errors)
    assert any("lines, not" in e for e in errors)
    assert [e for e in errors if "prompts belong" in e] == [
        "line 8: a text longer than a line; prompts belong into include/prompts"
    ]
