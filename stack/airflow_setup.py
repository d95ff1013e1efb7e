"""What Airflow needs before its processes start: its tables, the keyless connections, lessons that are not paused.

Run inside the environment of ``Settings.environment``; importing this module imports Airflow.
"""

from __future__ import annotations

import json
import re
from typing import Any

import yaml
from airflow import settings as airflow_settings
from airflow.models import Connection
from airflow.models.dag import DagModel
from airflow.models.pool import Pool
from airflow.utils import db
from airflow.utils.session import create_session
from sqlalchemy import select, update

from stack.settings import REPO, Settings

_LOOPBACK_PORT = re.compile(r"^http://127\.0\.0\.1:\d+")


def migrate() -> None:
    """Create Airflow's tables or bring them up to date."""
    airflow_settings.configure_orm()
    if not _current():
        db.upgradedb() if _has_tables() else db.initdb()


def _current() -> bool:
    try:
        db.check_migrations(timeout=0)
    except TimeoutError:
        return False
    return True


def _has_tables() -> bool:
    from sqlalchemy import inspect

    return inspect(airflow_settings.engine).has_table("alembic_version")


def connections(settings: Settings) -> dict[str, dict[str, Any]]:
    """``include/connections.yaml`` with keyless' address filled in."""
    text = (REPO / "include" / "connections.yaml").read_text().replace("{keyless}", settings.keyless_url)
    return yaml.safe_load(text)


def import_connections(settings: Settings) -> list[str]:
    """Add the connections that are missing, and return their ids.

    One that exists is left alone, but for the port of keyless in a host that still points there.
    """
    added = []
    with create_session() as session:
        there = {c.conn_id: c for c in session.scalars(select(Connection))}
        for conn_id, fields in connections(settings).items():
            existing = there.get(conn_id)
            if existing is None:
                extra = fields.get("extra")
                session.add(Connection(conn_id=conn_id, **{**fields, "extra": json.dumps(extra) if extra else None}))
                added.append(conn_id)
            elif (existing.password or "").startswith("keyless") and existing.host:
                existing.host = _LOOPBACK_PORT.sub(settings.keyless_url, existing.host)
    return added


def make_pools() -> None:
    """The pool that lessons share for model calls; its size is the reader's to change in the UI."""
    with create_session() as session:
        if Pool.get_pool("llm_calls", session=session) is None:
            Pool.create_or_update_pool(
                "llm_calls",
                slots=2,
                description="Model calls that may run at once.",
                include_deferred=False,
                session=session,
            )


def unpause_lessons() -> None:
    """A lesson that an earlier ``airflow dags test`` registered as paused would never start from the UI."""
    with create_session() as session:
        session.execute(update(DagModel).where(DagModel.is_paused).values(is_paused=False))


def main() -> None:
    """Prepare the metadata database for the processes."""
    settings = Settings.load()
    migrate()
    if settings.keyless:
        import_connections(settings)
    make_pools()
    unpause_lessons()


if __name__ == "__main__":
    main()
