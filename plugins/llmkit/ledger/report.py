"""What was spent, by day, lesson, provider, model and so on."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from llmkit.ledger import spool, table


@dataclass(frozen=True)
class Spending:
    """Calls that have ``group`` in common. ``cost_usd`` sums what has a price; ``unpriced`` calls answered without one."""

    group: tuple[Any, ...]
    calls: int
    failed: int
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cost_usd: Decimal
    unpriced: int
    seconds: float


_GROUPS = {
    "day": "(at AT TIME ZONE 'UTC')::date",
    **{n: n for n in ("dag_id", "task_id", "run_id", "provider", "model", "kind", "status", "try_number")},
}


def spending(*by: str, dag_id: str | None = None, run_id: str | None = None) -> list[Spending]:
    """What was spent, grouped by any of day, dag_id, task_id, run_id, provider, model, kind, status and try_number.

    What still lies in the spool is delivered first. Raises ``ValueError`` for another group, and
    ``psycopg.OperationalError`` without the database.
    """
    if unknown := [name for name in by if name not in _GROUPS]:
        raise ValueError(f"no group {', '.join(unknown)}: there are {', '.join(_GROUPS)}")
    spool.deliver(at_once=True)
    groups = [_GROUPS[name] for name in by]
    places = ", ".join(str(n + 1) for n in range(len(groups)))
    query = f"""
        SELECT {"".join(g + ", " for g in groups)} count(*), count(*) FILTER (WHERE status <> 200),
            coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0), coalesce(sum(cached_tokens), 0),
            coalesce(sum(cost_usd), 0), count(*) FILTER (WHERE status = 200 AND cost_usd IS NULL),
            coalesce(sum(latency_seconds), 0)
        FROM llm_calls
        WHERE (%(dag_id)s::text IS NULL OR dag_id = %(dag_id)s) AND (%(run_id)s::text IS NULL OR run_id = %(run_id)s)
        {f"GROUP BY {places} ORDER BY {places}" if groups else ""}
    """
    with table.connect() as connection, connection.cursor() as cursor:
        rows = cursor.execute(query, {"dag_id": dag_id, "run_id": run_id}).fetchall()
    return [Spending(tuple(row[: len(by)]), *row[len(by) :]) for row in rows]
