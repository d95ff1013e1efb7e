"""The lessons' Postgres database, as an Airflow connection names it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psycopg


def conninfo(conn_id: str, **more: str | int) -> str:
    """libpq's connection string for the Postgres connection ``conn_id``; ``more`` are further parameters of it.

    Raises ``AirflowNotFoundException`` when there is no such connection.
    """
    from airflow.sdk import Connection
    from psycopg.conninfo import make_conninfo

    connection = Connection.get(conn_id)
    parts = {
        "host": connection.host or connection.extra_dejson.get("host"),
        "port": connection.port,
        "user": connection.login,
        "password": connection.password,
        "dbname": connection.schema,
    }
    return make_conninfo(**{k: v for k, v in parts.items() if v}, **more)


@contextmanager
def connected(conn_id: str, table: str, create: str, **more: str | int) -> Iterator[psycopg.Connection]:
    """A connection, closed at the end, to a database that has ``table``: where it is missing, ``create`` makes it.

    Each statement is a transaction of its own, unless the caller opens one. ``more`` are libpq's parameters.
    """
    import psycopg

    with psycopg.connect(conninfo(conn_id, **{"connect_timeout": 10, **more}), autocommit=True) as connection:
        found = connection.execute("SELECT to_regclass(%s)", [table]).fetchone()
        if not found or not found[0]:
            with connection.transaction():
                # Two that create the same table at once would be in each other's way.
                connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [table])
                connection.execute(create)
        yield connection
