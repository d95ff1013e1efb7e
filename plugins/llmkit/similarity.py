"""Cosine similarity, and choosing by similarity and diversity; vectors are lists of floats, as any embedding model gives them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

Embed = Callable[[list[str]], Sequence[Sequence[float]]]
"""Texts to their vectors, one each, such as ``OpenAIHook().create_embeddings``."""


def cosine(a: Sequence[Sequence[float]], b: Sequence[Sequence[float]]) -> np.ndarray:
    """The cosine similarity of each row of ``a`` to each row of ``b``, shape (len(a), len(b)), from -1 to 1.

    A vector of zeros is similar to nothing: 0.
    """
    import numpy as np

    left, right = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    lengths = np.outer(np.linalg.norm(left, axis=1), np.linalg.norm(right, axis=1))
    return np.divide(left @ right.T, lengths, out=np.zeros_like(lengths), where=lengths > 0)


def mmr(query: Sequence[float], candidates: Sequence[Sequence[float]], k: int, *, balance: float = 0.7) -> list[int]:
    """The indices of ``k`` candidates, best first, that are similar to the query and not to each other.

    Maximal marginal relevance (Carbonell and Goldstein, 1998): each next one has the highest ``balance`` × similarity to
    the query − (1 − ``balance``) × similarity to the nearest one that was chosen. ``balance`` 1 is similarity alone.
    """
    relevance = cosine(candidates, [query])[:, 0] if len(candidates) else []
    alike = cosine(candidates, candidates) if len(candidates) else []
    chosen: list[int] = []
    while len(chosen) < min(k, len(candidates)):
        left = [i for i in range(len(candidates)) if i not in chosen]
        chosen.append(
            max(left, key=lambda i: balance * relevance[i] - (1 - balance) * max((alike[i][j] for j in chosen), default=0.0))
        )  # fmt: skip
    return chosen
