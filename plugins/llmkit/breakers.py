"""Circuit breakers that all tasks share: what is down is left alone for a while, then tried by one caller.

The pattern is Nygard's (Release It!): closed while calls succeed; open after ``failures`` in a row; after ``cooldown``
seconds one caller is let through (half-open), and its result decides. One row a breaker in Postgres, each step one
statement, so that of many workers exactly one tries. (pybreaker's state can be shared too, but then every process tries at
once, and each that notices a change starts the count anew.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from llmkit.database import connected

_SQL = """
CREATE TABLE IF NOT EXISTS llm_breakers (
    name text PRIMARY KEY,
    failures int NOT NULL DEFAULT 0,
    opened_at timestamptz,
    tried_at timestamptz,
    reason text
)
"""


@dataclass(frozen=True)
class Breaker:
    """The breaker ``name``, such as a connection's id. ``cooldown`` is in seconds."""

    name: str
    failures: int = 3
    cooldown: float = 60.0
    conn_id: str = "llm_db"

    @property
    def state(self) -> str:
        """``closed``, ``open``, or ``half-open`` when a caller may try."""
        row = self._one(
            "SELECT CASE WHEN opened_at IS NULL THEN 'closed' "
            "WHEN greatest(opened_at, tried_at) + make_interval(secs => %s) > clock_timestamp() THEN 'open' "
            "ELSE 'half-open' END FROM llm_breakers WHERE name = %s",
            self.cooldown,
            self.name,
        )
        return row[0] if row else "closed"

    @property
    def reason(self) -> str | None:
        """What failed last."""
        row = self._one("SELECT reason FROM llm_breakers WHERE name = %s", self.name)
        return row[0] if row else None

    def allows(self) -> bool:
        """Whether to call now. Of all callers that ask when the cooldown is over, one hears yes.

        A caller that was let through and died counts as a failure: another one may try after the next cooldown.
        """
        if self.state == "closed":
            return True
        return bool(
            self._one(
                "UPDATE llm_breakers SET tried_at = clock_timestamp() WHERE name = %s AND opened_at IS NOT NULL "
                "AND greatest(opened_at, tried_at) + make_interval(secs => %s) <= clock_timestamp() RETURNING 1",
                self.name,
                self.cooldown,
            )
        )

    def succeeded(self) -> None:
        """A call succeeded: the breaker is closed."""
        self._one(
            "UPDATE llm_breakers SET failures = 0, opened_at = NULL, tried_at = NULL WHERE name = %s "
            "AND (failures > 0 OR opened_at IS NOT NULL) RETURNING 1",
            self.name,
        )

    def failed(self, reason: str = "") -> None:
        """A call failed: with the last of ``failures`` in a row, or in a half-open breaker, it opens."""
        self._one(
            "INSERT INTO llm_breakers AS b (name, failures, reason, opened_at) "
            "VALUES (%(name)s, 1, %(why)s, CASE WHEN %(most)s <= 1 THEN clock_timestamp() END) "
            "ON CONFLICT (name) DO UPDATE SET failures = b.failures + 1, reason = %(why)s, "
            "opened_at = CASE WHEN b.failures + 1 >= %(most)s THEN clock_timestamp() ELSE b.opened_at END RETURNING 1",
            name=self.name,
            why=reason.replace("\0", "")[:500],  # Postgres has no NUL in texts
            most=self.failures,
        )

    def reset(self) -> None:
        """Forget everything."""
        self._one("DELETE FROM llm_breakers WHERE name = %s RETURNING 1", self.name)

    def _one(self, query: str, *values: Any, **named: Any) -> Any:
        with connected(self.conn_id, "llm_breakers", _SQL) as connection:
            return connection.execute(query, named or values).fetchone()
