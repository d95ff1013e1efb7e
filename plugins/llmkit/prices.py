"""List prices of models, from the data that ``genai-prices`` carries; nothing is asked over the network."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit


@dataclass(frozen=True)
class Used:
    """What a call used: tokens, ``None`` where the provider does not say, and USD, ``None`` without a known price."""

    provider: str
    model: str | None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    cost: Decimal | None = None


def cost(
    provider: str, model: str, *, input_tokens: int, output_tokens: int = 0, cached_tokens: int = 0
) -> Decimal | None:
    """USD for so many tokens, ``None`` when the model's price is not known.

    ``input_tokens`` are all of the prompt, ``cached_tokens`` those of them that the provider read from its cache.
    """
    from genai_prices import Usage

    return _price(
        Usage(input_tokens=input_tokens, output_tokens=output_tokens, cache_read_tokens=cached_tokens), provider, model
    )


def of_reply(told: dict[str, Any], provider: str, flavor: str, url: str, model: str | None) -> Used:
    """Usage and cost by what ``llmkit.replies`` took from a reply; ``model`` is the one that was asked for."""
    provider = _provider_at(urlsplit(url).netloc) or provider
    model = told.get("model") or told.get("modelVersion") or model
    used = _usage(told, provider, flavor)
    if used is None:
        return Used(provider, model)
    price = _price(used, provider, model) if model else None
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


def _price(usage: Any, provider: str, model: str) -> Decimal | None:
    from genai_prices import calc_price

    try:
        return calc_price(usage, model, provider_id=provider).total_price
    except LookupError:
        return None


@lru_cache(maxsize=256)
def _provider_at(host: str) -> str | None:
    """Whose API answers at ``host``, by genai-prices' patterns; ``None`` for loopback, proxies and others."""
    from genai_prices.data_snapshot import get_snapshot

    try:
        return get_snapshot().find_provider(None, None, f"https://{host}").id
    except LookupError:
        return None
