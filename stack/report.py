"""What a run cost, as a reader wants to see it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from llmkit.ledger import Spending


def bill(spent: Spending | None) -> tuple[str, str, str]:
    """Calls to models, their tokens, and what these cost at list price. Dashes where nobody knows."""
    if spent is None:
        return "–", "–", "–"
    return str(spent.calls), str(spent.input_tokens + spent.output_tokens), usd(spent)


def usd(spent: Spending) -> str:
    """A sum with as many digits as a small one needs; ``+ ?`` where some calls have no known price."""
    digits = 6 if spent.cost_usd < 1 else 2
    return f"${spent.cost_usd:.{digits}f}" + (" + ?" if spent.unpriced else "")
