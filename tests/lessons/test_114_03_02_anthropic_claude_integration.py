from __future__ import annotations

import json
from datetime import timedelta

import pytest

DAG = "114_03_02_anthropic_claude_integration"
READERS = {"read_at_once", "read_with_cache", "write_requests", "send_batch"}


@pytest.fixture(scope="module")
def run(run_lesson):
    return run_lesson(DAG)


@pytest.fixture(scope="module")
def contract(run_lesson):
    return run_lesson(DAG, document="lease.md", question="Who repairs the leaking roof?")


@pytest.fixture(scope="module")
def note(run_lesson):
    return run_lesson(DAG, document="note.md")


def messages(run, *, tools: bool) -> list[dict]:
    """Messages that were sent, in order, from the batch too: those that read a document, or the others."""
    paths = [r for r in run.requests if r["path"] == "/v1/messages"]
    return [r for r in paths if bool(r["asked"]["tools"]) == tools]


def values(run) -> dict[str, float | None]:
    return {row["term"]: row["value"] for row in run.result["terms"]}


def test_it_ends_as_the_outline_says(run):
    assert run.state == "success", run.log[-3000:]
    assert set(run.tasks.values()) == {"success", "skipped"}


@pytest.mark.checklist("114.3.2", "Configure Anthropic connection")
def test_platform_and_model_come_from_the_connection(run):
    found = run.xcoms["check_connection"]
    assert (found["platform"], found["model"]) == ("anthropic", "claude-sonnet-5")
    assert found["models"] > 0
    assert [r["path"] for r in run.requests if r["method"] == "GET" and "models" in r["path"]] == ["/v1/models"]
    assert {r["model"] for r in messages(run, tools=False)} == {"claude-sonnet-5"}


@pytest.mark.checklist("114.3.2", "Configure Anthropic connection")
def test_a_refused_key_fails_the_check(lesson_module, keyless_url, monkeypatch):
    import anthropic

    refused = {"conn_type": "anthropic", "host": f"{keyless_url}/anthropic", "password": "keyless:wrong-key"}
    monkeypatch.setenv("AIRFLOW_CONN_ANTHROPIC_DEFAULT", json.dumps(refused))
    check = lesson_module(DAG).anthropic_claude_integration().get_task("check_connection").python_callable
    try:
        check()
    except anthropic.AuthenticationError as error:
        said = str(error)
    else:
        said = "nothing"
    assert "401" in said


@pytest.mark.checklist("114.3.2", "Claude completion operator")
def test_one_message_asks_the_question_of_the_form(run, contract, dagbag):
    assert dagbag.dags[DAG].get_task("forward_question").task_type == "AnthropicMessageOperator"
    for done, question, team in (
        (run, "Which notice period holds?", "lawyer"),
        (contract, "Who repairs the leaking roof?", "office"),
    ):
        (sent,) = messages(done, tools=False)
        assert [(m["role"], m["text"]) for m in sent["asked"]["messages"]] == [("user", question)]
        assert sent["asked"]["max_tokens"] == 8
        assert sent["body"].get("thinking") == {"type": "disabled"}, "or its 8 tokens are used up before the answer"
        assert done.result["question goes to"] == done.xcoms["forward_question"] == team


@pytest.mark.checklist("114.3.2", "Claude completion operator")
def test_the_batch_holds_the_lease_and_its_task_defers(run, dagbag):
    batch = dagbag.dags[DAG].get_task("send_batch")
    assert batch.deferrable and batch.retries == 0 and batch.fail_on_partial_error
    assert batch.execution_timeout > timedelta(seconds=batch.timeout), (
        "or Airflow stops the wait, and the batch is still paid"
    )
    assert "Trigger completed" in run.log, "it was deferred"
    (sent,) = [r for r in run.requests if r["path"] == "/v1/messages/batches" and r["method"] == "POST"]
    texts = [each["params"]["messages"][0]["content"][0]["text"] for each in sent["body"]["requests"]]
    assert [text.split("\n")[0] for text in texts] == [
        "Lease of business premises", "Annex A: inventory at the handover", "Annex B: house rules",
        "Annex C: side letter of 12 May 2027",
    ]  # fmt: skip
    assert "The monthly rent is 2,400 EUR" in texts[0]
    for each in sent["body"]["requests"]:
        assert each["params"].get("thinking") == {"type": "disabled"} and each["params"]["max_tokens"] == 200


