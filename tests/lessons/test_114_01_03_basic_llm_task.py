from __future__ import annotations

import importlib.util

import pytest

from stack.settings import REPO

DAG = "114_01_03_basic_llm_task"


@pytest.fixture(scope="module")
def run(run_lesson):
    return run_lesson(DAG)


def test_it_ends_as_the_outline_says(run):
    assert run.state == "success", run.log[-3000:]
    assert set(run.tasks.values()) == {"success"}


@pytest.mark.checklist("114.1.3", "Create simple LLM task")
def test_one_task_makes_one_call(run):
    assert [r["path"] for r in run.requests] == ["/v1/chat/completions"]
    assert run.requests[0]["status"] == 200


@pytest.mark.checklist("114.1.3", "Pass prompt to model")
def test_the_ticket_reaches_the_model(run, run_lesson):
    assert "Aurora lamp" in run.xcoms["write_prompt"]
    longer = run_lesson(DAG, ticket="Hello. " + "The drawer of the desk is stuck. " * 30)
    assert longer.requests[0]["prompt_tokens"] > run.requests[0]["prompt_tokens"] + 100


@pytest.mark.checklist("114.1.3", "Retrieve completion")
def test_the_completion_is_what_the_model_said(run):
    assert run.xcoms["retrieve_completion"] == run.xcoms["draft_reply"]
    assert run.xcoms["draft_reply"].strip()


@pytest.mark.checklist("114.1.3", "Handle response")
def test_a_completion_that_ran_out_of_tokens_is_recognised(run, run_lesson):
    assert run.xcoms["handle_response"]["status"] == "ready"
    short = run_lesson(DAG, max_tokens=8)
    assert short.requests[0]["completion_tokens"] == 8
    assert short.xcoms["handle_response"]["status"] == "cut_off"


@pytest.mark.parametrize(
    ("completion", "status", "text"),
    [
        ("We will send a new lamp.", "ready", "We will send a new lamp."),
        ("   \n", "empty", ""),
        ("I can't help with that request.", "refused", "I can't help with that request."),
        ("We are sorry. The new lamp is on its", "cut_off", "We are sorry."),
        ("The new lamp is on its", "cut_off", ""),
    ],
)
def test_edge_cases(completion, status, text, running_stack):
    spec = importlib.util.spec_from_file_location("lesson", REPO / "dags" / f"{DAG}.py")
    lesson = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(lesson)
    assert lesson.judge(completion) == {"status": status, "text": text}


def test_a_template_in_a_ticket_stays_text(run_lesson):
    run = run_lesson(DAG, ticket="My name is {{ 6 * 7 }} and {% raw %} I need a lamp.")
    assert run.state == "success", run.log[-2000:]
    assert "{{ 6 * 7 }}" in run.xcoms["write_prompt"]


def test_an_empty_ticket_is_refused_before_the_run(run_lesson):
    run = run_lesson(DAG, ticket="")
    assert run.requests == [] and "ticket" in run.error
