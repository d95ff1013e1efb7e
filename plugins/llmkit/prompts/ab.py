"""A/B tests: which arm an item belongs to, by its name alone, and how sure a difference between the arms is."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from statistics import NormalDist


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


def difference(right: int, of: int, candidate_right: int, candidate_of: int) -> tuple[float, float]:
    """Between what and what the candidate's share of right answers is higher than the other's, in 95 of 100 experiments.

    By Newcombe (1998), method 10: Wilson's intervals of both shares, combined. Good for small numbers and for shares near 0
    and 1. An arm without answers tells nothing: the interval is then from -1 to 1.
    """
    if not of or not candidate_of:
        return -1.0, 1.0
    share, candidate = right / of, candidate_right / candidate_of
    low, high = _wilson(share, of)
    candidate_low, candidate_high = _wilson(candidate, candidate_of)
    below = math.hypot(candidate - candidate_low, high - share)
    above = math.hypot(candidate_high - candidate, share - low)
    return candidate - share - below, candidate - share + above


def _wilson(share: float, of: int) -> tuple[float, float]:
    z = NormalDist().inv_cdf(0.975)
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z / (1 + z * z / of) * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    return middle - half, middle + half
