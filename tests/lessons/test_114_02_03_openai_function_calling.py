from __future__ import annotations

import json
import re

import pytest
from llmock.scenarios import Reply, ToolCall

DAG = "114_02_03_openai_function_calling"
QUESTION = "Where is my order 4711?"


@pytest.fixture(scope="module")
def run(run_lesson):
    return run_lesson(DAG)


@pytest.fixture
def scripted(settings, llmock, run_dag, monkeypatch):
    """``scripted(question, *behaviours)`` runs the lesson against a model that behaves so; the same question is run once."""

    def run(question, *behaviours):
        connection = {"conn_type": "openai", "host": llmock.base_url(), "password": "any"}
        monkeypatch.setenv("AIRFLOW_CONN_OPENAI_DEFAULT", json.dumps(connection))
        llmock.add(*behaviours)
        return run_dag(settings.dags, DAG, question=question)

    return run


def calls(*wanted, times=1):
    return Reply(tool_calls=tuple(ToolCall(name, arguments) for name, arguments in wanted), times=times)


def told(llmock):
    """What the model was told of its calls, in the last request."""
    return [json.loads(m["content"]) for m in llmock.requests[-1].body["messages"] if m["role"] == "tool"]


def test_it_ends_as_the_outline_says(run):
    assert run.state == "success", run.log[-3000:]
    assert set(run.tasks.values()) == {"success"}
    assert [turn["who"] for turn in run.result["turns"]] == ["user", "assistant", "tool", "assistant"]
    assert "4711" in str(run.result["turns"][1]["calls"]), run.result
    assert re.search(r"who +\| says", run.log), "the result is logged as a table"


@pytest.mark.checklist("114.2.3", "Define function schemas")
def test_the_schemas_sent_are_those_of_the_functions(run):
    sent = {tool["name"]: tool for tool in run.requests[0]["asked"]["tools"]}
    assert set(sent) == {"find_order", "price_of"}
    assert sent["find_order"]["parameters"]["properties"]["order_id"]["type"] == "integer"
    assert sent["find_order"]["description"].startswith("Look up an order by its number")
    price = sent["price_of"]["parameters"]
    assert set(price["properties"]) == {"product", "pieces"}
    assert price["properties"]["product"]["enum"] == ["Aurora lamp", "Lyra reading lamp", "Fjord standing desk"]
    assert price["properties"]["pieces"]["type"] == "integer" and price["required"] == ["product", "pieces"]
    assert price["properties"]["pieces"]["minimum"] == 1
    assert sent["price_of"]["description"].startswith("The price of a number of pieces of one product")
    assert all(tool["function"]["strict"] for tool in run.requests[0]["body"]["tools"])


@pytest.mark.checklist("114.2.3", "Enable function calling")
def test_every_request_offers_all_functions(run):
    assert len(run.requests) == 2
    for request in run.requests:
        assert [tool["name"] for tool in request["asked"]["tools"]] == ["find_order", "price_of"]
        assert request["asked"]["messages"][0]["text"] == QUESTION
    assert run.xcoms["ask_with_tools"][-1]["tool_calls"][0]["function"]["name"] == "find_order"


@pytest.mark.checklist("114.2.3", "Enable function calling")
def test_another_question_gets_another_function(run_lesson):
    run = run_lesson(DAG, question="What do 2 Fjord standing desks cost?")
    assert run.requests[0]["asked"]["messages"][0]["text"] == "What do 2 Fjord standing desks cost?"
    assert [call["name"] for call in run.xcoms["parse_arguments"]] == ["price_of"]
    assert run.xcoms["parse_arguments"][0]["arguments"] == {"product": "Fjord standing desk", "pieces": 2}
    assert json.loads(run.xcoms["execute_functions"][0]["content"]) == {"pieces": 2, "total_eur": 798}
    assert "798" in run.result["turns"][-1]["says"]


@pytest.mark.checklist("114.2.3", "Enable function calling")
def test_hello_needs_no_function(run_lesson):
    run = run_lesson(DAG, question="Hello!")
    assert run.state == "success" and len(run.requests) == 1
    assert run.xcoms["parse_arguments"] == run.xcoms["execute_functions"] == []


