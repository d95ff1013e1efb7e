"""The table ``llm_calls``: storing rows, and what was spent by them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from llmkit.database import connected
from llmkit.ledger import usage

if TYPE_CHECKING:
    import psycopg

CONN_ID = os.environ.get("LLMKIT_LEDGER_CONN_ID", "llm_db")
"""The Postgres connection of the ledger."""
BATCH_DISCOUNT = Decimal("0.5")
"""What OpenAI (platform.openai.com/docs/guides/batch) and Anthropic (platform.claude.com, "Batch processing") charge of the price."""
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
_COLUMNS = (
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
)


@contextmanager
def connect() -> Iterator[psycopg.Connection]:
    """A connection to the ledger's database, whose table is made where it is missing; each statement is a transaction.

    Raises ``psycopg.OperationalError`` when it does not answer within three seconds.
    """
    with connected(
        CONN_ID, "llm_calls", _SCHEMA, connect_timeout=3, options="-c statement_timeout=10000"
    ) as connection:
        yield connection


def store(rows: list[dict[str, Any]]) -> int:
    """Store spooled ``rows``, all or none, and return how many were new. Raises ``psycopg.Error``, and ``KeyError``,
    ``TypeError`` or ``ValueError`` for a row that is none.
    """
    if not rows:
        return 0
    insert = f"INSERT INTO llm_calls ({', '.join(_COLUMNS)}) VALUES ({', '.join(['%s'] * len(_COLUMNS))}) ON CONFLICT DO NOTHING"
    values = [_priced(row) for row in rows]
    with connect() as connection, connection.transaction(), connection.cursor() as cursor:
        cursor.executemany(insert, values)
        return cursor.rowcount


def _priced(row: dict[str, Any]) -> tuple[Any, ...]:
    used = usage.of_reply(row["told"], row["provider"], row["flavor"], row["url"], row["model"])
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
