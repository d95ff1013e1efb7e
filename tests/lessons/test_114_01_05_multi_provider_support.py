from __future__ import annotations

import pytest

DAG = "114_01_05_multi_provider_support"


@pytest.fixture(scope="module")
def run(run_lesson):
    return run_lesson(DAG)


def test_it_ends_as_the_outline_says(run):
    assert run.state == "success", run.log[-3000:]
    assert set(run.tasks.values()) == {"success"}


@pytest.mark.checklist("114.1.5", "Switch between providers")
def test_five_providers_answer_the_same_task(run, run_lesson):
    answers = run.xcoms["compare_answers"]
    assert len(answers) == len(run.xcoms["ask_provider"]) == 5
    assert {answer["team"] for answer in answers.values()} == {"support"}
    asked = {(r["provider"], r["path"].split(":")[-1]) for r in run.requests if r["status"] == 200}
    assert {provider for provider, _ in asked} == {"openai", "anthropic", "google", "bedrock"}
    fewer = run_lesson(DAG, connections=["pydanticai_cohere"], ticket="What does the Fjord desk cost?")
    assert list(fewer.xcoms["compare_answers"]) == ["pydanticai_cohere"]
    assert "cohere" in {r["provider"] for r in fewer.requests}


@pytest.mark.checklist("114.1.5", "Provider-agnostic prompts")
def test_one_prompt_for_all(run):
    prompt = run.xcoms["write_prompt"]
    assert "Lumen & Oak" in prompt and "The motor of our standing desk" in prompt
    assert not any(mark in prompt for mark in ("<|", "[INST]", "Human:", "JSON"))
    models = {r["model"] for r in run.requests if r["status"] == 200}
    assert models >= {"gpt-4o-mini", "claude-sonnet-5", "gemini-2.5-flash", "llama3.2"}


@pytest.mark.checklist("114.1.5", "Fallback provider configuration")
def test_the_third_of_the_chain_answers(run, dagbag):
    shown = run.xcoms["prove_who_answered"]
    assert [line.split(":")[0] for line in shown] == ["gpt-4o-mini of openai"] * 2 + ["claude-sonnet-5 of anthropic"]
    assert "HTTP 503" in shown[0] and "HTTP 401" in shown[1] and "HTTP 200, 1 calls" in shown[2]
    assert run.xcoms["ask_with_fallback"]["team"] == "support"
    failed = [r["status"] for r in run.requests if r["status"] != 200]
    assert sorted(set(failed)) == [401, 503]
    assert dagbag.dags[DAG].get_task("ask_with_fallback").llm_conn_id == "pydanticai_outage"


@pytest.mark.checklist("114.1.5", "Cost comparison utilities")
def test_prices_of_the_same_tokens(run, run_lesson):
    head, _, *rows = run.xcoms["compare_prices"].splitlines()
    assert head == "| model | input | output | USD for a million calls |"
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert len({tuple(c[1:3]) for c in cells}) == 1 and int(cells[0][1]) > 50
    assert cells[-1] == ["ollama:llama3.2", *cells[0][1:3], "no list price"]
    prices = [float(c[3]) for c in cells[:-1]]
    assert prices == sorted(prices) and 0 < prices[0] < prices[-1]


def test_a_ticket_is_not_a_template(run_lesson):
    hostile = run_lesson(DAG, ticket="{{ 7 * 7 }} {% raw %} My invoice is wrong", connections=["pydanticai_default"])
    assert hostile.state == "success"
    assert "{{ 7 * 7 }} {% raw %}" in hostile.xcoms["write_prompt"]
