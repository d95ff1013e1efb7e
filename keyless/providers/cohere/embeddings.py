"""Cohere embed and rerank v2 (https://docs.cohere.com/reference/embed, …/rerank)."""

from __future__ import annotations

import asyncio
from typing import Literal

import numpy as np
from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keyless.http import attachments, bodies, context, embeddings
from keyless.http.adapter import adapter
from keyless.http.chat_shape import ImageUrl
from keyless.http.stamps import new_id
from keyless.neutral import BadRequest
from keyless.providers.cohere.errors import DIALECT
from keyless.providers.cohere.tokens import meta

MAX_TEXTS = 96
MAX_DOCUMENTS = 1000
NATIVE_DIMENSIONS = {"embed-v4.0": 1536, "embed-english-light-v3.0": 384, "embed-multilingual-light-v3.0": 384}
DEFAULT_DIMENSIONS = 1024
_DOCUMENTS_A_SEARCH = 100


class InputPart(bodies.Loose):
    type: Literal["text", "image_url"]
    text: str | None = None
    image_url: ImageUrl | None = None


class Input(bodies.Loose):
    content: list[InputPart] = Field(min_length=1)


class EmbedRequest(bodies.Loose):
    model: str = Field(min_length=1)
    input_type: Literal["search_document", "search_query", "classification", "clustering", "image"]
    texts: list[str] | None = Field(None, max_length=MAX_TEXTS)
    images: list[str] | None = Field(None, max_length=MAX_TEXTS)
    inputs: list[Input] | None = Field(None, max_length=MAX_TEXTS)
    embedding_types: list[Literal["float", "int8", "uint8", "binary", "ubinary", "base64"]] | None = None
    output_dimension: int | None = Field(None, ge=1, le=4096)
    truncate: Literal["NONE", "START", "END"] = "END"
    max_tokens: int | None = Field(None, ge=1)


class RerankRequest(bodies.Loose):
    model: str = Field(min_length=1)
    query: str = Field(min_length=1)
    documents: list[str] = Field(min_length=1, max_length=MAX_DOCUMENTS)
    top_n: int | None = Field(None, ge=1)
    max_tokens_per_doc: int | None = Field(None, ge=1)


async def _texts(request: Request, body: EmbedRequest) -> list[str]:
    """What is embedded: of an image its description and the text in it. Raises ``BadRequest``."""
    given = [g for g in (body.texts, body.images, body.inputs) if g]
    if len(given) != 1:
        raise BadRequest("give one of texts, images and inputs, and at least one element in it", param="texts")
    if body.images:
        return await _described(request, body.images)
    if body.inputs:
        images = [p.image_url.url for i in body.inputs for p in i.content if p.image_url]
        shown = iter(await _described(request, images))
        return ["\n".join(next(shown) if p.image_url else p.text or "" for p in i.content) for i in body.inputs]
    return [t or " " for t in body.texts or ()]


async def _described(request: Request, urls: list[str]) -> list[str]:
    sent = await asyncio.to_thread(lambda: [attachments.image(url, "images") for url in urls])
    return [shown.in_words for shown in await context.answerer(request).look(sent)]


@adapter(DIALECT)
async def embed(request: Request) -> Response:
    body = await bodies.read(request, EmbedRequest)
    texts = await _texts(request, body)
    # Only `NONE` refuses what is too long for the model.
    most = context.answerer(request).embedding_tokens
    limit = most if body.truncate == "NONE" else None
    if body.truncate == "START":
        # Of a text that is too long its end: about as many characters as the model reads.
        texts = [t[-4 * most :] for t in texts]
    vectors, counts = await embeddings.embed(request, texts, limit=limit)
    vectors = embeddings.resized(
        vectors, body.output_dimension or NATIVE_DIMENSIONS.get(body.model, DEFAULT_DIMENSIONS)
    )
    billed = {"images": len(texts)} if body.images else {"input_tokens": sum(counts)}
    return JSONResponse(
        {
            "id": new_id(""),
            "response_type": "embeddings_by_type",
            "embeddings": {
                kind: embeddings.encoded(vectors, kind) for kind in dict.fromkeys(body.embedding_types or ["float"])
            },
            "texts": body.texts or [],
            "meta": meta(**billed),
        }
    )


@adapter(DIALECT)
async def rerank(request: Request) -> Response:
    body = await bodies.read(request, RerankRequest)
    documents = body.documents
    if body.max_tokens_per_doc:
        documents = [d[: 4 * body.max_tokens_per_doc] for d in documents]
    vectors, _ = await embeddings.embed(request, [body.query, *(d or " " for d in documents)], limit=None)
    # Cosine similarity, which is rarely below 0, as the share from 0 to 1 that Cohere's scores are.
    scores = np.clip(vectors[1:] @ vectors[0], 0.0, 1.0)
    order = sorted(range(len(documents)), key=lambda i: (-scores[i], i))[: body.top_n]
    return JSONResponse(
        {
            "id": new_id(""),
            "results": [{"index": i, "relevance_score": round(float(scores[i]), 6)} for i in order],
            "meta": meta(search_units=-(-len(documents) // _DOCUMENTS_A_SEARCH)),
        }
    )


routes = [
    Route("/v2/embed", embed, methods=["POST"]),
    Route("/v2/rerank", rerank, methods=["POST"]),
]
