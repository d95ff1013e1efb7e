"""Who spent what: one row in Postgres for each call to a model that a task makes, without a line of code in the task.

``llmkit_plugin`` tells this module which task runs (`started`, `ended`), ``llmkit.http_tap`` what it calls. A row is
first appended to a file of its own machine, the spool, and brought to the table ``llm_calls`` when the task ends. A
database that is gone therefore costs a task nothing but one warning: its rows stay in the spool until it is back. A row is
stored once, however often its file is read.

``cost_usd`` is the list price of the model, by ``genai-prices``, whoever answered: NULL for a model without a known price,
never 0. Requests of OpenAI's and Anthropic's batches are rows (``batch_id``) once their results are fetched, at half the price.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from llmkit import http_tap, replies
from llmkit.database import conninfo

log = logging.getLogger(__name__)

CONN_ID = os.environ.get("LLMKIT_LEDGER_CONN_ID", "llm_db")
"""The Postgres connection of the ledger."""
BATCH_DISCOUNT = Decimal("0.5")
"""What OpenAI (platform.openai.com/docs/guides/batch) and Anthropic (platform.claude.com, "Batch processing") charge of the price."""
_PAUSE_SECONDS = 30.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS llm_calls (
    id uuid PRIMARY KEY,
    at timestamptz NOT NULL,
    provider text NOT NULL,
    kind text NOT NULL,
    host text NOT NULL,
    model text,
    input_tokens integer,
    output_tokens integer,
    cached_tokens integer,
    cost_usd numeric(18, 9),
    latency_seconds double precision NOT NULL,
    status integer NOT NULL,
    error text,
    batch_id text,
    dag_id text NOT NULL,
    task_id text NOT NULL,
    run_id text NOT NULL,
    map_index integer NOT NULL,
    try_number integer NOT NULL
);
CREATE INDEX IF NOT EXISTS llm_calls_run ON llm_calls (dag_id, run_id);
CREATE INDEX IF NOT EXISTS llm_calls_at ON llm_calls (at);
"""


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
    http_tap.install(note, _task)


def ended() -> None:
    """The task is over: its rows go to the database. Never raises."""
    global _current
    _current = None
    deliver()


def note(call: http_tap.Call) -> None:
    """Append ``call`` to the spool. A reply that cannot be read is a row without tokens."""
    told: dict[str, Any] = {}
    if call.status == 200:
        try:
            told = replies.facts(call.body, call.headers)
        except Exception:
            log.warning("the usage of a call to %s cannot be read", call.url, exc_info=True)
    row = {
        "id": str(uuid.uuid4()),
        "at": call.at,
        "provider": call.api.provider,
        "flavor": call.api.flavor,
        "kind": call.api.kind,
        "url": call.url,
        "model": call.model,
        "told": told,
        "seconds": call.seconds,
        "status": call.status,
        "error": call.error,
        **asdict(call.owner),
    }
    _append([row] if call.api.kind != "batch" else list(_batch_rows(row, call.body)))


def _batch_rows(row: dict[str, Any], results: bytes) -> Iterator[dict[str, Any]]:
    # .../batches/<id>/results or .../files/<id>/content
    batch = row["url"].rstrip("/").split("/")[-2]
    for custom_id, status, told in replies.batch_facts(results):
        # Results may be fetched again: the same request is the same row.
        known = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{batch}/{custom_id}"))
        yield {**row, "id": known, "kind": "chat", "batch": batch, "status": status, "told": told, "seconds": 0.0}


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


# --- the spool ------------------------------------------------------------------------------------


def _spool() -> Path:
    return Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser() / "ledger"


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _append(rows: list[dict[str, Any]]) -> None:
    folder = _spool()
    try:
        with _locked(folder), (folder / "calls.jsonl").open("a") as file:
            file.write("".join(json.dumps(row) + "\n" for row in rows))
    except OSError as error:
        log.warning("%d calls are missing in the ledger: %s cannot be written (%s).", len(rows), folder, error.strerror)


