"""Keep a running scheduler away from a DAG while this process runs it.

``airflow dags test`` sets its tasks to *scheduled* in the database, where a scheduler that runs at the same time finds
them and runs some of them too. A scheduler leaves the runs of a paused DAG alone, and ``dags test`` does not mind.

A process that is killed cannot unpause what it paused. So a table remembers which pauses are tests' and not the reader's, and a
lock, which ends with the process, says which of these tests still run.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.pool import NullPool

# Made on first use by whoever comes first, so under a lock: PostgreSQL lets two makers of one table collide.
_TABLE = (
    "SELECT pg_advisory_xact_lock(hashtext('course_test_pause'))",
    "CREATE TABLE IF NOT EXISTS course_test_pause (dag_id text PRIMARY KEY)",
)


def _engine() -> Engine:
    """An engine of its own: this also runs before Airflow has configured its."""
    from airflow.configuration import conf

    return create_engine(conf.get_mandatory_value("database", "sql_alchemy_conn"), poolclass=NullPool)


def _lock(dag_id: str) -> dict[str, int]:
    return {"kind": zlib.crc32(b"course_test_pause") >> 1, "dag": zlib.crc32(dag_id.encode()) >> 1}


@contextmanager
def paused(dag_id: str) -> Iterator[None]:
    """Pause ``dag_id`` for the time of the block, if the reader has not. The last of several such blocks unpauses it."""
    engine = _engine()
    with engine.connect() as connection:
        _make_table(connection)
        connection.execute(text("SELECT pg_advisory_lock_shared(:kind, :dag)"), _lock(dag_id))
        pause = text("UPDATE dag SET is_paused = true WHERE dag_id = :dag_id AND NOT is_paused")
        if connection.execute(pause, {"dag_id": dag_id}).rowcount:
            note = text("INSERT INTO course_test_pause VALUES (:dag_id) ON CONFLICT DO NOTHING")
            connection.execute(note, {"dag_id": dag_id})
        connection.commit()
        try:
            yield
        finally:
            connection.execute(text("SELECT pg_advisory_unlock_shared(:kind, :dag)"), _lock(dag_id))
            _unpause_if_unused(connection, dag_id)
            connection.commit()


def unpause_left() -> list[str]:
    """Unpause what tests that were killed left paused, and return its ids; what the reader paused stays so."""
    engine = _engine()
    with engine.begin() as connection:
        _make_table(connection)
        noted = connection.execute(text("SELECT dag_id FROM course_test_pause ORDER BY dag_id")).scalars().all()
        return [dag_id for dag_id in noted if _unpause_if_unused(connection, dag_id)]


def _make_table(connection: Connection) -> None:
    for statement in _TABLE:
        connection.execute(text(statement))


def _unpause_if_unused(connection: Connection, dag_id: str) -> bool:
    """Unpause ``dag_id`` if a test paused it and none runs any more; whether it did."""
    if not connection.execute(text("SELECT pg_try_advisory_xact_lock(:kind, :dag)"), _lock(dag_id)).scalar():
        return False
    noted = connection.execute(
        text("DELETE FROM course_test_pause WHERE dag_id = :dag_id"), {"dag_id": dag_id}
    ).rowcount
    if noted:
        connection.execute(text("UPDATE dag SET is_paused = false WHERE dag_id = :dag_id"), {"dag_id": dag_id})
    return bool(noted)
