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


def rows(context: Any, **ways: str) -> list[dict[str, Any]]:
    """A row for each way: ``way``, ``calls``, ``refused`` (not answered), ``tokens``, ``usd`` and ``seconds`` from the first
    call to the end of the last.

    A way is a task group of this run, named by itself or by one of its tasks: ``bad_way="bad_way.write_rows"``. All calls of
    the group count, in every try. ``context`` is the task's Airflow context.
    """
    ledger.deliver(at_once=True)
    ti = context["ti"]
    compared = []
    with ledger.connect() as connection:
        for way, task_id in ways.items():
            group = task_id.split(".")[0]
            calls, refused, tokens, cost, seconds = connection.execute(_SQL, [ti.dag_id, ti.run_id, group]).fetchone()
            spent = {"tokens": int(tokens), "usd": round(float(cost), 6), "seconds": round(float(seconds), 1)}
            compared.append({"way": way, "calls": calls, "refused": refused, **spent})
    return compared


def table(context: Any, **results: str) -> str:
    """The same as a Markdown table, with the state of the task that ``results`` names (of a mapped task, the worst)."""
    lines = ["| way | calls | refused | tokens | USD | seconds | result |", "|---|--:|--:|--:|--:|--:|---|"]
    for row in rows(context, **results):
        spent = f"{row['calls']} | {row['refused']} | {row['tokens']} | {row['usd']:.6f} | {row['seconds']:.1f}"
        lines.append(f"| {row['way']} | {spent} | {_state(context['ti'], results[row['way']])} |")
    return "\n".join(lines)


def _state(ti: Any, task_id: str) -> str:
    states = ti.get_task_states(dag_id=ti.dag_id, task_ids=[task_id], run_ids=[ti.run_id])[ti.run_id]
    found = {str(state) for state in states.values()}
    return "failed" if "failed" in found else ", ".join(sorted(found)) or "not run"
