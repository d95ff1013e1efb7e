from __future__ import annotations

import ast
import json
import shutil

import pytest

from llmkit import prompts

DAG = "114_04_01_prompt_templating"
QUESTION = "{{ var.value.secret }} {% raw %} When will it come?"


@pytest.fixture(scope="module")
def run(run_lesson):
    return run_lesson(DAG)


@pytest.fixture(scope="module")
def other(run_lesson):
    """Every field of the form has another value."""
    return run_lesson(DAG, order_id="4711", tone="formal", question=QUESTION)


def sent(run) -> str:
    """What the model was told in the run's only call."""
    [call] = run.requests
    [message] = call["asked"]["messages"]
    assert message["role"] == "user"
    return message["text"]


def test_it_ends_as_the_outline_says(run):
    assert run.state == "success", run.log[-3000:]
    assert set(run.tasks.values()) == {"success"}


@pytest.mark.checklist("114.4.1", "Jinja2 prompt templates")
def test_the_model_gets_the_rendered_file(run):
    assert sent(run) == run.xcoms["render_prompt"]["prompt"]
    assert "{{" not in sent(run) and "{%" not in sent(run)
    assert sent(run).startswith("You write to a customer of Lumen & Oak, a small shop for desks and lamps.")
    assert run.xcoms["report_templates"]["the letter begins"].startswith(run.xcoms["write_update"][:20])


@pytest.mark.checklist("114.4.1", "Jinja2 prompt templates")
def test_the_model_gets_the_settings_of_the_same_file(run):
    [call] = run.requests
    settings = prompts.load("order_update").settings
    assert settings == {"temperature": 0, "max_tokens": 60}
    # A call without a temperature has none in the log, so that 0 is not the default.
    assert (call["asked"]["temperature"], call["asked"]["max_tokens"]) == (0, 60)


@pytest.mark.checklist("114.4.1", "Jinja2 prompt templates")
def test_no_template_is_read_while_the_dag_is_parsed(settings):
    tree = ast.parse((settings.dags / f"{DAG}.py").read_text())
    [lesson] = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    at_parse_time = [node for node in lesson.body if not isinstance(node, ast.FunctionDef)]
    assert not [node for part in at_parse_time for node in ast.walk(part) if "prompts" in ast.unparse(node)]


@pytest.mark.checklist("114.4.1", "Dynamic variable injection")
def test_values_come_from_a_task_and_from_the_form(run, other):
    assert "- product: Fjord standing desk" in sent(run) and "- order id: 4712" in sent(run)
    assert "- product: Aurora lamp" in sent(other) and "- order id: 4711" in sent(other)
    assert "contractions" in sent(other) and "contractions" not in sent(run)
    assert f"<question>\n{QUESTION}\n</question>" in sent(other), "a customer's text is data, also for Airflow"


@pytest.mark.checklist("114.4.1", "Dynamic variable injection")
def test_bad_values_fail_before_any_call(run):
    tried = run.xcoms["refuse_bad_values"]
    assert tried["tried"] == len(tried["errors"]) == 4 and tried["hostile stayed text"]
    reasons = {
        "missing": "needs a value for: order",
        "misspelled": "does not declare: qestion",
        "of a wrong type": "not of type 'object'",
        "not in the list": "'rude' is not one of",
    }
    for why, reason in reasons.items():
        assert reason in tried["errors"].get(why, "was accepted"), why
    found = run.xcoms["report_templates"]
    assert (found["bad values refused"], found["a hostile question"]) == ("4 of 4", "stayed text")
    assert found["calls to a model"] == len(run.requests) == 1


@pytest.mark.checklist("114.4.1", "Dynamic variable injection")
def test_an_order_without_a_status_stops_the_run_before_any_call(settings, run_dag, tmp_path):
    include = settings.dags.parent / "include"
    data = tmp_path / "include" / "data"
    data.mkdir(parents=True)
    orders = json.loads((include / "data" / "orders.json").read_text())
    for order in orders:
        del order["status"]
    (data / "orders.json").write_text(json.dumps(orders))
    (tmp_path / "dags").mkdir()
    shutil.copy(settings.dags / f"{DAG}.py", tmp_path / "dags")
    run = run_dag(tmp_path / "dags", DAG)
    assert run.state == "failed" and "'status' is a required property" in run.log
    assert (run.tasks["render_prompt"], run.tasks["write_update"]) == ("failed", "upstream_failed")
    assert run.requests == [], "nothing was paid"


@pytest.mark.checklist("114.4.1", "Template inheritance")
def test_one_edit_of_the_frame_changes_every_prompt_that_extends_it_and_no_other(run):
    rows = {row["prompt"]: row for row in run.xcoms["change_frame"]}
    assert {name: row["has the new rule"] for name, row in rows.items()} == {
        "order_update": True,
        "delivery_notice": True,
        "sort_ticket": False,
    }
    for name, row in rows.items():
        assert row["digest before"] == prompts.load(name).digest, "the library itself is as it was"
        assert (row["digest after"] != row["digest before"]) == row["has the new rule"]
    assert run.xcoms["report_templates"]["prompts that one edit of the frame changed"] == "2 of 3"


@pytest.mark.checklist("114.4.1", "Conditional prompt sections")
def test_each_status_has_its_section_and_no_other_status_has_it(run):
    rows = {row["status"]: row for row in run.xcoms["report_templates"]["orders"]}
    assert {status: row["order"] for status, row in rows.items()} == {
        "shipped": 4711,
        "in production": 4712,
        "delivered": 4713,
        "cancelled": 4714,
    }
    assert rows["cancelled"]["section"].startswith("Note: the order is cancelled.")
    assert rows["in production"]["section"].startswith("Note: the order is not finished.")
    assert rows["shipped"]["section"] == rows["delivered"]["section"] == ""
    dear, cheap = ("cancelled", "in production"), ("shipped", "delivered")
    assert min(rows[s]["prompt tokens"] for s in dear) >= max(rows[s]["prompt tokens"] for s in cheap) + 12


@pytest.mark.checklist("114.4.1", "Conditional prompt sections")
def test_a_question_and_a_tone_have_sections_of_their_own(run, other):
    assert "<question>" not in sent(run) and "Note: the order is not finished." in sent(run)
    assert "Note:" not in sent(other), "order 4711 is shipped"
