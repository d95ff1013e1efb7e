"""Two ways to do the same work in one run, compared by what the ledger has of their calls."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

log = logging.getLogger(__name__)

_SQL = """
SELECT count(*), count(*) FILTER (WHERE status <> 200), coalesce(sum(coalesce(input_tokens, 0) + coalesce(output_tokens, 0)), 0),
    coalesce(sum(cost_usd), 0),
    coalesce(extract(epoch FROM max(at + make_interval(secs => latency_seconds)) - min(at)), 0)
FROM llm_calls WHERE dag_id = %(dag_id)s AND run_id = %(run_id)s AND (task_id = ANY(%(of)s) OR split_part(task_id, '.', 1) = ANY(%(of)s))
"""


def rows(context: Any, **ways: str | list[str]) -> list[dict[str, Any]]:
    """A row for each way: ``way``, ``calls``, ``refused`` (not answered), ``tokens``, ``usd`` and ``seconds`` from the first
    call to the end of the last.

    A way is a task group of this run, named by itself or by one of its tasks: ``bad_way="bad_way.write_rows"``. All calls of
    the group count, in every try. A list has the groups, and tasks outside of groups, that the way is made of: calls that
    two ways share count for both, ``bad_way=["ask_model", "bad_way"]``. ``context`` is the task's Airflow context.
    """
    found = []
    for way, names in ways.items():
        groups = [name.split(".")[0] for name in ([names] if isinstance(names, str) else names)]
        calls, refused, tokens, usd, seconds = _spent(context, groups)
        row = {"way": way, "calls": calls, "refused": refused, "tokens": int(tokens)}
        found.append({**row, "usd": round(float(usd), 6), "seconds": round(float(seconds), 1)})
    return found


def last_line(lost: str, of: str | None = None) -> Callable[[Any], None]:
    """An ``on_failure_callback`` that ends a failed task's log, below the stack, with one sentence: what failed, what its
    calls cost in all tries, and what was ``lost`` (such as "no answer was kept").

    The calls are the task's own, or those ``of`` another task or task group.
    """

    def say(context: Any) -> None:
        task_id = context["ti"].task_id
        calls, refused, _, usd, _ = _spent(context, [of or task_id])
        error = context.get("exception")
        why = f"{type(error).__name__}: {error}".splitlines()[0] if isinstance(error, BaseException) else error
        counted = f"{calls} call{'' if calls == 1 else 's'}{f' ({refused} refused)' if refused else ''}"
        # Airflow calls this inside the folded part "Post Execute" of the log: the sentence must stand below it.
        log.info("::endgroup::")
        log.error("%s failed with %s. %s cost %.6f USD, and %s.", task_id, why, counted, usd, lost)

    return say


def _spent(context: Any, names: list[str]) -> tuple[Any, ...]:
    """Calls, refused ones, tokens, USD and seconds of tasks and task groups of this run."""
    from llmkit import ledger

    ledger.deliver(at_once=True)
    with ledger.connect() as connection:
        ti = context["ti"]
        found = connection.execute(_SQL, {"dag_id": ti.dag_id, "run_id": ti.run_id, "of": names}).fetchone()
    return found or (0, 0, 0, 0, 0)
