"""OpenAI embeddings (https://platform.openai.com/docs/api-reference/embeddings)."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import bpe_openai
from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keyless.http import bodies, embeddings
from keyless.http.adapter import adapter
from keyless.neutral import BadRequest
from keyless.providers.openai.errors import DIALECT

NATIVE_DIMENSIONS = {"text-embedding-3-large": 3072, "text-embedding-3-small": 1536, "text-embedding-ada-002": 1536}


class EmbeddingRequest(bodies.Loose):
    model: str = Field(min_length=1)
    input: str | list[str] | list[int] | list[list[int]]
    encoding_format: Literal["float", "base64"] | None = "float"
    dimensions: int | None = Field(None, ge=1, le=4096)


def _read_ids(value: Any) -> Any:
    """``value`` with the texts that token ids stand for, which LangChain sends; OpenAI's models for embeddings share a vocabulary.

    Raises ``BadRequest`` for ids that are none of it.
    """
    if not isinstance(value, list) or not value or isinstance(value[0], str):
        return value
    vocabulary = bpe_openai.get_encoding("cl100k_base")
    try:
        texts = [value] if isinstance(value[0], int) else value
        if min(min(ids, default=0) for ids in texts) < 0:
            raise KeyError
        return [vocabulary.decode(ids) for ids in texts]
    except (KeyError, OverflowError):
        raise BadRequest("Invalid 'input': a token id is out of range.", param="input") from None


@adapter(DIALECT)
async def create(request: Request) -> Response:
    body = await bodies.read(request, EmbeddingRequest)
    texts = embeddings.as_texts(await asyncio.to_thread(_read_ids, body.input))
    vectors, counts = await embeddings.embed(request, texts)
    vectors = embeddings.resized(vectors, body.dimensions or NATIVE_DIMENSIONS.get(body.model, vectors.shape[1]))
    tokens = sum(counts)
    return JSONResponse(
        {
            "object": "list",
            "data": [
                {"object": "embedding", "index": i, "embedding": vector}
                for i, vector in enumerate(embeddings.encoded(vectors, body.encoding_format or "float"))
            ],
            "model": body.model,
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
    )


routes = [Route("/v1/embeddings", create, methods=["POST"])]