def deliver(*, at_once: bool = False) -> int:
    """Bring spooled rows to the database and return how many were new. Never raises.

    After a failure, which is a warning, the next half minute does not try again, unless ``at_once``.
    """
    folder = _spool()
    failed = folder / "failed"
    try:
        if not any(folder.glob("*.jsonl")):
            return 0
        if not at_once and failed.exists() and time.time() - failed.stat().st_mtime < _PAUSE_SECONDS:
            return 0
        with _locked(folder):
            # Set aside, so that nothing is appended to a file that is read. Others may read it too: rows have their id.
            if (calls := folder / "calls.jsonl").exists():
                calls.rename(folder / f"{uuid.uuid4()}.jsonl")
            files = [path for path in folder.glob("*.jsonl") if path.name != "calls.jsonl"]
        new = 0
        for path in files:
            try:
                lines = path.read_text().splitlines()
            except FileNotFoundError:
                continue
            new += _store_all(lines, path.with_suffix(".broken"))
            path.unlink(missing_ok=True)
        failed.unlink(missing_ok=True)
        return new
    except Exception as error:
        _later(failed, error)
        return 0


def _later(failed: Path, error: Exception) -> None:
    with suppress(OSError):
        failed.touch()
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    log.warning(
        "The ledger's database does not answer (%s): the calls stay in %s until it does.", reason, failed.parent
    )


def _store_all(lines: list[str], broken: Path) -> int:
    """Store what can be stored, and keep the other lines in ``broken``; one bad line holds up no other."""
    import psycopg

    wrong = (psycopg.DataError, KeyError, TypeError, ValueError)
    try:
        return _store([json.loads(line) for line in lines])
    except wrong as error:
        if len(lines) == 1:
            with broken.open("a") as file:
                file.write(lines[0] + "\n")
            log.warning("the ledger cannot store a line, which is kept in %s: %s", broken, error)
            return 0
    return sum(_store_all([line], broken) for line in lines)


# --- the table ------------------------------------------------------------------------------------


def connect() -> Any:
    """A psycopg connection to the ledger's database, its table made where it is missing.

    Raises ``psycopg.OperationalError`` when it does not answer within three seconds.
    """
    import psycopg

    connection = psycopg.connect(conninfo(CONN_ID, connect_timeout=3), options="-c statement_timeout=10000")
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('llm_calls')")
        if cursor.fetchone() == (None,):
            # Two tasks may come here at once.
            cursor.execute("SELECT pg_advisory_xact_lock(114)")
            cursor.execute(_SCHEMA)
    connection.commit()
    return connection


def _store(rows: list[dict[str, Any]]) -> int:
    if not rows:
        return 0
    columns = [
        "id",
        "at",
        "provider",
        "kind",
        "host",
        "model",
        "input_tokens",
        "output_tokens",
        "cached_tokens",
        "cost_usd",
        "latency_seconds",
        "status",
        "error",
        "batch_id",
        "dag_id",
        "task_id",
        "run_id",
        "map_index",
        "try_number",
    ]
    insert = f"INSERT INTO llm_calls ({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(columns))}) ON CONFLICT DO NOTHING"
    with connect() as connection, connection.cursor() as cursor:
        cursor.executemany(insert, [_priced(row) for row in rows])
        new = cursor.rowcount
    return new


def _priced(row: dict[str, Any]) -> tuple[Any, ...]:
    from llmkit import prices

    used = prices.of_reply(row["told"], row["provider"], row["flavor"], row["url"], row["model"])
    cost = used.cost
    if cost is not None and row.get("batch"):
        cost *= BATCH_DISCOUNT
    return (
        row["id"],
        datetime.fromtimestamp(row["at"], UTC),
        used.provider,
        row["kind"],
        urlsplit(row["url"]).netloc,
        used.model,
        used.input_tokens,
        used.output_tokens,
        used.cached_tokens,
        cost,
        row["seconds"],
        row["status"],
        row["error"],
        row.get("batch"),
        *(row[name] for name in ("dag_id", "task_id", "run_id", "map_index", "try_number")),
    )


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
    deliver(at_once=True)
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
    with connect() as connection, connection.cursor() as cursor:
        rows = cursor.execute(query, {"dag_id": dag_id, "run_id": run_id}).fetchall()
    return [Spending(tuple(row[: len(by)]), *row[len(by) :]) for row in rows]
