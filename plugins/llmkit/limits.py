"""Requests per minute, shared by all tasks on all workers through Postgres (pyrate-limiter keeps the count)."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from llmkit.database import conninfo

log = logging.getLogger(__name__)


class LimitTimeout(TimeoutError):
    """No request was free within the time that the caller was willing to wait."""


@dataclass(frozen=True)
class RequestLimit:
    """At most ``per_minute`` requests in any 60 seconds under ``name``, whoever makes them.

    ``conn_id`` is a Postgres connection that all workers reach.
    """

    name: str
    per_minute: int
    conn_id: str = "llm_db"

    def acquire(self, timeout: float = 60.0) -> float:
        """Wait until a request may be made, and return the seconds waited.

        Raises ``LimitTimeout`` after ``timeout`` seconds, and ``ValueError`` for a name that is no identifier.
        """
        import time

        from psycopg_pool import ConnectionPool
        from pyrate_limiter import Duration, Limiter, PostgresBucket, Rate

        if not self.name.isidentifier():
            raise ValueError(f"a limit's name is a plain word like openai_chat, not {self.name!r}")
        began = time.monotonic()
        with ConnectionPool(conninfo(self.conn_id), min_size=1, max_size=2, open=True) as pool:
            limiter = Limiter(PostgresBucket(pool, self.name, [Rate(self.per_minute, Duration.MINUTE)]))
            if not limiter.try_acquire(self.name, blocking=True, timeout=timeout):
                raise LimitTimeout(
                    f"no request of {self.name} ({self.per_minute} a minute) was free within {timeout:g} s"
                )
        waited = time.monotonic() - began
        log.info("limit %s: waited %.2f s for one of %d requests a minute", self.name, waited, self.per_minute)
        return waited
