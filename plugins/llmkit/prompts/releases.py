"""Which version of a prompt an alias such as ``production`` means, and how it came to: who, when, why, with what score.

The history is a table that is only ever added to. It names versions by their digest, so a file that was edited after its
release is noticed and not quietly used.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from llmkit.database import connected
from llmkit.prompts import library as prompts

if TYPE_CHECKING:
    import psycopg

_SQL = """
CREATE TABLE IF NOT EXISTS llm_prompt_releases (
    id bigserial PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    prompt text NOT NULL,
    alias text NOT NULL,
    action text NOT NULL,
    version int NOT NULL,
    digest text NOT NULL,
    who text NOT NULL,
    why text NOT NULL,
    score double precision
)
"""
_COLUMNS = "at, prompt, alias, action, version, digest, who, why, score"


@dataclass(frozen=True)
class Release:
    """One line of the history; ``action`` is ``promote`` or ``rollback``, ``score`` what the version had in a test."""

    at: datetime
    prompt: str
    alias: str
    action: str
    version: int
    digest: str
    who: str
    why: str
    score: float | None = None


def history(name: str, *, conn_id: str = "llm_db") -> list[Release]:
    """All releases of the prompt ``name``, oldest first."""
    with _connected(conn_id) as connection:
        return _history(connection, name)


def released(
    name: str, alias: str = "production", *, library: Path | str = prompts.LIBRARY, conn_id: str = "llm_db"
) -> prompts.Prompt:
    """The version that ``alias`` means now. Raises ``PromptError`` when there is none, or its file is another one by now."""
    with _connected(conn_id) as connection:
        stack = _stack(_history(connection, name), alias)
    if not stack:
        raise prompts.PromptError(f"Prompt {name} has no {alias} version yet: promote one.")
    return prompts.load(name, digest=stack[-1].digest, library=library)


def promote(
    prompt: prompts.Prompt,
    alias: str = "production",
    *,
    who: str,
    why: str,
    score: float | None = None,
    conn_id: str = "llm_db",
) -> bool:
    """Let ``alias`` mean ``prompt`` from now on. ``False``, and no new line, when it does already: a retry promotes once."""
    with _connected(conn_id) as connection:
        stack = _stack(_history(connection, prompt.name, lock=True), alias)
        if stack and stack[-1].digest == prompt.digest:
            return False
        _add(connection, prompt.name, alias, "promote", prompt.version, prompt.digest, who, why, score)
        return True


def rollback(
    prompt: prompts.Prompt, alias: str = "production", *, who: str, why: str, conn_id: str = "llm_db"
) -> Release:
    """Take ``prompt`` back: ``alias`` means again what it meant before it was promoted. Returns the release now in force.

    ``prompt`` is what shall go, so a retry, or a second person with the same idea, does not take back one more. Raises
    ``PromptError`` when there is nothing before it.
    """
    with _connected(conn_id) as connection:
        stack = _stack(_history(connection, prompt.name, lock=True), alias)
        if stack and stack[-1].digest != prompt.digest:
            return stack[-1]
        if len(stack) < 2:
            raise prompts.PromptError(f"There is no {alias} version of prompt {prompt.name} before this one.")
        before = stack[-2]
        _add(connection, prompt.name, alias, "rollback", before.version, before.digest, who, why, before.score)
        return _stack(_history(connection, prompt.name), alias)[-1]


def _stack(releases: list[Release], alias: str) -> list[Release]:
    """What was promoted and not taken back, the one in force last."""
    stack: list[Release] = []
    for release in releases:
        if release.alias != alias:
            continue
        if release.action == "rollback":
            stack.pop()
            stack[-1] = release
        else:
            stack.append(release)
    return stack


def _history(connection: psycopg.Connection, name: str, *, lock: bool = False) -> list[Release]:
    if lock:  # two changes of one prompt, one after the other
        connection.execute("SELECT pg_advisory_xact_lock(hashtext('llm_prompt_releases'), hashtext(%s))", [name])
    query = f"SELECT {_COLUMNS} FROM llm_prompt_releases WHERE prompt = %s ORDER BY id"
    return [Release(*row) for row in connection.execute(query, [name])]


def _add(connection: psycopg.Connection, *values: object) -> None:
    connection.execute(
        f"INSERT INTO llm_prompt_releases ({_COLUMNS}) VALUES (clock_timestamp(), %s, %s, %s, %s, %s, %s, %s, %s)",
        values,
    )


@contextmanager
def _connected(conn_id: str) -> Iterator[psycopg.Connection]:
    with connected(conn_id, "llm_prompt_releases", _SQL) as connection, connection.transaction():
        yield connection
