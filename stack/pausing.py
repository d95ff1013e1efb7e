"""Keep a running scheduler away from a DAG while this process runs it.

``airflow dags test`` sets its tasks to *scheduled* in the database, where a scheduler that runs at the same time finds
them and runs some of them too. A scheduler leaves the runs of a paused DAG alone, and ``dags test`` does not mind.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def paused(dag_id: str) -> Iterator[None]:
    """Pause ``dag_id`` for the time of the block, if it is not paused already."""
    from airflow.configuration import conf
    from sqlalchemy import create_engine, text
    from sqlalchemy.pool import NullPool

    # An engine of its own: this also runs before Airflow has configured its.
    engine = create_engine(conf.get_mandatory_value("database", "sql_alchemy_conn"), poolclass=NullPool)
    change = text("UPDATE dag SET is_paused = :paused WHERE dag_id = :dag_id AND is_paused <> :paused")
    with engine.begin() as connection:
        changed = connection.execute(change, {"dag_id": dag_id, "paused": True}).rowcount
    try:
        yield
    finally:
        if changed:
            with engine.begin() as connection:
                connection.execute(change, {"dag_id": dag_id, "paused": False})
