"""Embeddings for every provider's API: counted, metered, resized, and encoded."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from starlette.requests import Request

from keyless.http import faults
from keyless.http.connection import while_connected
from keyless.http.context import answerer, is_in_batch, key_of, note_asked, note_usage
from keyless.neutral import BadRequest, ContextOverflow, Usage

MAX_TOKENS = 8192
"""Tokens that a text may have, unless a provider's own limit is lower."""
MAX_TEXTS = 2048


async def embed(request: Request, texts: list[str], *, limit: int | None = MAX_TOKENS) -> tuple[np.ndarray, list[int]]:
    """Unit vectors of ``texts``, shape ``(len(texts), 384)``, and each text's tokens.

    Raises ``ContextOverflow`` for a text of more than ``limit`` tokens; without one, the beginning of the text is read.
    """
    model = answerer(request)
    note_asked(request, {"texts": texts})
    key = key_of(request)
    limits = [n for n in (limit, key.directives.context) if n is not None]
    counts = await model.count_for_embedding(texts)
    if limits and max(counts, default=0) > min(limits):
        raise ContextOverflow(max(counts), min(limits), param="input")
    claim = faults.Claim(None if is_in_batch(request) else key.tokens, sum(counts))
    used = 0
    try:
        vectors = await while_connected(request, model.embed(texts))
        used = sum(counts)
    finally:
        claim.settle(used)
    note_usage(request, Usage(used, 0))
    return vectors, counts


def resized(vectors: np.ndarray, dimensions: int) -> np.ndarray:
    """Unit vectors of ``dimensions``: cut and normalised again, or filled up with zeros, which changes no similarity."""
    if dimensions < vectors.shape[1]:
        cut = vectors[:, :dimensions]
        return cut / np.maximum(np.linalg.norm(cut, axis=1, keepdims=True), 1e-12)
    return np.pad(vectors, ((0, 0), (0, dimensions - vectors.shape[1])))


def as_texts(value: Any) -> list[str]:
    """Raises ``BadRequest`` for an empty input, for token ids, and for more texts than one call may have."""
    texts = [value] if isinstance(value, str) else value
    if not texts:
        raise BadRequest("Invalid 'input': empty array.", param="input")
    if not all(isinstance(t, str) for t in texts):
        raise BadRequest("Invalid 'input': send texts; this API has no token ids.", param="input")
    if len(texts) > MAX_TEXTS:
        raise BadRequest(f"Invalid 'input': at most {MAX_TEXTS} texts, got {len(texts)}.", param="input")
    if any(not t for t in texts):
        raise BadRequest("Invalid 'input': texts cannot be empty.", param="input")
    return texts


def encoded(vectors: np.ndarray, kind: str) -> Any:
    """Unit ``vectors`` as the embedding type ``kind``: 8-bit ones have 127 for 0.25, binary ones a bit for each sign."""
    little = vectors.astype("<f4")
    if kind == "float":
        return little.tolist()
    if kind == "base64":
        return [base64.b64encode(v.tobytes()).decode() for v in little]
    if kind in ("int8", "uint8"):
        # Components of unit vectors are small: of their range, a quarter is used by nearly all texts.
        whole = np.clip(np.rint(little * 4 * 127), -128, 127).astype(int)
        return (whole + 128 if kind == "uint8" else whole).tolist()
    bits = np.packbits(little > 0, axis=1).astype(int)
    return (bits - 128 if kind == "binary" else bits).tolist()
