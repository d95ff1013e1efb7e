from __future__ import annotations

import pytest

DAG = "114_02_02_openai_chat_completion"
TICKET = "My Aurora lamp flickers when I dim it. I bought it in March and would like a new one."
HOSTILE = "{{ params.model }} {% raw %} is what I typed"


@pytest.fixture(scope="module")
def run(run_lesson):
    return run_lesson(DAG)


@pytest.fixture(scope="module")
def other(run_lesson):
    """Every field of the form has another value."""
    return run_lesson(DAG, ticket=HOSTILE, model="gpt-4", temperature=1.1)


def sent(run):
    """The run's requests by the task that sent them."""
    tasks = {"draft_reply": [], "draft_by_responses": [], "ask_model": [], "vary_temperature": []}
    for request in run.requests:
        asked = request["asked"]
        if request["path"].endswith("/responses"):
            tasks["draft_by_responses"].append(request)
        elif asked["seed"] is not None:
            tasks["vary_temperature"].append(request)
        elif asked["temperature"] is not None:
            tasks["draft_reply"].append(request)
        else:
            tasks["ask_model"].append(request)
    return tasks


def test_it_ends_as_the_outline_says(run):
    assert run.state == "success", run.log[-3000:]
    assert set(run.tasks.values()) == {"success"}
    assert [len(requests) for requests in sent(run).values()] == [1, 1, 3, 3]
    assert "USD for 1,000" in run.log, "the result is logged as a table"


@pytest.mark.checklist("114.2.2", "OpenAIChatOperator usage")
def test_the_operator_keeps_what_a_bill_needs(run, dagbag):
    assert dagbag.dags[DAG].get_task("draft_reply").task_type == "OpenAIChatOperator"
    ((draft,), (responses,), asked, _) = sent(run).values()
    assert draft["path"].endswith("/chat/completions")
    rows = run.result["calls"]
    tokens = [r["prompt_tokens"] + r["completion_tokens"] for r in (draft, responses, *asked)]
    assert [row["tokens"] for row in rows[:2]] == tokens[:2]
    assert sorted(row["tokens"] for row in rows[2:]) == sorted(tokens[2:])
    assert run.result["reply"] == run.xcoms["draft_reply"] and len(run.result["reply"]) > 20
    whole = "stop" if draft["completion_tokens"] < 80 else "length"
    assert [row["ended"] for row in rows] == [whole, None, "length", "length", "length"]
    assert run.log.count("cut the completion off (finish reason length)") >= 3


@pytest.mark.checklist("114.2.2", "OpenAIChatOperator usage")
def test_both_operators_are_asked_the_same(run):
    ((draft,), (responses,), _, _) = sent(run).values()
    for part in ("system", "messages", "max_tokens"):
        assert draft["asked"][part] == responses["asked"][part]
    assert draft["asked"]["max_tokens"] == 80 and draft["model"] == responses["model"] == "gpt-4o-mini"
    assert [row["call"] for row in run.result["calls"][:2]] == ["OpenAIChatOperator", "OpenAIResponseOperator"]


@pytest.mark.checklist("114.2.2", "Configure model (gpt-4, gpt-3.5)")
def test_each_model_is_asked_and_has_its_price(run):
    assert sorted(r["model"] for r in sent(run)["ask_model"]) == ["gpt-3.5-turbo", "gpt-4", "gpt-4o-mini"]
    rows = {row["model"]: row for row in run.result["calls"][2:]}
    assert list(rows) == ["gpt-3.5-turbo", "gpt-4", "gpt-4o-mini"]
    # Dollars for a million tokens of the prompt and of the answer, as OpenAI lists them.
    request = sent(run)["ask_model"][0]
    for model, (read, written) in {"gpt-3.5-turbo": (0.5, 1.5), "gpt-4": (30, 60), "gpt-4o-mini": (0.15, 0.6)}.items():
        usd = (request["prompt_tokens"] * read + request["completion_tokens"] * written) / 1000
        assert rows[model]["USD for 1,000"] == pytest.approx(usd, abs=0.001)
    for row, name in (run.result["calls"][0], "draft_reply"), (run.result["calls"][1], "draft_by_responses"):
        (request,) = sent(run)[name]
        usd = (request["prompt_tokens"] * 0.15 + request["completion_tokens"] * 0.6) / 1000
        assert row["USD for 1,000"] == pytest.approx(usd, abs=0.001)


@pytest.mark.checklist("114.2.2", "Configure model (gpt-4, gpt-3.5)")
def test_the_form_chooses_the_model_of_the_draft(run, other):
    assert [sent(r)["draft_reply"][0]["model"] for r in (run, other)] == ["gpt-4o-mini", "gpt-4"]
    assert [r.result["calls"][0]["model"] for r in (run, other)] == ["gpt-4o-mini", "gpt-4"]


@pytest.mark.checklist("114.2.2", "System and user messages")
def test_every_request_has_our_system_message_and_the_ticket_alone(run):
    system = run.xcoms["write_system_message"]
    assert "You work for Lumen & Oak" in system and "Aurora" not in system
    for request in run.requests:
        assert request["asked"]["system"] == system
        assert [(m["role"], m["text"]) for m in request["asked"]["messages"]] == [("user", TICKET)]


@pytest.mark.checklist("114.2.2", "System and user messages")
def test_a_ticket_is_no_template(other):
    assert other.state == "success", other.log[-3000:]
    for request in other.requests:
        assert [m["text"] for m in request["asked"]["messages"]] == [HOSTILE]
        assert request["asked"]["system"] == other.xcoms["write_system_message"]


@pytest.mark.checklist("114.2.2", "Temperature and parameters")
def test_temperature_and_parameters_are_sent(run, other):
    chats = [r["asked"] for r in run.requests if r["path"].endswith("/chat/completions")]
    varied = [asked for asked in chats if asked["max_tokens"] == 16 and asked["temperature"] is not None]
    assert [asked["seed"] for asked in varied] == [7, 7, 7]
    assert sorted(asked["temperature"] for asked in varied) == [0.0, 0.0, 1.5]
    assert [sent(r)["draft_reply"][0]["asked"]["temperature"] for r in (run, other)] == [0.2, 1.1]
    assert {r["asked"]["max_tokens"] for r in sent(run)["ask_model"]} == {16}


@pytest.mark.checklist("114.2.2", "Temperature and parameters")
def test_cold_answers_repeat_and_the_hot_one_does_not(run):
    first, second, hot = run.xcoms["vary_temperature"]
    assert first == second != hot
    assert run.result["equal at 0"] is True and run.result["equal at 0 and 1.5"] is False
