"""A question about tables as one SQL query that only reads: columns by likeness, what to count, keep, group and order by the question's words.

Nothing here knows what the tables are about. Words are matched with names by their stems, and by meaning where no stem fits.
"""

from __future__ import annotations

import re

import sqlglot

from keyless.mind.sql.language import WRITES
from keyless.mind.sql.names import Alike
from keyless.mind.sql.query import checked
from keyless.mind.sql.reading import Reader
from keyless.mind.sql.tables import tables_in

_LONG = 1_500
"""Characters of a question that are read."""


def statement(question: str, material: str, dialect: str | None = None, *, alike: Alike) -> str | None:
    """A ``SELECT`` for ``question`` over the tables that ``material`` describes; ``None`` where it describes none or nothing fits.

    ``dialect`` is sqlglot's name of one; without it the one that ``material`` names, else what PostgreSQL and DataFusion read.
    """
    tables = tables_in(material)
    if not tables or WRITES.match(question):
        return None
    dialect = dialect or _dialect_of(material)
    try:
        query = Reader(question[:_LONG], tables, dialect, alike).query()
        return None if query is None else checked(query.sql(dialect or "postgres"), tables, dialect)
    except (sqlglot.errors.SqlglotError, RecursionError):
        return None


def _dialect_of(material: str) -> str | None:
    named = re.search(
        r"(?i)\b(sqlite|postgres(?=ql\b|\b)|mysql|mariadb|duckdb|snowflake|bigquery|redshift|trino|oracle|tsql)",
        material,
    )
    return {"mariadb": "mysql"}.get(named.group(1).lower(), named.group(1).lower()) if named else None
