from __future__ import annotations

import json

import pytest
from llmock.scenarios import Reply, ToolCall

DAG = "114_02_03_openai_function_calling"


@pytest.fixture(scope="module")
def run(run_lesson):
    return run_lesson(DAG)


@pytest.fixture
def scripted(settings, llmock, run_dag, monkeypatch):
    """``scripted(question, *behaviours)`` runs the lesson against a model that behaves so."""

    def run(question, *behaviours, **params):
        connection = {"conn_type": "openai", "host": llmock.base_url(), "password": "any"}
        monkeypatch.setenv("AIRFLOW_CONN_OPENAI_DEFAULT", json.dumps(connection))
        llmock.add(*behaviours)
        return run_dag(settings.dags, DAG, question=question, **params)

    return run


def test_it_ends_as_the_outline_says(run):
    assert run.state == "success", run.log[-3000:]
    assert set(run.tasks.values()) == {"success"}


@pytest.mark.checklist("114.2.3", "Define function schemas")
def test_schemas_come_from_the_functions(run):
    schemas = {tool["function"]["name"]: tool["function"] for tool in run.xcoms["define_schemas"]}
    assert set(schemas) == {"find_order", "price_of"}
    assert schemas["find_order"]["parameters"]["properties"]["order_id"]["type"] == "integer"
    assert schemas["price_of"]["parameters"]["required"] == ["product"], "pieces has a default"
    assert schemas["price_of"]["description"].startswith("The price of a product")


@pytest.mark.checklist("114.2.3", "Enable function calling")
def test_the_model_proposes_a_call(run, run_lesson):
    question, proposal = run.xcoms["ask_with_tools"]
    assert question["content"] == "Where is my order 4711?"
    assert proposal["tool_calls"][0]["function"]["name"] == "find_order"
    price = run_lesson(DAG, question="What do 2 Fjord standing desks cost?")
    assert price.xcoms["parse_arguments"] == [
        {
            "name": "price_of",
            "arguments": {"product": price.xcoms["parse_arguments"][0]["arguments"]["product"], "pieces": 2},
        }
    ]
    assert "798" in price.xcoms["let_model_answer"]


@pytest.mark.checklist("114.2.3", "Parse function arguments")
def test_arguments_are_typed_values(run):
    assert run.xcoms["parse_arguments"] == [{"name": "find_order", "arguments": {"order_id": 4711}}]
    told = str(run.xcoms["survive_bad_calls"])
    assert "no function delete_order" in told and "valid integer" in told and "Invalid JSON" in told


@pytest.mark.checklist("114.2.3", "Execute functions from response")
def test_results_go_back_until_the_model_answers(run):
    assert run.xcoms["execute_functions"][-1]["role"] == "tool"
    assert json.loads(run.xcoms["execute_functions"][-1]["content"])["status"] == "shipped"
    assert "shipped" in run.xcoms["let_model_answer"] and len(run.requests) >= 2


def test_an_unknown_function_is_told_to_the_model_and_the_run_goes_on(scripted, llmock):
    unknown = Reply(tool_calls=(ToolCall("delete_order", {"order_id": 1}),))
    wrong = Reply(tool_calls=(ToolCall("find_order", {"order_id": "the lamp"}),))
    run = scripted("Where is order 1?", unknown, wrong, Reply(text="It is on its way."))
    assert run.state == "success", run.log[-3000:]
    assert run.xcoms["let_model_answer"] == "It is on its way."
    told = [m["content"] for r in llmock.requests[1:] for m in r.body["messages"] if m["role"] == "tool"]
    assert "There is no function delete_order" in told[0] and "valid integer" in told[-1]
    assert len(llmock.requests) == 3


def test_arguments_that_are_no_json_are_told_too(scripted, llmock):
    llmock.break_tool_call("malformed_arguments")
    run = scripted(
        "Where is order 3?", Reply(tool_calls=(ToolCall("find_order", {"order_id": 1}),)), Reply(text="Sorry.")
    )
    assert run.state == "success" and "Invalid JSON" in run.xcoms["execute_functions"][-1]["content"]


def test_a_model_that_never_stops_is_stopped(scripted, llmock):
    run = scripted(
        "Where is order 2?", Reply(tool_calls=(ToolCall("find_order", {"order_id": 4711}),), times=None), max_steps=3
    )
    assert run.state == "failed" and "No answer after 3 steps" in run.log
    assert len(llmock.requests) == 3


def test_an_answer_without_a_call_is_the_end(scripted, llmock):
    run = scripted("Hello!", Reply(text="Hello, how can I help?"), Reply(text="Hello, how can I help?"))
    assert run.state == "success" and run.xcoms["let_model_answer"].startswith("Hello")
