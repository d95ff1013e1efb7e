"""The lessons' Postgres database, as an Airflow connection names it."""

from __future__ import annotations


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
