"""Which task pays for a call: the one that runs in this process, or the one whose trigger does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llmkit.ledger import http_tap, spool


@dataclass(frozen=True)
class Task:
    """The task instance that pays for a call."""

    dag_id: str
    task_id: str
    run_id: str
    map_index: int = -1
    try_number: int = 1


_current: Task | None = None


def started(ti: Any) -> None:
    """From now on the calls of this process are those of the task instance ``ti``."""
    global _current
    index = getattr(ti, "map_index", -1)
    _current = Task(ti.dag_id, ti.task_id, ti.run_id, -1 if index is None else index, ti.try_number)
    watch()


def watch() -> None:
    """See the calls of this process and of those that it forks; only those of a task or a trigger become rows."""
    http_tap.install(spool.note, _task)


def ended() -> None:
    """The task is over: its rows go to the database. Never raises."""
    global _current
    _current = None
    spool.deliver()


def _task() -> Task | None:
    """The task that runs now, here."""
    return _current or _task_of_trigger()


def _task_of_trigger() -> Task | None:
    """In the triggerer, which runs many tasks' triggers at once, the one that Airflow's log context names."""
    from structlog.contextvars import get_contextvars

    known = get_contextvars()
    if known.get("trigger_id") is None or known.get("dag_id") is None:
        return None
    return Task(
        known["dag_id"], known["task_id"], known["run_id"], known.get("map_index", -1), known.get("try_number", 1)
    )
