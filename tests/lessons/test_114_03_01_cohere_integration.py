from __future__ import annotations

import pytest

DAG = "114_03_01_cohere_integration"


@pytest.fixture(scope="module")
def run(run_lesson):
    return run_lesson(DAG)


def mrr(run) -> tuple[float, float]:
    before, after = run.xcoms["measure_orders"].splitlines()[-1].split("|")[2:4]
    return float(before), float(after)


def test_it_ends_as_the_outline_says(run):
    assert run.state == "success", run.log[-3000:]
    assert set(run.tasks.values()) == {"success"}


@pytest.mark.checklist("114.3.1", "Configure Cohere connection")
def test_the_connection_is_checked_without_a_paid_call(run, keyless_url):
    found = run.xcoms["check_connection"]
    assert found["host"] == f"{keyless_url}/cohere" and "rerank-v3.5" in found["models"]
    assert {r["key"] for r in run.requests} == {"keyl…"}


@pytest.mark.checklist("114.3.1", "CohereGenerateOperator")
def test_a_line_for_the_window(run, dagbag):
    assert dagbag.dags[DAG].get_task("write_tagline").task_type == "CohereGenerateOperator"
    checked = run.xcoms["check_tagline"]
    assert checked["text"] == run.xcoms["write_tagline"]
    (chat,) = [r for r in run.requests if r["path"] == "/v2/chat"]
    assert chat["completion_tokens"] <= 40
    assert checked["reason"] == "COMPLETE" or (checked["reason"], chat["completion_tokens"]) == ("MAX_TOKENS", 40)


@pytest.mark.checklist("114.3.1", "CohereEmbedOperator")
def test_similar_products_are_of_the_same_kind(run):
    assert run.xcoms["embed_catalogue"].endswith("/catalogue.npy")
    similar = run.xcoms["find_similar"]
    assert len(similar) == 12 and all(sku != other for sku, other in similar.items())
    assert similar["AUR-1"][:3] == "AUR" and similar["FJO-1"][:3] == "FJO"
    assert [r["path"] for r in run.requests].count("/v2/embed") == 1


@pytest.mark.checklist("114.3.1", "Cohere reranking")
def test_reranking_improves_the_measured_order(run, run_lesson):
    before, after = mrr(run)
    assert after > before + 0.2
    assert [r["path"] for r in run.requests].count("/v2/rerank") == 6
    few = run_lesson(DAG, candidates=3)
    assert "| – | – |" in few.xcoms["measure_orders"], "what was not found is not brought back"
    assert mrr(few)[1] < after
