from __future__ import annotations

import json
from pathlib import Path

import pytest

DAG = "114_03_01_cohere_integration"
DATA = Path(__file__).parents[2] / "include" / "data"
SEARCHES = json.loads((DATA / "searches.json").read_text())
PRODUCTS = {row["sku"]: f"{row['name']}: {row['text']}" for row in json.loads((DATA / "products.json").read_text())}


@pytest.fixture(scope="module")
def run(run_lesson):
    return run_lesson(DAG)


@pytest.fixture(scope="module")
def other(run_lesson):
    """Every form field has another value."""
    return run_lesson(DAG, product="MOS-1", max_tokens=3, candidates=3)


@pytest.fixture(scope="module")
def down(run_dag, settings):
    """Nothing listens where Cohere should be."""
    with pytest.MonkeyPatch.context() as patch:
        dead = {"conn_type": "cohere", "host": "http://127.0.0.1:9", "password": "any"}
        patch.setenv("AIRFLOW_CONN_COHERE_DEFAULT", json.dumps(dead))
        return run_dag(settings.dags, DAG, candidates=2)


def calls(run, path: str) -> list[dict]:
    return [r for r in run.requests if r["path"] == path]


def test_it_ends_as_the_outline_says(run, other):
    for each in run, other:
        assert each.state == "success", each.log[-3000:]
        assert set(each.tasks.values()) == {"success"}


@pytest.mark.checklist("114.3.1", "Configure Cohere connection")
def test_the_connection_is_checked_without_a_paid_call(run, keyless_url):
    found = run.xcoms["check_connection"]
    assert found["host"] == f"{keyless_url}/cohere"
    assert {"command-a-03-2025", "embed-multilingual-v3.0", "rerank-v3.5"} <= set(found["models"])
    assert {r["key"] for r in run.requests} == {"keyl…"}
    assert run.requests[0]["path"] == "/v1/models" and len(calls(run, "/v1/models")) == 1
    assert len(calls(run, "/v2/chat")) == 1, "only the tagline is paid for"


@pytest.mark.checklist("114.3.1", "Configure Cohere connection")
def test_a_cohere_that_is_down_fails_the_check_and_nothing_else_is_tried(down):
    assert down.state == "failed" and down.tasks["check_connection"] == "failed"
    assert down.tasks["prepare_texts"] == down.tasks["search_by_words"] == "upstream_failed"
    assert "Connection refused" in down.log


@pytest.mark.checklist("114.3.1", "CohereGenerateOperator")
def test_a_line_is_written_for_the_product(run, other, dagbag):
    assert dagbag.dags[DAG].get_task("write_tagline").task_type == "CohereGenerateOperator"
    for each, sku, limit in (run, "AUR-1", 40), (other, "MOS-1", 3):
        (chat,) = calls(each, "/v2/chat")
        assert PRODUCTS[sku] in chat["asked"]["messages"][-1]["text"]
        assert chat["asked"]["max_tokens"] == limit and chat["model"] == "command-a-03-2025"
        assert each.result["line"] == each.xcoms["write_tagline"] != ""


@pytest.mark.checklist("114.3.1", "CohereGenerateOperator")
def test_only_a_line_that_is_whole_is_usable(run, other, dagbag):
    assert (other.result["reason"], other.result["usable"]) == ("MAX_TOKENS", False)
    assert run.result["usable"] is (run.result["reason"] == "COMPLETE")
    check = dagbag.dags[DAG].get_task("check_tagline").python_callable
    assert check("A lamp.", "COMPLETE")["usable"] and not check("A la", "MAX_TOKENS")["usable"]
    assert not check("A lamp.", "ERROR")["usable"]


@pytest.mark.checklist("114.3.1", "CohereEmbedOperator")
def test_the_most_similar_product_is_found_by_its_vector(run, other, embedder):
    import numpy as np

    for each, sku in (run, "AUR-1"), (other, "MOS-1"):
        (embed,) = calls(each, "/v2/embed")
        assert embed["asked"]["texts"] == list(PRODUCTS.values())
        assert embed["model"] == "embed-multilingual-v3.0" and embed["body"]["input_type"] == "search_document"
        vectors = np.asarray(embedder.embed(list(PRODUCTS.values())))
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        nearest = (vectors @ vectors[list(PRODUCTS).index(sku)]).argsort()[::-1]
        assert each.result["you may also like"] == list(PRODUCTS)[nearest[1]] != sku
    assert run.result["you may also like"] != other.result["you may also like"]


@pytest.mark.checklist("114.3.1", "Cohere reranking")
def test_reranking_is_measured_against_the_search_by_words(run, other):
    for each, candidates in (run, 12), (other, 3):
        sent = {r["body"]["query"]: r["body"]["documents"] for r in calls(each, "/v2/rerank")}
        assert set(sent) == {search["question"] for search in SEARCHES} and len(calls(each, "/v2/rerank")) == 6
        reciprocal = {"by words": [], "reranked": []}
        for row, search, order in zip(each.result["searches"], SEARCHES, each.xcoms["rerank_hits"], strict=True):
            documents = sent[search["question"]]
            assert len(documents) == candidates and row["search"] == search["question"]
            answered = [documents[result["index"]] for result in order["results"]]
            for name, texts in ("by words", documents), ("reranked", answered):
                right = PRODUCTS[search["sku"]]
                rank = texts.index(right) + 1 if right in texts else None
                assert row[name] == rank
                reciprocal[name].append(1 / rank if rank else 0)
        for name, values in reciprocal.items():
            assert each.result[f"MRR {name}"] == pytest.approx(sum(values) / 6, abs=0.006)


@pytest.mark.checklist("114.3.1", "Cohere reranking")
def test_reranking_improves_what_was_found_and_finds_nothing_new(run, other):
    assert run.result["MRR reranked"] > run.result["MRR by words"] + 0.2
    assert other.result["MRR reranked"] < run.result["MRR reranked"]
    assert any(row["reranked"] >= row["by words"] > 1 for row in run.result["searches"]), "not every search improves"
    lost = [row for row in other.result["searches"] if row["by words"] is None]
    assert lost and all(row["reranked"] is None for row in lost)
