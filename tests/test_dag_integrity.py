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
def test_form_and_page(dag_id):
    path = REPO / "dags" / f"{dag_id}.py"
    assert checks.form_errors(path) + checks.page_errors(path, LESSONS) == []


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
    "no_result": ("    return ask() >> write()", "    ask() >> write()"),
    "another_name": ("114.1.3 · Basic LLM Task", "Basic LLM Task"),
    "default_spelled_out": ("    default_args", "    schedule=None,\n    default_args"),
    "stacked_comprehension": ('"""Something else."""', 'return [a for b in ("a", "b") for a in b]'),
    "too_long": ("lesson()\n", "\n" * 120 + "lesson()\n"),
    "long_page": ("**Try it**: nothing.", "\n" * 60 + "**Try it**: nothing."),
    "no_try_it": ("**Try it**: nothing.", "Nothing to try."),
    "parts_in_another_order": ("**In production**: nothing.\n\n", ""),
    "no_output": ("- answer: yes\n", ""),
    "broken_link": ("(114_01_02_ai_sdk_configuration.py)", "(114_01_99_nothing.py)"),
    "link_with_another_title": ("[1.2 AI SDK Configuration]", "[1.2 Setup]"),
    "no_next": ("**Next** ", ""),
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
    "outcome": "success",
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


@pytest.mark.parametrize(
    ("fault", "said"),
    [("no_result", "does not return its conclusion"), ("another_name", "dag_display_name is 'Basic LLM Task'")],
)
def test_what_the_ui_shows_of_it_is_checked(bad, fault, said):
    (error,) = checks.metadata_errors(LESSON, bad(fault))
    assert said in error


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("default_spelled_out", "schedule=None is the default"),
        ("stacked_comprehension", "a comprehension in a comprehension"),
        ("too_long", "lines below the docstring"),
        ("long_page", "lines in the docstring"),
    ],
)
def test_bad_source_is_found(bad_file, fault, said):
    assert checks.form_errors(bad_file("missing_item")) == []
    (error,) = checks.form_errors(bad_file(fault))
    assert said in error


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("no_try_it", "the page has no part **Try it**"),
        ("parts_in_another_order", "the page has no part **In production**"),
        ("no_output", "the page shows no result"),
        ("broken_link", "which is not there"),
        ("link_with_another_title", "says '1.2 Setup'"),
        ("no_next", "Next is None"),
    ],
)
def test_a_bad_page_is_found(bad_file, fault, said):
    assert page_errors_of(bad_file("missing_item")) == []
    assert any(said in error for error in page_errors_of(bad_file(fault))), page_errors_of(bad_file(fault))


def page_errors_of(path):
    """``path`` in the place of lesson 114.1.3, between two other lessons."""
    for dag_id in ("114_01_02_ai_sdk_configuration", "114_01_04_ai_sdk_task_decorator"):
        (path.parent / f"{dag_id}.py").touch()
    lesson = path.rename(path.parent / "114_01_03_basic_llm_task.py")
    return checks.page_errors(lesson, LESSONS)


def test_a_run_that_must_fail_says_so_first(tmp_path):
    path = tmp_path / "114_07_05_single_provider_antipattern.py"
    doc = '"""\n# 114.7.5 Single Provider Dependency\n\n{}\n"""\n'
    said = f"the page's first line is not {checks.EXPECTED_TO_FAIL!r}"
    path.write_text(doc.format("It fails."))
    assert said in checks.page_errors(path, LESSONS)
    path.write_text(doc.format(checks.EXPECTED_TO_FAIL))
    assert said not in checks.page_errors(path, LESSONS)


def test_a_param_that_keeps_the_form_s_button_grey_is_found(bad):
    from airflow.sdk import Param

    dag = bad("missing_item")
    dag.params["note"] = Param("", type="string", title="Note", description="A text.")
    assert checks.metadata_errors(LESSON, dag) == ["the param note is empty: allow null and let that be its default"]


def test_a_query_at_parse_time_is_found(bad_file):
    errors = checks.parse_time_errors(bad_file("query_at_parse_time"))
    (found,) = errors.values()
    assert "socket.getaddrinfo" in found[0]


def test_bad_form_is_found():
    errors = checks.form_errors(FIXTURES / "bad_form.py")
    assert any("print()" in e for e in errors)
    assert any("bare except" in e for e in errors)
    assert [e for e in errors if "prompts belong" in e] == [
        "line 8: a text longer than a line; prompts belong into include/prompts"
    ]


@pytest.mark.parametrize(
    ("text", "is_prompt"),
    [
        ("Select one of the teams below for the ticket.", True),
        ("Create a short headline for the product.", True),
        ("With kind words, tell the customer that the lamp is late.", True),
        ("SELECT count(*) FROM llm_calls", False),
        ("\n  WITH found AS (SELECT 1)", False),
    ],
)
def test_a_prompt_that_begins_like_a_query_is_a_prompt(text, is_prompt):
    import ast

    tree = ast.parse(f"ASKED = {text + ' and so on' * 20!r}")
    assert checks.long_texts(tree) == ([1] if is_prompt else [])


def test_a_lesson_that_builds_on_a_later_one_is_found(bad_file):
    path = bad_file("missing_item")
    on = "[1.2 AI SDK Configuration](114_01_02_ai_sdk_configuration.py)"
    later = "[1.4 AI SDK Task Decorator](114_01_04_ai_sdk_task_decorator.py)"
    assert f"**Builds on** {on}" in path.read_text()
    path.write_text(path.read_text().replace(f"**Builds on** {on}", f"**Builds on** {later}"))
    assert page_errors_of(path) == ["the page builds on 114_01_04_ai_sdk_task_decorator, which comes later"]


def test_a_file_that_ends_the_process_without_a_word_is_told(tmp_path):
    path = tmp_path / "dies.py"
    path.write_text("import os\n\nos._exit(3)\n")
    assert checks.parse_time_errors(path) == {"": ["the process that read the files ended with status 3"]}
