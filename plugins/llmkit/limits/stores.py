"""Where ``rate_limit`` keeps its numbers: pyrate-limiter's stores, and what a limit needs beyond them.

A quota's state is the time, in microseconds since the epoch, when all that was taken from it will be refilled.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from pyrate_limiter import Decision, Rate, RedisStateStore, StateAlgorithm, StateStore

from llmkit.database import connected

if TYPE_CHECKING:
    import psycopg
    import redis

_SQL = """
CREATE TABLE IF NOT EXISTS llm_limits (
    name text PRIMARY KEY,
    refilled_at bigint NOT NULL DEFAULT 0,
    paused_until double precision NOT NULL DEFAULT 0
)
"""

# A value in a hash that only grows, or that is counted from now on if it lies in the past.
_RAISE = "if tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0') < tonumber(ARGV[2]) then redis.call('HSET', KEYS[1], ARGV[1], ARGV[2]) end"
_ADD = "redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', math.max(tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or '0'), tonumber(ARGV[3])) + tonumber(ARGV[2])))"


class Quota(StateStore):
    """The state of one quota. Times are milliseconds since the epoch."""

    @abstractmethod
    def now(self) -> float:
        """The time by the store's clock, which is the same for all workers."""

    @abstractmethod
    def raise_to(self, refilled_at: int) -> None:
        """No earlier than this, in microseconds, is the quota refilled."""

    @abstractmethod
    def add(self, microseconds: int) -> None:
        """The quota is refilled so much later, or, if negative, earlier."""

    @abstractmethod
    def pause(self, until: float) -> None:
        """Keep ``until``, unless a later time is kept."""

    @abstractmethod
    def paused_until(self) -> float:
        """The latest time that was kept, 0 without one."""


@contextmanager
def opened(conn_id: str) -> Iterator[Callable[[str], Quota]]:
    """What opens a quota by its name, over the connection ``conn_id``. Raises ``ValueError`` for one of another type."""
    from airflow.sdk import Connection

    kind = Connection.get(conn_id).conn_type
    if kind == "redis":
        from airflow.providers.redis.hooks.redis import RedisHook

        with RedisHook(conn_id).get_conn() as client:
            yield partial(ValkeyQuota, client)
    elif kind == "postgres":
        # A worker that is stopped in the middle of a turn, and not killed, loses its lock too.
        timeouts = "-c idle_in_transaction_session_timeout=2000 -c lock_timeout=20000"
        with connected(conn_id, "llm_limits", _SQL, options=timeouts, application_name="llmkit.limits") as connection:
            yield partial(PostgresQuota, connection)
    else:
        raise ValueError(
            f"limits are kept in Postgres, Redis or Valkey; the connection {conn_id} is of the type {kind}"
        )


class PostgresQuota(Quota):
    """One row, locked while a turn is taken."""

    def __init__(self, connection: psycopg.Connection, name: str) -> None:
        self._connection, self._name = connection, name
        connection.execute("INSERT INTO llm_limits (name) VALUES (%s) ON CONFLICT DO NOTHING", [name])

    def _one(self, query: str, *values: Any) -> Any:
        row = self._connection.execute(query, values).fetchone()
        return row[0] if row else 0

    def now(self) -> float:
        return float(self._one("SELECT extract(epoch FROM clock_timestamp()) * 1000"))

    def check(self, algorithm: StateAlgorithm, rates: list[Rate], now: int, weight: int) -> Decision:
        with self._connection.transaction():
            kept = self._one("SELECT refilled_at FROM llm_limits WHERE name = %s FOR UPDATE", self._name)
            state, decision = algorithm.step(rates, (kept,), now, weight)
            if decision.allowed:
                self._set("%s", int(state[0]))
        return decision

    def read(self, algorithm: StateAlgorithm, rates: list[Rate]) -> tuple[int, ...]:
        return (self._one("SELECT refilled_at FROM llm_limits WHERE name = %s", self._name),)

    def reset(self) -> None:
        self._connection.execute("DELETE FROM llm_limits WHERE name = %s", [self._name])

    def raise_to(self, refilled_at: int) -> None:
        self._set("greatest(refilled_at, %s)", refilled_at)

    def add(self, microseconds: int) -> None:
        self._set("greatest(refilled_at, %s) + %s", int(self.now() * 1000), microseconds)

    def _set(self, expression: str, *values: int) -> None:
        self._connection.execute(
            f"UPDATE llm_limits SET refilled_at = {expression} WHERE name = %s", [*values, self._name]
        )

    def pause(self, until: float) -> None:
        self._connection.execute(
            "UPDATE llm_limits SET paused_until = greatest(paused_until, %s) WHERE name = %s", [until, self._name]
        )

    def paused_until(self) -> float:
        return float(self._one("SELECT paused_until FROM llm_limits WHERE name = %s", self._name))


class ValkeyQuota(RedisStateStore, Quota):
    """One hash in Valkey or Redis, which pyrate-limiter's script changes in one step and lets expire when it is idle."""

    def __init__(self, client: redis.Redis, name: str) -> None:
        super().__init__(client, f"llm_limits:{name}")

    def now(self) -> float:
        seconds, microseconds = self.redis.time()  # type: ignore[misc]
        return seconds * 1000 + microseconds / 1000

    def raise_to(self, refilled_at: int) -> None:
        self.redis.eval(_RAISE, 1, self.key, "tat1", refilled_at)

    def add(self, microseconds: int) -> None:
        self.redis.eval(_ADD, 1, self.key, "tat1", microseconds, int(self.now() * 1000))

    def pause(self, until: float) -> None:
        # A key of its own: the hash may expire before the pause is over.
        self.redis.eval(_RAISE, 1, f"{self.key}:pause", "until", until)
        self.redis.pexpireat(f"{self.key}:pause", int(until) + 60_000)

    def paused_until(self) -> float:
        return float(self.redis.hget(f"{self.key}:pause", "until") or 0)  # type: ignore[arg-type]
