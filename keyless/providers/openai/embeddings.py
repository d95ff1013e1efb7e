"""OpenAI embeddings (https://platform.openai.com/docs/api-reference/embeddings)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keyless.http import bodies, embeddings
from keyless.http.adapter import adapter
from keyless.providers.openai.errors import DIALECT

NATIVE_DIMENSIONS = {"text-embedding-3-large": 3072, "text-embedding-3-small": 1536, "text-embedding-ada-002": 1536}


class EmbeddingRequest(bodies.Loose):
    model: str = Field(min_length=1)
    input: str | list[str] | list[int] | list[list[int]]
    encoding_format: Literal["float", "base64"] | None = "float"
    dimensions: int | None = Field(None, ge=1, le=4096)


@adapter(DIALECT)
async def create(request: Request) -> Response:
    body = await bodies.read(request, EmbeddingRequest)
    texts = embeddings.as_texts(body.input)
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
