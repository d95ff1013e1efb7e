"""Over the whole course the ledger's rows are keyless' request log, call for call."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from llmkit import ledger, replies

LESSONS = sorted(p.stem for p in (Path(__file__).parents[2] / "dags").glob("*.py"))
UNTOLD = {("cohere", "rerank")}
"""Of what their replies do not tell, the ledger knows no tokens: Cohere bills searches."""


def received(run) -> Counter:
    """Calls to models that keyless received: provider, model, status, tokens."""
    calls: Counter = Counter()
    for request in run.requests:
        api = replies.api_of(request["method"], request["path"])
        if api is None or api.kind == "batch":
            continue
        tokens = (request["prompt_tokens"], request["completion_tokens"])
        if request["status"] != 200 or (api.provider, api.kind) in UNTOLD:
            tokens = (None, None)
        calls[(api.provider, request["model"] if request["status"] == 200 else None, request["status"], *tokens)] += 1
    return calls


def kept(dag_id, run, host) -> Counter:
    """The ledger's rows of a run for what ``host`` answered; what a batch answered later was no request."""
    ledger.deliver(at_once=True)
    with ledger.connect() as connection:
        rows = connection.execute(
            "SELECT provider, CASE status WHEN 200 THEN model END, status, input_tokens, output_tokens FROM llm_calls "
            "WHERE dag_id = %s AND run_id = %s AND host = %s AND status > 0 AND batch_id IS NULL",
            [dag_id, run.run_id, host],
        ).fetchall()
    return Counter(rows)


@pytest.mark.parametrize("dag_id", LESSONS)
def test_rows_are_requests(run_lesson, dag_id, settings):
    run = run_lesson(dag_id)
    assert kept(dag_id, run, settings.keyless_url.removeprefix("http://")) == received(run)


def test_rows_know_their_tasks(run_lesson):
    run = run_lesson("114_01_02_ai_sdk_configuration")
    with ledger.connect() as connection:
        rows = connection.execute(
            "SELECT task_id, map_index, try_number FROM llm_calls WHERE run_id = %s", [run.run_id]
        ).fetchall()
    of_task = Counter(task_id for task_id, _, _ in rows)
    assert of_task["limits.call_in_pool"] == 3 and of_task["keys.use_wrong_key"] == 1
    assert {index for task_id, index, _ in rows if task_id == "limits.call_in_pool"} == {0, 1, 2}
    assert {number for *_, number in rows} == {1}
