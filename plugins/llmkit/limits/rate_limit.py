"""Requests and tokens per minute, shared by all tasks on all workers.

pyrate-limiter's GCRA decides; its state is one number a quota, in Postgres, or in Valkey or Redis when the connection is
one of theirs. Providers count the same way, with a bucket that refills continuously. A caller that has to wait takes its
turn at once and sleeps until then, so callers are served in the order that they came in, and a process that dies leaves
no lock behind: only its own turn is lost.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import httpx2
    from pyrate_limiter import Rate

    from llmkit.limits.stores import Quota

log = logging.getLogger(__name__)

CONN_ID = os.environ.get("LLMKIT_LIMITS_CONN_ID", "llm_db")
"""Where quotas are kept unless a limit says otherwise: a Postgres, Redis or Valkey connection that all workers reach."""


class LimitTimeout(TimeoutError):
    """No turn within the time that the caller was willing to wait; nothing was spent on waiting for it."""


class _Wait(NamedTuple):
    """Seconds from now, and the time of the turn in milliseconds since the epoch."""

    seconds: float
    until: float


@dataclass(frozen=True)
class RateLimit:
    """At most ``per_minute`` requests, and ``tokens_per_minute`` tokens, under ``name``, whoever makes them.

    A burst of a minute's worth may go at once, less 5 %, so that a request which reaches the provider somewhat early is
    not one too many. ``minute`` is in seconds, for providers, and tests, that count by another interval.
    """

    name: str
    per_minute: int
    tokens_per_minute: int | None = None
    conn_id: str = CONN_ID
    minute: float = 60.0

    def acquire(self, timeout: float = 60.0, *, tokens: int = 0) -> float:
        """Wait for the turn of a request with ``tokens`` (prompt and expected completion), and return the seconds waited.

        Raises ``LimitTimeout`` at once when the turn would come later than in ``timeout`` seconds, and ``ValueError`` for
        more tokens than a minute has, which would never go.
        """
        began = time.monotonic()
        due = tokens
        while wait := self._take(due, tokens, timeout - (time.monotonic() - began)):
            # No connection is held while many sleep.
            time.sleep(wait.seconds)
            with self._quotas() as quota:
                if quota(f"{self.name}:requests").paused_until() <= wait.until:
                    break
            # Somebody was told to come later while this caller slept: its turn is off, and it takes another.
            due = 0
        waited = time.monotonic() - began
        log.info(
            "limit %s: waited %.2f s for one of %d requests in %g s", self.name, waited, self.per_minute, self.minute
        )
        return waited

    def settle(self, tokens: int, used: int) -> None:
        """Give back what of the acquired ``tokens`` was not ``used``, or take what was used beyond."""
        if self._tokens:
            with self._quotas() as quota:
                quota(f"{self.name}:tokens").add(int((used - tokens) * _emission(self._tokens)))

    def pause(self, seconds: float) -> None:
        """Nobody goes for so long, as a ``Retry-After`` asks; then there is room for one request, and for the next in turn."""
        with self._quotas() as quota:
            requests = quota(f"{self.name}:requests")
            until = requests.now() + seconds * 1000
            requests.pause(until)
            requests.raise_to(int(until * 1000 + (self._requests.burst - 1) * _emission(self._requests)))

    def observe(self, status: int, headers: Mapping[str, str], *, seconds_ago: float = 0.0) -> None:
        """Learn from a response to a request sent ``seconds_ago``: a ``Retry-After``, and what others left of the quota.

        OpenAI's ``x-ratelimit-*`` and Anthropic's ``anthropic-ratelimit-*`` headers are understood.
        """
        if status in (429, 503, 529) and (wait := retry_after(headers)):
            self.pause(wait)
        for kind, rate in (("requests", self._requests), ("tokens", self._tokens)):
            left, limit = _header(headers, kind, "remaining"), _header(headers, kind, "limit")
            if rate is not None and left is not None:
                with self._quotas() as quota:
                    of_kind = quota(f"{self.name}:{kind}")
                    # What is left is rounded down to a whole one. The provider counted when the request had been sent.
                    used = (limit or rate.limit) - left - 1
                    of_kind.raise_to(int((of_kind.now() - seconds_ago * 1000) * 1000 + used * _emission(rate)))

    def http_client(self, *, wait: float = 600.0, **options: Any) -> httpx2.Client:
        """An HTTP client for the SDKs of OpenAI and Anthropic (``http_client=``): each request, also a retry of the SDK's
        own, takes its turn, and each response is observed.

        A turn that would not come within ``wait`` seconds is a ``LimitTimeout``: OpenAI's SDK passes it on, Anthropic's has it
        as the cause of its ``APIConnectionError``. ``options`` are httpx2's.
        """
        import httpx2

        def take_turn(request: httpx2.Request) -> None:
            self.acquire(timeout=wait)
            request.extensions["llmkit_sent"] = time.monotonic()

        def learn(response: httpx2.Response) -> None:
            ago = time.monotonic() - response.request.extensions["llmkit_sent"]
            self.observe(response.status_code, response.headers, seconds_ago=ago)

        # What the SDKs set for clients of their own.
        options = {"timeout": 600.0, "follow_redirects": True, **options}
        return httpx2.Client(**options, event_hooks={"request": [take_turn], "response": [learn]})

    def _take(self, due: int, tokens: int, timeout: float) -> _Wait | None:
        """Take the next turn, and ``due`` tokens, of the ``tokens`` of the request; ``None`` when it is now."""
        with self._quotas() as quota:
            requests = quota(f"{self.name}:requests")
            now = requests.now()
            at, latest = now, now + timeout * 1000
            if self._tokens and due:
                # Tokens first: a request that waits for them must not hold a turn that others could use meanwhile.
                at = self._turn(quota(f"{self.name}:tokens"), self._tokens, due, at, latest)
            try:
                at = self._turn(requests, self._requests, 1, at, latest)
            except LimitTimeout:
                self.settle(tokens, 0)
                raise
            return _Wait(max(0.0, at - requests.now()) / 1000, at) if at > now else None

    def _turn(self, quota: Quota, rate: Rate, weight: int, at: float, latest: float) -> float:
        """Take the first turn from ``at`` on, in milliseconds."""
        from pyrate_limiter import GCRA

        while True:
            if at > latest:
                raise LimitTimeout(
                    f"no request of {self.name} ({self.per_minute} a minute) is free within the time that was given"
                )
            decision: Any = quota.check(GCRA(), [rate], int(at), weight)
            if decision.allowed:
                return at
            if decision.retry_after_ms is None:
                raise ValueError(f"{weight} tokens never fit into {self.name}, which has {rate.burst} a minute")
            at = int(at) + decision.retry_after_ms

    def _quotas(self) -> AbstractContextManager[Callable[[str], Quota]]:
        from llmkit.limits import stores

        return stores.opened(self.conn_id)

    @cached_property
    def _requests(self) -> Rate:
        return self._rate(self.per_minute)

    @cached_property
    def _tokens(self) -> Rate | None:
        return self._rate(self.tokens_per_minute) if self.tokens_per_minute else None

    def _rate(self, limit: int) -> Rate:
        from pyrate_limiter import Rate

        return Rate(limit, int(self.minute * 1000), burst=limit - limit // 20)


def _emission(rate: Rate) -> float:
    """Microseconds until one of the quota is refilled."""
    return rate.interval * 1000 / rate.limit


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds by ``retry-after-ms`` or ``Retry-After`` (a number or a date, RFC 9110 10.2.3); ``None`` without them."""
    from datetime import UTC, datetime
    from email.utils import parsedate_to_datetime

    try:
        if "retry-after-ms" in headers:
            return max(0.0, float(headers["retry-after-ms"]) / 1000)
        value = headers.get("retry-after") or headers.get("Retry-After") or ""
        if value.replace(".", "", 1).isdigit():
            return float(value)
        return max(0.0, (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None


def _header(headers: Mapping[str, str], kind: str, what: str) -> int | None:
    value = headers.get(f"x-ratelimit-{what}-{kind}") or headers.get(f"anthropic-ratelimit-{kind}-{what}") or ""
    return int(value) if value.isdigit() else None
