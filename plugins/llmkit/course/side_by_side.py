"""Two ways to do the same work in one run, compared by what the ledger has of their calls."""

from __future__ import annotations

from typing import Any

from llmkit import ledger

_SQL = """
SELECT count(*), count(*) FILTER (WHERE status <> 200), coalesce(sum(coalesce(input_tokens, 0) + coalesce(output_tokens, 0)), 0),
    coalesce(sum(cost_usd), 0),
    coalesce(extract(epoch FROM max(at + make_interval(secs => latency_seconds)) - min(at)), 0)
FROM llm_calls WHERE dag_id = %s AND run_id = %s AND split_part(task_id, '.', 1) = %s
"""


def table(context: Any, **results: str) -> str:
    """A Markdown table with a row for each way: calls made and refused, tokens, USD, seconds from first to last, result.

    A way is a task group of the run; its result is the state of the task that ``results`` names for it, such as
    ``bad_way="bad_way.call_at_once"`` (of a mapped task, the worst of its states). ``context`` is the task's Airflow context.
    """
    ledger.deliver(at_once=True)
    ti = context["ti"]
    rows = []
    with ledger.connect() as connection:
        for way, task_id in results.items():
            found = connection.execute(_SQL, [ti.dag_id, ti.run_id, way]).fetchone()
            calls, refused, tokens, cost, seconds = found or (0, 0, 0, 0, 0)
            result = _state(ti, task_id)
            rows.append(f"| {way} | {calls} | {refused} | {tokens} | {cost:.6f} | {seconds:.1f} | {result} |")
    return "\n".join(
        ["| way | calls | refused | tokens | USD | seconds | result |", "|---|--:|--:|--:|--:|--:|---|", *rows]
    )


def _state(ti: Any, task_id: str) -> str:
    states = ti.get_task_states(dag_id=ti.dag_id, task_ids=[task_id], run_ids=[ti.run_id])[ti.run_id]
    found = {str(state) for state in states.values()}
    return "failed" if "failed" in found else ", ".join(sorted(found)) or "not run"
