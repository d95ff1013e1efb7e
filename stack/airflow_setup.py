"""What Airflow needs before its processes start: its tables, the keyless connections and the lessons' pool.

Run inside the environment of ``Settings.environment``; importing this module imports Airflow.
"""

from __future__ import annotations

import json
import re
from typing import Any

import yaml
from airflow import settings as airflow_settings
from airflow.models import Connection
from airflow.models.pool import Pool
from airflow.utils import db
from airflow.utils.session import create_session
from sqlalchemy import select

from stack.settings import REPO, Settings

# An address of keyless on whichever port; one of another server on loopback, such as Ollama's own, has another path.
_KEYLESS = re.compile(r"http://127\.0\.0\.1:\d+(?=/(?:openai|anthropic|cohere|google|bedrock|ollama)\b)")

NO_PORT = 0
"""What the UI's button "Test" sends for a port that is not set; Airflow refuses to test another one than is stored."""


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
    """``include/connections.yaml`` with keyless' address and the throw-away key filled in."""

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: filled(v) for k, v in value.items()}
        if isinstance(value, str):
            value = value.replace("{keyless}", settings.keyless_url)
            return settings.google_private_key if value == "{google_private_key}" else value
        return value

    found = filled(yaml.safe_load((REPO / "include" / "connections.yaml").read_text()))
    for fields in found.values():
        fields["port"] = NO_PORT
        extra = fields.get("extra", {})
        if "keyfile_dict" in extra:
            # Airflow's form has a text field for it, in which an object would be shown, and saved, as "[object Object]".
            extra["keyfile_dict"] = json.dumps(extra["keyfile_dict"])
    return found


def import_connections(settings: Settings) -> list[str]:
    """Add the connections that are missing, and return their ids.

    One that exists is left alone, but for the port of keyless in an address that still points there, and a port that is not set.
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
                continue
            if existing.port is None:
                existing.port = NO_PORT
            if existing.host:
                existing.host = _KEYLESS.sub(settings.keyless_url, existing.host)
            if existing.extra:
                existing.extra = _KEYLESS.sub(settings.keyless_url, existing.extra)
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


def main() -> None:
    """Prepare the metadata database for the processes."""
    settings = Settings.load()
    migrate()
    if settings.keyless:
        import_connections(settings)
    make_pools()


if __name__ == "__main__":
    main()
