"""OpenAI embeddings (https://platform.openai.com/docs/api-reference/embeddings)."""

from __future__ import annotations

import base64
from typing import Any, Literal

import numpy as np
from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keyless import wire
from keyless.embedder import DIMENSIONS
from keyless.neutral import BadRequest
from keyless.openai_errors import OPENAI

MAX_INPUTS = 2048
NATIVE_DIMENSIONS = {"text-embedding-3-large": 3072, "text-embedding-3-small": 1536, "text-embedding-ada-002": 1536}


class EmbeddingRequest(wire.Loose):
    model: str = Field(min_length=1)
    input: str | list[str] | list[int] | list[list[int]]
    encoding_format: Literal["float", "base64"] | None = "float"
    dimensions: int | None = Field(None, ge=1, le=4096)


def resized(vectors: np.ndarray, dimensions: int) -> np.ndarray:
    """Unit vectors of ``dimensions``: cut and normalised again, or filled up with zeros, which changes no similarity."""
    if dimensions < vectors.shape[1]:
        cut = vectors[:, :dimensions]
        return cut / np.maximum(np.linalg.norm(cut, axis=1, keepdims=True), 1e-12)
    return np.pad(vectors, ((0, 0), (0, dimensions - vectors.shape[1])))


def as_texts(value: Any) -> list[str]:
    """Raises ``BadRequest`` for an empty input or for token ids, whose vocabulary keyless does not have."""
    texts = [value] if isinstance(value, str) else value
    if not texts:
        raise BadRequest("Invalid 'input': empty array.", param="input")
    if not all(isinstance(t, str) for t in texts):
        raise BadRequest("Invalid 'input': keyless reads texts, not token ids; send strings.", param="input")
    if len(texts) > MAX_INPUTS:
        raise BadRequest(f"Invalid 'input': at most {MAX_INPUTS} texts, got {len(texts)}.", param="input")
    if any(not t for t in texts):
        raise BadRequest("Invalid 'input': texts cannot be empty.", param="input")
    return texts


@wire.adapter(OPENAI)
async def create(request: Request) -> Response:
    body = await wire.read(request, EmbeddingRequest)
    texts = as_texts(body.input)
    vectors, counts = await wire.embed(request, texts)
    vectors = resized(vectors, body.dimensions or NATIVE_DIMENSIONS.get(body.model, DIMENSIONS))
    tokens = sum(counts)
    return JSONResponse(
        {
            "object": "list",
            "data": [
                {"object": "embedding", "index": i, "embedding": _encoded(v, body.encoding_format)}
                for i, v in enumerate(vectors)
            ],
            "model": body.model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
    )


def _encoded(vector: np.ndarray, form: str | None) -> Any:
    little = vector.astype("<f4")
    return base64.b64encode(little.tobytes()).decode() if form == "base64" else little.tolist()


routes = [Route("/v1/embeddings", create, methods=["POST"])]
