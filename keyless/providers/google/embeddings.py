"""Google's embeddings: Vertex AI's predict, and embedContent and batchEmbedContents (https://ai.google.dev/api/embeddings)."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from keyless.http import bodies, context, embeddings
from keyless.http.adapter import adapter
from keyless.neutral import BadRequest
from keyless.providers.google.codec import Camel, Content, model_routes, note
from keyless.providers.google.errors import DIALECT

MAX_INSTANCES = 250
NATIVE_DIMENSIONS = {"gemini-embedding-001": 3072, "gemini-embedding-2": 3072}
DEFAULT_DIMENSIONS = 768


class Instance(Camel):
    content: str = Field(min_length=1)


class Parameters(Camel):
    output_dimensionality: int | None = Field(None, ge=1, le=4096)
    auto_truncate: bool | None = True


class PredictRequest(Camel):
    instances: list[Instance] = Field(min_length=1, max_length=MAX_INSTANCES)
    parameters: Parameters | None = None


class EmbedConfig(Camel):
    output_dimensionality: int | None = Field(None, ge=1, le=4096)
    auto_truncate: bool | None = None


class EmbedRequest(Camel):
    content: Content
    output_dimensionality: int | None = Field(None, ge=1, le=4096)
    embed_content_config: EmbedConfig | None = None

    @property
    def dimensions(self) -> int | None:
        return (self.embed_content_config or EmbedConfig()).output_dimensionality or self.output_dimensionality


class BatchRequest(Camel):
    requests: list[EmbedRequest] = Field(min_length=1, max_length=MAX_INSTANCES)


def _text(content: Content) -> str:
    text = "\n".join(p.text for p in content.parts or () if p.text)
    if not text:
        raise BadRequest("The content to embed has no text.", param="content")
    return text


def _sized(request: Request, vectors: np.ndarray, dimensions: int | None) -> np.ndarray:
    return embeddings.resized(
        vectors, dimensions or NATIVE_DIMENSIONS.get(request.path_params["model"], DEFAULT_DIMENSIONS)
    )


@adapter(DIALECT)
async def predict(request: Request) -> Response:
    body = await bodies.read(request, PredictRequest)
    note(request)
    parameters = body.parameters or Parameters()
    limit = context.answerer(request).embedding_tokens if parameters.auto_truncate is False else embeddings.MAX_TOKENS
    vectors, counts = await embeddings.embed(request, [i.content for i in body.instances], limit=limit)
    read = context.answerer(request).embedding_tokens
    predictions = [
        {"embeddings": {"values": v, "statistics": {"token_count": c, "truncated": c > read}}}
        for v, c in zip(_sized(request, vectors, parameters.output_dimensionality).tolist(), counts, strict=True)
    ]
    characters = sum(len("".join(i.content.split())) for i in body.instances)
    return JSONResponse({"predictions": predictions, "metadata": {"billableCharacterCount": characters}})


@adapter(DIALECT)
async def embed(request: Request) -> Response:
    body = await bodies.read(request, EmbedRequest)
    note(request)
    vectors, counts = await embeddings.embed(request, [_text(body.content)])
    reply: dict[str, Any] = {"embedding": {"values": _sized(request, vectors, body.dimensions)[0].tolist()}}
    if "publisher" in request.path_params:
        reply |= {
            "usageMetadata": {"promptTokenCount": counts[0]},
            "truncated": counts[0] > context.answerer(request).embedding_tokens,
        }
    return JSONResponse(reply)


@adapter(DIALECT)
async def embed_batch(request: Request) -> Response:
    body = await bodies.read(request, BatchRequest)
    note(request)
    vectors, _ = await embeddings.embed(request, [_text(r.content) for r in body.requests])
    sized = [_sized(request, v[None], r.dimensions)[0] for v, r in zip(vectors, body.requests, strict=True)]
    return JSONResponse({"embeddings": [{"values": v.tolist()} for v in sized]})


routes = model_routes({"predict": predict, "embedContent": embed, "batchEmbedContents": embed_batch})