@pytest.mark.checklist("114.2.3", "Enable function calling")
def test_an_answer_without_a_call_costs_one_request(scripted, llmock):
    run = scripted("Hello, {{ 7 * 7 }}!", Reply(text="Hello, how can I help?"), Reply(text="I was asked again."))
    assert run.state == "success", run.log[-3000:]
    assert run.result["turns"][-1] == {"who": "assistant", "says": "Hello, how can I help?", "calls": []}
    assert len(llmock.requests) == 1
    assert llmock.requests[0].body["messages"][0]["content"] == "Hello, {{ 7 * 7 }}!", "a question is no template"


@pytest.mark.checklist("114.2.3", "Parse function arguments")
def test_arguments_are_values(run):
    (call,) = run.xcoms["parse_arguments"]
    assert (call["name"], call["arguments"]) == ("find_order", {"order_id": 4711})


@pytest.mark.checklist("114.2.3", "Parse function arguments")
def test_a_bad_call_becomes_a_sentence(run):
    bad = {call["id"]: call["mistake"] for call in run.result["bad calls"]}
    assert bad["unknown"] == "There is no function delete_order. Use find_order or price_of."
    assert "order_id" in bad["wrong type"], "the model must hear which field is wrong"
    (mistake,) = json.loads(bad["wrong type"])
    assert (
        mistake["loc"] == ["order_id"] and "valid integer" in mistake["msg"] and set(mistake) == {"type", "loc", "msg"}
    )


@pytest.mark.checklist("114.2.3", "Execute functions from response")
def test_the_result_goes_back_under_the_id_of_its_call(run):
    proposal, result = run.requests[1]["asked"]["messages"][1:]
    assert result["role"] == "tool" and result["tool_call_id"] == proposal["tool_calls"][0]["id"]
    # Nothing else of the order goes to the provider, and no postcode.
    assert json.loads(result["text"]) == {"product": "Aurora lamp", "pieces": 2, "status": "shipped"}
    assert "shipped" in run.result["turns"][-1]["says"]


@pytest.mark.checklist("114.2.3", "Parse function arguments")
@pytest.mark.checklist("114.2.3", "Execute functions from response")
def test_the_model_is_told_its_mistakes_and_may_mend_them(scripted, llmock):
    llmock.break_tool_call("malformed_arguments")
    lyra = {"product": "Lyra reading lamp"}
    wrong = calls(
        ("delete_order", {"order_id": 1}),
        ("find_order", {"order_id": "the lamp"}),
        ("price_of", lyra),
        ("price_of", {**lyra, "pieces": 0}),
    )
    right = calls(("find_order", {"order_id": 4999}), ("price_of", {**lyra, "pieces": 3}))
    run = scripted("Where is 4999?", calls(("find_order", {"order_id": 1})), wrong, right, Reply(text="Here you are."))
    assert run.state == "success", run.log[-3000:]
    assert run.result["turns"][-1]["says"] == "Here you are." and len(llmock.requests) == 4
    cut, unknown, lamp, missing, nothing, *found = told(llmock)
    assert "Invalid JSON" in cut["mistake"]
    assert "no function delete_order" in unknown["mistake"] and "valid integer" in lamp["mistake"]
    for mistake in (missing, nothing):
        assert "pieces" in mistake["mistake"], "the model must hear which field is wrong"
    assert "Field required" in missing["mistake"] and "greater than or equal to 1" in nothing["mistake"]
    assert found == [{"error": "There is no order 4999."}, {"pieces": 3, "total_eur": 147}], "both calls were made"


@pytest.mark.checklist("114.2.3", "Execute functions from response")
def test_a_model_that_never_stops_is_stopped(scripted, llmock):
    run = scripted("Where is order 2?", calls(("find_order", {"order_id": 4711}), times=None))
    assert run.state == "failed" and "No answer after 3 rounds" in run.log
    assert len(llmock.requests) == 4, "the question, and three rounds; the task is not tried again"


@pytest.mark.checklist("114.2.3", "Execute functions from response")
def test_an_approval_fits_between_parsing_and_executing(dagbag):
    dag = dagbag.dags[DAG]
    assert dag.get_task("execute_functions").upstream_task_ids == {"parse_arguments"}
    assert dag.get_task("let_model_answer").upstream_task_ids >= {"execute_functions", "define_schemas"}
