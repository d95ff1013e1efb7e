from __future__ import annotations

import pytest

DAG = "114_02_02_openai_chat_completion"


@pytest.fixture(scope="module")
def run(run_lesson):
    return run_lesson(DAG)


def of(run, model):
    return [r for r in run.requests if r["model"] == model]


def test_it_ends_as_the_outline_says(run):
    assert run.state == "success", run.log[-3000:]
    assert set(run.tasks.values()) == {"success"}


@pytest.mark.checklist("114.2.2", "OpenAIChatOperator usage")
def test_the_operator_keeps_what_a_bill_needs(run, dagbag):
    kept = run.xcoms["keep_usage"]
    assert kept["text"] == run.xcoms["draft_reply"] and float(kept["usd"]) > 0
    asked = [
        (r["prompt_tokens"], r["completion_tokens"]) for r in run.requests if r["path"].endswith("/chat/completions")
    ]
    assert (kept["input_tokens"], kept["output_tokens"]) in asked
    assert dagbag.dags[DAG].get_task("draft_reply").task_type == "OpenAIChatOperator"
    assert run.xcoms["draft_by_responses"] and [r["path"] for r in run.requests].count("/v1/responses") == 1


def test_a_short_limit_cuts_the_answer_and_says_so(run_lesson):
    short = run_lesson(DAG, max_tokens=5, model="gpt-4", ticket="{{ params.model }} {% raw %} is what I typed")
    assert short.state == "success"
    assert short.xcoms["keep_usage"]["complete"] is False and short.xcoms["keep_usage"]["output_tokens"] == 5
    assert "cut off at max_tokens=5" in short.log
    assert short.xcoms["write_user_message"].startswith("{{ params.model }}"), "a ticket is no template"


@pytest.mark.checklist("114.2.2", "Configure model (gpt-4, gpt-3.5)")
def test_models_are_a_matter_of_an_argument(run, dagbag):
    assert {"gpt-3.5-turbo", "gpt-4", "gpt-4o-mini"} == {r["model"] for r in run.requests}
    rows = run.xcoms["compare_models"].splitlines()[2:]
    prices = {row.split("|")[1].strip(): float(row.split("|")[4]) for row in rows}
    assert prices["gpt-4"] > 10 * prices["gpt-4o-mini"] > 0
    enum = dagbag.dags[DAG].params.get_param("model").schema["enum"]
    assert {"gpt-4", "gpt-3.5-turbo"} <= set(enum)


@pytest.mark.checklist("114.2.2", "System and user messages")
def test_the_customer_s_text_is_in_the_user_message_alone(run):
    system, user = run.xcoms["write_system_message"], run.xcoms["write_user_message"]
    assert "Lumen & Oak" in system and user not in system and "Aurora" in user


@pytest.mark.checklist("114.2.2", "Temperature and parameters")
def test_cold_answers_repeat_and_hot_ones_do_not(run):
    compared = run.xcoms["compare_temperatures"]
    assert compared["the two cold answers are equal"] is True
    assert compared["the hot one is another"] is True
    assert len(of(run, "gpt-4o-mini")) >= 4
