from __future__ import annotations

import pytest

DAG = "114_03_02_anthropic_claude_integration"
TERMS = {"monthly_rent": 2400.0, "deposit": 7200.0, "notice_months": 6}


@pytest.fixture(scope="module")
def run(run_lesson):
    return run_lesson(DAG)


def ways(run) -> set[str]:
    names = {name.split("[")[0] for name, state in run.tasks.items() if state == "success"}
    return names & {"read_at_once", "read_with_cache", "split_document", "read_chunk"}


def test_it_ends_as_the_outline_says(run):
    assert run.state == "success", run.log[-3000:]
    assert set(run.tasks.values()) == {"success", "skipped"}


@pytest.mark.checklist("114.3.2", "Configure Anthropic connection")
def test_platform_and_model_come_from_the_connection(run):
    found = run.xcoms["check_connection"]
    assert found == {"platform": "anthropic", "model": "claude-sonnet-5", "test": "Connection established!"}


@pytest.mark.checklist("114.3.2", "Claude completion operator")
def test_one_message_and_a_deferred_batch(run, dagbag):
    assert dagbag.dags[DAG].get_task("answer_colleague").task_type == "AnthropicMessageOperator"
    assert run.xcoms["answer_colleague"].strip()
    assert dagbag.dags[DAG].get_task("send_batch").deferrable is True
    assert "Trigger completed" in run.log, "it was deferred"
    assert set(run.xcoms["read_batch"]) == {"rent", "roof", "keys"} and all(run.xcoms["read_batch"].values())
    paths = [r["path"] for r in run.requests]
    assert paths.count("/v1/messages/batches") == 1


@pytest.mark.checklist("114.3.2", "System prompts for Claude")
def test_the_system_prompt_is_configuration(run, run_lesson):
    assert "plain sentences" in run.xcoms["load_system_prompt"]
    formal = run_lesson(DAG, tone="formal", document="note.md")
    assert "without contractions" in formal.xcoms["load_system_prompt"]


@pytest.mark.checklist("114.3.2", "Handle long context")
def test_the_counted_tokens_pick_the_way_and_all_ways_agree(run, run_lesson):
    short = run_lesson(DAG, tone="formal", document="note.md")
    long = run_lesson(DAG, document="lease_with_annexes.md")
    tokens = [r.xcoms["count_tokens"] for r in (short, run, long)]
    assert tokens[0] < 500 < 1024 < tokens[1] < 2000 < tokens[2]
    assert [ways(r) for r in (short, run, long)] == [
        {"read_at_once"}, {"read_with_cache"}, {"split_document", "read_chunk"},
    ]  # fmt: skip
    for r in (short, run, long):
        report = r.xcoms["report_terms"]
        assert {name: report[name] for name in TERMS} == TERMS
    assert run.xcoms["report_terms"]["tokens_from_cache"] > 2 * 1024
    assert len(long.xcoms["read_chunk"]) > 3 and long.xcoms["read_chunk"][-1]["deposit"] is None


def test_the_batch_is_in_the_ledger_at_half_the_price(run):
    from llmkit import ledger

    rows = ledger.spending("task_id", dag_id=DAG, run_id=run.run_id)
    (batch,) = [row for row in rows if row.group == ("read_batch",)]
    assert batch.calls == 3 and 0 < batch.cost_usd < 0.001
