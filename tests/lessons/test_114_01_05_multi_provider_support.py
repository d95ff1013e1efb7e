from __future__ import annotations

import pytest

DAG = "114_01_05_multi_provider_support"
TICKET = "The motor of our standing desk is broken, and we need it for tomorrow's fair. Who can repair it today?"
HOSTILE = "{{ 7 * 7 }} {% raw %} The invoice for our desks shows the wrong amount. Please correct it."


@pytest.fixture(scope="module")
def run(run_lesson):
    return run_lesson(DAG)


@pytest.fixture(scope="module")
def other(run_lesson):
    """Both fields of the form have another value."""
    return run_lesson(DAG, connections=["pydanticai_cohere"], ticket=HOSTILE)


def answered(run):
    return [request for request in run.requests if request["status"] == 200]


def test_it_ends_as_the_outline_says(run):
    assert run.state == "success", run.log[-3000:]
    assert set(run.tasks.values()) == {"success"}
    assert "USD for 1,000" in run.log, "the result is logged as a table"


@pytest.mark.checklist("114.1.5", "Switch between providers")
def test_five_providers_answer_the_same_task(run):
    rows = run.result["answers"]
    assert [row["conn_id"] for row in rows] == [
        "pydanticai_default",
        "pydanticai_anthropic",
        "pydanticai_gemini",
        "pydanticai_bedrock_default",
        "pydanticai_ollama",
    ]
    assert {row["decision"] for row in rows} == {"support, urgent"}
    assert run.xcoms["ask_provider"] == [{"team": "support", "urgent": True}] * 5
    assert {r["provider"] for r in answered(run)} == {"openai", "anthropic", "google", "bedrock"}
    named = [row["model name"].split(":", 1)[1] for row in rows]
    assert sorted(r["model"] for r in answered(run)) == sorted([*named, "claude-sonnet-5"]), "and once as a fallback"


@pytest.mark.checklist("114.1.5", "Switch between providers")
def test_the_form_chooses_who_is_asked(other):
    assert other.state == "success", other.log[-3000:]
    assert [(row["conn_id"], row["decision"].split(",")[0]) for row in other.result["answers"]] == [
        ("pydanticai_cohere", "accounting")
    ]
    assert [r["provider"] for r in answered(other) if r["provider"] != "anthropic"] == ["cohere"]


@pytest.mark.checklist("114.1.5", "Provider-agnostic prompts")
def test_every_provider_gets_the_same_rendered_prompt(run):
    prompt = run.xcoms["write_prompt"]
    assert prompt.startswith("You sort the mail of Lumen & Oak") and prompt.endswith(TICKET)
    assert len(answered(run)) == 6
    for request in answered(run):
        told = [message["text"] for message in request["asked"]["messages"]]
        assert told == [prompt], request["provider"]


@pytest.mark.checklist("114.1.5", "Provider-agnostic prompts")
def test_a_ticket_is_no_template(other):
    assert [m["text"] for r in answered(other) for m in r["asked"]["messages"]] == [other.xcoms["write_prompt"]] * 2
    assert other.xcoms["write_prompt"].endswith(HOSTILE)


@pytest.mark.checklist("114.1.5", "Fallback provider configuration")
def test_the_third_of_the_chain_answers(run, dagbag):
    assert run.result["fallback"] == [
        {"model": "gpt-4o-mini", "status": 503, "provider": "openai", "requests": 3},
        {"model": "gpt-4o-mini", "status": 401, "provider": "openai", "requests": 1},
        {"model": "claude-sonnet-5", "status": 200, "provider": "anthropic", "requests": 1},
    ]
    failed = [r["status"] for r in run.requests if r["status"] != 200]
    assert failed == [503, 503, 503, 401], "the ledger says what keyless received"
    assert run.xcoms["ask_with_fallback"] == {"team": "support", "urgent": True}
    assert dagbag.dags[DAG].get_task("ask_with_fallback").llm_conn_id == "pydanticai_outage"


@pytest.mark.checklist("114.1.5", "Cost comparison utilities")
def test_the_same_tokens_at_each_price(run):
    asked = [r for r in answered(run)]
    fallback = [r for r in asked if r["model"] == "claude-sonnet-5"][-1]
    asked.remove(fallback)
    read = sum(r["prompt_tokens"] for r in asked) // 5
    written = sum(r["completion_tokens"] for r in asked) // 5
    assert (run.result["tokens of a prompt"], run.result["tokens of an answer"]) == (read, written)
    assert read > 50 and written > 5
    prices = {row["conn_id"]: row["USD for 1,000"] for row in run.result["answers"]}
    # Dollars for a million tokens of the prompt and of the answer, as the providers list them.
    listed = {
        "pydanticai_default": (0.15, 0.6),
        "pydanticai_gemini": (0.3, 2.5),
        "pydanticai_bedrock_default": (3.3, 16.5),
    }
    for conn_id, (per_read, per_written) in listed.items():
        assert prices[conn_id] == pytest.approx((read * per_read + written * per_written) / 1000, abs=1e-4)
    assert prices["pydanticai_ollama"] is None, "no price is not a price of 0"
    assert prices["pydanticai_anthropic"] > prices["pydanticai_default"]
