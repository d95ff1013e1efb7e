"""Runs a lesson once for all tests that look at the run.

Each time the ledger is held against keyless' request log, and the result against what the lesson's page says you should see.
"""

from __future__ import annotations

import importlib.util
from collections import Counter
from functools import cache

import pytest

from stack import outputs


@pytest.fixture(scope="session")
def run_lesson(run_dag, settings):
    """``run_lesson(dag_id, **params)`` runs a lesson like ``airflow dags test``; the same call is run once."""
    checked = cache(lambda dag_id, run_id, requests: _compare(dag_id, run_id, requests, settings))

    def run(dag_id, **params):
        done = run_dag(settings.dags, dag_id, **params)
        checked(dag_id, done.run_id, _received(done))
        if not params:
            _compare_with_the_page(dag_id, done, settings)
        return done

    return run


@pytest.fixture(scope="session")
def lesson_module(running_stack, settings):
    """``lesson_module(dag_id)`` is the lesson's file as a module, for what it defines above its DAG."""

    @cache
    def load(dag_id):
        spec = importlib.util.spec_from_file_location(f"lesson_{dag_id}", settings.dags / f"{dag_id}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


def _compare_with_the_page(dag_id: str, run, settings) -> None:
    from llmkit import tables

    shown = outputs.written((settings.dags / f"{dag_id}.py").read_text())
    if not shown:
        return  # a page without that part is what tests/test_dag_integrity.py finds
    assert run.result is not None, f"{dag_id}: the run has no result\n{run.log[-3000:]}"
    wanted = outputs.shape(tables.markdown(run.result))
    assert outputs.shape(shown) == wanted, f"{dag_id}: its page shows another result: run `make outputs DAG={dag_id}`"


def _received(run) -> frozenset:
    """Calls to models that keyless received in a run, each with how often: provider, model, status, tokens."""
    from llmkit.ledger import replies

    calls: Counter = Counter()
    for request in run.requests:
        api = replies.api_of(request["method"], request["path"])
        if api is None or api.kind == "batch":
            continue
        answered = request["status"] == 200
        # Cohere bills searches and tells no tokens of a rerank.
        told = answered and api.kind != "rerank"
        tokens = (request["prompt_tokens"], request["completion_tokens"]) if told else (None, None)
        calls[(api.provider, request["model"] if answered else None, request["status"], *tokens)] += 1
    return frozenset(calls.items())


def _compare(dag_id: str, run_id: str, received: frozenset, settings) -> None:
    from llmkit import ledger

    ledger.deliver(at_once=True)
    with ledger.connect() as connection:
        rows = connection.execute(
            "SELECT provider, CASE status WHEN 200 THEN model END, status, input_tokens, output_tokens FROM llm_calls "
            "WHERE run_id = %s AND dag_id = %s AND host = %s AND status > 0 AND batch_id IS NULL",
            [run_id, dag_id, settings.keyless_url.removeprefix("http://")],
        ).fetchall()
    assert dict(Counter(rows)) == dict(received), f"{dag_id}: the ledger is not what keyless received, call for call"
