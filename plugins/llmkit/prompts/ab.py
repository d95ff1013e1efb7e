"""A/B tests: which arm an item belongs to, by its name alone, so that no assignment has to be kept."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping


def assign(item: str, weights: Mapping[str, float], *, experiment: str) -> str:
    """The arm of ``item``, such as a customer's id: always the same one while the weights stand.

    Each arm gets its share of the items: ``weights`` are relative, ``{"production": 9, "candidate": 1}``. When a weight is
    changed, items move only to the arms that grow; another ``experiment`` divides the items anew. By weighted rendezvous
    hashing (Schindelhauer and Schomaker, 2005): the arm with the lowest −ln(u) / weight, where u is its hash in (0, 1).
    Raises ``ValueError`` for weights that are negative or all 0.
    """
    if any(weight < 0 or not math.isfinite(weight) for weight in weights.values()) or not any(weights.values()):
        raise ValueError(f"weights must not be negative, and one must be above 0: {dict(weights)}")
    return min(
        (arm for arm, weight in weights.items() if weight), key=lambda arm: -math.log(_unit(experiment, arm, item)) / weights[arm]
    )  # fmt: skip


def _unit(*parts: str) -> float:
    # The length of each part is hashed too, or ("a", "bc") would be ("ab", "c").
    text = "".join(f"{len(part)}:{part}" for part in parts)
    return (int.from_bytes(hashlib.sha256(text.encode()).digest()[:7]) + 0.5) / 2**56
