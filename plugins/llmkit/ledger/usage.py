"""What a call used and what that costs, by what its reply told."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from llmkit import prices


@dataclass(frozen=True)
class Used:
    """What a call used: tokens, ``None`` where the provider does not say, and USD, ``None`` without a known price."""

    provider: str
    model: str | None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    cost: Decimal | None = None


def of_reply(told: dict[str, Any], provider: str, flavor: str, url: str, model: str | None) -> Used:
    """Usage and cost by what ``replies`` took from a reply; ``model`` is the one that was asked for."""
    provider = _provider_at(urlsplit(url).netloc) or provider
    model = told.get("model") or told.get("modelVersion") or model
    used = _usage(told, provider, flavor)
    if used is None:
        return Used(provider, model)
    price = prices.of_usage(used, provider, model) if model else None
    return Used(provider, model, used.input_tokens, used.output_tokens or 0, used.cache_read_tokens, price)


def _usage(told: dict[str, Any], provider: str, flavor: str) -> Any | None:
    from genai_prices import Usage
    from genai_prices.data_snapshot import get_snapshot

    usage = told.get("usage") or {}
    if set(usage) == {"input", "output"}:  # read by us, where genai-prices has no reader
        return Usage(input_tokens=usage["input"], output_tokens=usage["output"])
    # Others that speak OpenAI's API may have only one way to be read.
    for name in (flavor, "default"):
        try:
            _, used = get_snapshot().find_provider(None, provider, None).extract_usage(told, api_flavor=name)
            return used
        except (ValueError, LookupError, TypeError):
            continue
    return None


@lru_cache(maxsize=256)
def _provider_at(host: str) -> str | None:
    """Whose API answers at ``host``, by genai-prices' patterns; ``None`` for loopback, proxies and others."""
    from genai_prices.data_snapshot import get_snapshot

    try:
        return get_snapshot().find_provider(None, None, f"https://{host}").id
    except LookupError:
        return None
