"""Which model for which work: what the same work costs on each.

Models are named as pydantic-ai names them, ``provider:model``, such as ``anthropic:claude-sonnet-5``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from llmkit import prices

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