@pytest.mark.checklist("114.3.2", "System prompts for Claude")
def test_the_system_prompts_are_sent_apart_from_the_messages(run, contract):
    (forwarded,) = messages(contract, tools=False)
    assert "- lawyer: ending or changing the contract" in forwarded["asked"]["system"]
    assert "lawyer" not in str(forwarded["asked"]["messages"])
    for read in messages(contract, tools=True):
        assert read["asked"]["system"].startswith("You read contracts for Lumen & Oak")
    (sent,) = [r for r in run.requests if r["path"] == "/v1/messages/batches" and r["method"] == "POST"]
    assert all("leave it empty" in each["params"]["system"] for each in sent["body"]["requests"])


@pytest.mark.checklist("114.3.2", "Handle long context")
def test_the_counted_tokens_pick_the_way(run, contract, note):
    tokens = [done.result["tokens counted"] for done in (note, contract, run)]
    assert tokens[0] < 1024 <= tokens[1] <= 3000 < tokens[2]
    ways = [{name for name in READERS if done.tasks[name] == "success"} for done in (note, contract, run)]
    assert ways == [{"read_at_once"}, {"read_with_cache"}, {"write_requests", "send_batch"}]
    assert tokens[0] == note.result["tokens billed"], "all that is sent is counted"


@pytest.mark.checklist("114.3.2", "Handle long context")
def test_every_way_finds_the_terms_and_a_contradiction_is_reported(run, contract, note):
    assert values(note) == values(contract) == {"monthly_rent": 2400, "deposit": 7200, "notice_months": 6}
    assert values(run) == {"monthly_rent": 2400, "deposit": 7200, "notice_months": None}
    stated = {row["term"]: row["stated by"] for row in run.result["terms"]}
    assert stated["notice_months"] == {"chapter-1": 6, "chapter-4": 3}
    assert stated["deposit"] == {"chapter-1": 7200}


@pytest.mark.checklist("114.3.2", "Handle long context")
def test_the_text_is_cached_once_and_the_sum_counts_the_dearer_write(contract, note, run):
    calls = messages(contract, tools=True)
    parts = [r["body"]["messages"][0]["content"] for r in calls]
    assert all(r["body"].get("thinking") == {"type": "disabled"} for r in calls)
    assert [part[1]["text"] for part in parts] == [
        "Note the monthly_rent.", "Note the deposit.", "Note the notice_months.",
    ]  # fmt: skip
    assert len({part[0]["text"] for part in parts}) == 1 and "## 3 Rent" in parts[0][0]["text"]
    assert all(part[0].get("cache_control") == {"type": "ephemeral"} for part in parts)
    found, whole = contract.result, contract.result["tokens billed"]
    # Two of three calls read the text from the cache; all three where another run wrote it less than five minutes ago.
    assert 0.6 * whole < found["from the cache"] < whole
    warm = found["from the cache"] > 2 / 3 * whole
    # One third is written at 1.25 times the price, two thirds are read at a tenth of it.
    low, high = (0.1, 0.4) if warm else (0.4, 0.6)
    assert low < found["USD"] / found["USD without cache and batch"] < high
    assert note.result["from the cache"] == run.result["from the cache"] == 0
    assert note.result["USD"] == note.result["USD without cache and batch"] > 0
    assert run.result["USD"] == pytest.approx(run.result["USD without cache and batch"] / 2, abs=2e-6)


@pytest.mark.checklist("114.3.2", "Handle long context")
def test_a_term_of_another_type_is_refused(lesson_module):
    from types import SimpleNamespace

    from pydantic import ValidationError

    thought = SimpleNamespace(type="thinking", thinking="Let me see.")
    noted = SimpleNamespace(type="tool_use", input={"deposit": "three rents"})
    said = SimpleNamespace(stop_reason="tool_use", content=[thought, noted])
    with pytest.raises(ValidationError, match="deposit"):
        lesson_module(DAG).terms_in(said)


@pytest.mark.checklist("114.3.2", "Handle long context")
def test_an_answer_that_was_cut_off_is_no_answer(lesson_module):
    from types import SimpleNamespace

    from airflow.sdk.exceptions import AirflowFailException

    noted = [SimpleNamespace(type="tool_use", input={"deposit": 7200})]
    terms_in = lesson_module(DAG).terms_in
    assert terms_in(SimpleNamespace(stop_reason="tool_use", content=noted)) == {"deposit": 7200}
    with pytest.raises(AirflowFailException, match="cut off at max_tokens"):
        terms_in(SimpleNamespace(stop_reason="max_tokens", content=noted))
