from __future__ import annotations

import json

import pytest
from llmock.scenarios import Reply

DAG = "114_01_03_basic_llm_task"


@pytest.fixture(scope="module")
def run(run_lesson):
    return run_lesson(DAG)


@pytest.fixture(scope="module")
def other(run_lesson):
    """Both form fields with another value."""
    return run_lesson(DAG, ticket="My name is {{ 6 * 7 }} and {% raw %} my drawer is stuck.", max_tokens=8)


@pytest.fixture
def scripted(settings, llmock, run_dag, monkeypatch):
    """``scripted(text, finish_reason)`` runs the lesson against a model that answers so."""

    def run(text, finish_reason="stop"):
        connection = {
            "conn_type": "pydanticai",
            "host": llmock.base_url(),
            "password": "any",
            "extra": {"model": "openai-chat:gpt-4.1-mini"},
        }
        monkeypatch.setenv("AIRFLOW_CONN_PYDANTICAI_DEFAULT", json.dumps(connection))
        llmock.add(Reply(text=text, finish_reason=finish_reason))
        done = run_dag(settings.dags, DAG, ticket=f"{finish_reason}: {text}")
        assert len(llmock.requests) == 1, "an unusable answer is not asked for again"
        assert llmock.requests[0].body["model"] == "gpt-4.1-mini", "the model that the connection names"
        assert done.state == "success", done.log[-2000:]
        return done

    return run


def test_it_ends_as_the_outline_says(run):
    assert run.state == "success", run.log[-3000:]
    assert set(run.tasks.values()) == {"success"}


@pytest.mark.checklist("114.1.3", "Create simple LLM task")
def test_one_task_makes_one_call_with_its_settings(run, other):
    assert [(r["path"], r["status"]) for r in run.requests] == [("/v1/chat/completions", 200)]
    asked = run.requests[0]["asked"]
    assert asked["temperature"] == 0.0 and asked["max_tokens"] == 200
    assert other.requests[0]["asked"]["max_tokens"] == 8
    assert run.requests[0]["model"] == "gpt-4o-mini", "the model that the connection names"


@pytest.mark.checklist("114.1.3", "Pass prompt to model")
def test_the_ticket_reaches_the_model_as_it_is(run, other):
    (message,) = run.requests[0]["asked"]["messages"]
    assert "the Aurora lamp I bought from you in March flickers" in json.dumps(message)
    assert "{{ 6 * 7 }} and {% raw %} my drawer is stuck" in json.dumps(other.requests[0]["asked"]["messages"])
    assert run.xcoms["write_prompt"] in message["text"]


@pytest.mark.checklist("114.1.3", "Retrieve completion")
def test_text_reason_and_tokens_are_the_provider_s(run, other):
    for done, reason in ((run, "stop"), (other, "length")):
        got = done.xcoms["retrieve_completion"]
        assert got["finish_reason"] == reason
        assert got["text"]
        assert got["input_tokens"] == done.requests[0]["prompt_tokens"]
        assert got["output_tokens"] == done.requests[0]["completion_tokens"]


@pytest.mark.checklist("114.1.3", "Handle response")
def test_an_answer_that_ran_out_of_tokens_is_not_ready(run, other):
    ready = run.xcoms["handle_response"]
    assert ready["status"] == "ready"
    begins = ready["draft_begins"].removesuffix(" …")
    assert len(begins) > 20 and " ".join(run.xcoms["retrieve_completion"]["text"].split()).startswith(begins)
    cut = other.xcoms["handle_response"]
    assert cut["status"] == "cut_off" and cut["output_tokens"] == 8
    assert "run it again" in cut["next_step"]


@pytest.mark.checklist("114.1.3", "Handle response")
@pytest.mark.parametrize(
    ("text", "reason", "status"),
    [
        # What a letter says, and how it ends, is no sign of anything.
        ("I'm sorry, but we need your order number.\n\nKind regards\nLumen & Oak", "stop", "ready"),
        ("We are sorry. Please send us your order number.", "length", "cut_off"),
        ("", "content_filter", "refused"),
        (" \n", "stop", "empty"),
        ("We are sorry.", "tool_calls", "unknown"),
        ("We are sorry!", "recitation", "unknown"),
    ],
)
def test_the_finish_reason_decides(text, reason, status, scripted):
    done = scripted(text, reason)
    assert done.xcoms["retrieve_completion"]["text"] == text.strip()
    assert reason != "recitation" or done.xcoms["retrieve_completion"]["finish_reason"] is None, (
        "the SDK does not know it"
    )
    result = done.xcoms["handle_response"]
    assert result["status"] == status
    assert ("sends it" in result["next_step"]) == (status == "ready")


def test_the_run_s_result_is_short(run):
    result = run.xcoms["handle_response"]
    assert set(result) == {"status", "finish_reason", "output_tokens", "next_step", "draft_begins"}
    assert max(len(str(value)) for value in result.values()) <= 60


def test_an_empty_ticket_is_refused_before_the_run(run_lesson):
    run = run_lesson(DAG, ticket="")
    assert run.requests == [] and "ticket" in run.error
