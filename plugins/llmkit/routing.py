"""Which model for which work: what the same work costs on each, and who answers when one is down.

Models are named as pydantic-ai names them, ``provider:model``, such as ``anthropic:claude-sonnet-5``.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Generic, TypeVar

from llmkit import prices
from llmkit.breakers import Breaker
from llmkit.limits import LimitTimeout
from llmkit.urls import without_secrets

log = logging.getLogger(__name__)
Answer = TypeVar("Answer")

_PROVIDERS = {"bedrock": "aws", "google-cloud": "google", "google-gla": "google", "google-vertex": "google"}


@dataclass(frozen=True)
class Quote:
    """What so many tokens cost on ``model``, in USD; ``None`` where no list price is known."""

    model: str
    input_tokens: int
    output_tokens: int
    cost: Decimal | None


def quotes(models: Iterable[str], *, input_tokens: int, output_tokens: int) -> list[Quote]:
    """The price of the same tokens on each of ``models``, cheapest first, those without a price last.

    Another model splits the same text into other tokens, so this compares prices, not bills: the ledger has the bills.
    Raises ``ValueError`` for a model without a provider.
    """
    found = [
        Quote(model, input_tokens, output_tokens, prices.cost(*_split(model), input_tokens=input_tokens, output_tokens=output_tokens))
        for model in models
    ]  # fmt: skip
    return sorted(found, key=lambda quote: (quote.cost is None, quote.cost or 0, quote.model))


def _split(model: str) -> tuple[str, str]:
    provider, colon, name = model.partition(":")
    if not colon or not name:
        raise ValueError(f"{model!r} names no provider: write it like anthropic:claude-sonnet-5")
    # openai-chat and openai-responses are two APIs of one provider.
    provider = provider.removesuffix("-chat").removesuffix("-responses")
    return _PROVIDERS.get(provider, provider), name


# What each library calls an error of the network. A missing file is an OSError too, and no provider's fault.
_NETWORK = {
    *(("builtins", name) for name in ("ConnectionError", "TimeoutError")),
    *(("socket", name) for name in ("gaierror", "herror")),
    ("ssl", "SSLError"),
    *((name, "TransportError") for name in ("httpx", "httpx2", "google")),
    *((name, "APIConnectionError") for name in ("openai", "anthropic")),
    *(("botocore", name) for name in ("ConnectionError", "HTTPClientError")),
    *(("aiohttp", name) for name in ("ClientConnectionError", "ClientPayloadError")),
    *(("requests", name) for name in ("ConnectionError", "Timeout", "ChunkedEncodingError")),
    *(("urllib3", name) for name in ("MaxRetryError", "ProtocolError", "TimeoutError")),
    ("pydantic_ai", "ModelAPIError"),
}
_UNREACHABLE = {errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH}


class AllDown(RuntimeError):
    """No connection of a chain could answer; the text says for each why."""


@dataclass(frozen=True)
class Routed(Generic[Answer]):
    """An ``answer``, the connection that gave it, and those ``passed`` over before, each with the reason."""

    answer: Answer
    conn_id: str
    passed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Chain:
    """Connections in the order of preference, each behind a breaker that all tasks share.

    ``failures`` in a row open it for ``cooldown`` seconds: in that time the connection is not even asked.
    """

    conn_ids: Sequence[str]
    failures: int = 3
    cooldown: float = 60.0
    db_conn_id: str = "llm_db"

    def breaker(self, conn_id: str) -> Breaker:
        """The breaker of one of the connections."""
        return Breaker(f"provider:{conn_id}", self.failures, self.cooldown, self.db_conn_id)

    def health(self) -> dict[str, str]:
        """The state of each connection's breaker: ``closed``, ``open`` or ``half-open``."""
        return {conn_id: self.breaker(conn_id).state for conn_id in self.conn_ids}

    def call(self, ask: Callable[[str], Answer]) -> Routed[Answer]:
        """``ask(conn_id)`` of the first connection that can answer.

        An outage, a quota that is used up or a refused key counts against the connection, and the next one is asked. Any
        other error is the request's own, which no provider would take, and is raised as it is. Raises ``AllDown``.
        """
        passed: dict[str, str] = {}
        for conn_id in self.conn_ids:
            breaker = self.breaker(conn_id)
            if not breaker.allows():
                passed[conn_id] = f"not asked: its breaker is open after {breaker.reason}"
                continue
            try:
                answer = ask(conn_id)
            except Exception as error:
                if not is_providers_fault(error):
                    breaker.succeeded()
                    raise
                passed[conn_id] = f"{type(error).__name__}: {without_secrets(str(error)[:2000])}"[:300]
                breaker.failed(passed[conn_id])
                log.warning("%s does not answer (%s); the next one is asked", conn_id, passed[conn_id])
                continue
            breaker.succeeded()
            return Routed(answer, conn_id, passed)
        raise AllDown("no connection answers: " + "; ".join(f"{conn_id}: {why}" for conn_id, why in passed.items()))


def is_providers_fault(error: BaseException) -> bool:
    """Whether another provider might answer: no connection, a time-out, HTTP 401, 403, 408, 429 or 5xx, from any SDK.

    A limit of the caller's own that ran out of time (``LimitTimeout``) and errors of files are not.
    """
    status = status_of(error)
    if status is not None:
        return status in (401, 403, 408, 429) or status >= 500
    if any(isinstance(one, LimitTimeout) for one in _causes(error)):
        return False  # a limit of the caller's own, also where an SDK calls it a failed connection
    kinds = {(cls.__module__.split(".")[0], cls.__name__) for cls in type(error).__mro__}
    return bool(kinds & _NETWORK) or (isinstance(error, OSError) and error.errno in _UNREACHABLE)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    for _ in range(10):  # nobody keeps exceptions from causing each other
        if error is None:
            return
        yield error
        error = error.__cause__


def status_of(error: BaseException) -> int | None:
    """The HTTP status in an SDK's error, also where another error was raised from it; ``None`` without one."""
    for one in (error, error.__cause__):
        for value in (getattr(one, "status_code", None), getattr(one, "code", None)):
            if isinstance(value, int):
                return value
        response = getattr(one, "response", None)
        if isinstance(response, dict):  # botocore
            return response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return None
