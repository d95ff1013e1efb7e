"""List prices of models, from the data that ``genai-prices`` carries; nothing is asked over the network."""

from __future__ import annotations

from decimal import Decimal
from typing import Any


def cost(
    provider: str, model: str, *, input_tokens: int, output_tokens: int = 0, cached_tokens: int = 0
) -> Decimal | None:
    """USD for so many tokens, ``None`` when the model's price is not known.

    ``input_tokens`` are all of the prompt, ``cached_tokens`` those of them that the provider read from its cache.
    """
    from genai_prices import Usage

    return of_usage(
        Usage(input_tokens=input_tokens, output_tokens=output_tokens, cache_read_tokens=cached_tokens), provider, model
    )


def of_usage(usage: Any, provider: str, model: str) -> Decimal | None:
    """USD for a ``genai_prices.Usage``, ``None`` when the model's price is not known."""
    from genai_prices import calc_price

    try:
        return calc_price(usage, model, provider_id=provider).total_price
    except LookupError:
        return None
