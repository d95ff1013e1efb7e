"""Cohere embed and rerank v2 (https://docs.cohere.com/reference/embed, …/rerank)."""

from __future__ import annotations

import asyncio
import base64
from typing import Any, Literal

import numpy as np
from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keyless import pictures, wire
from keyless.cohere_chat import meta
from keyless.cohere_errors import COHERE
from keyless.embedder import MAX_TOKENS
from keyless.neutral import BadRequest
from keyless.openai_chat import ImageUrl
from keyless.openai_embeddings import resized

MAX_TEXTS = 96
MAX_DOCUMENTS = 1000
NATIVE_DIMENSIONS = {"embed-v4.0": 1536, "embed-english-light-v3.0": 384, "embed-multilingual-light-v3.0": 384}
DEFAULT_DIMENSIONS = 1024
_DOCUMENTS_A_SEARCH = 100


class InputPart(wire.Loose):
    type: Literal["text", "image_url"]
    text: str | None = None
    image_url: ImageUrl | None = None


class Input(wire.Loose):
    content: list[InputPart] = Field(min_length=1)


class EmbedRequest(wire.Loose):
    model: str = Field(min_length=1)
    input_type: Literal["search_document", "search_query", "classification", "clustering", "image"]
    texts: list[str] | None = Field(None, max_length=MAX_TEXTS)
    images: list[str] | None = Field(None, max_length=MAX_TEXTS)
    inputs: list[Input] | None = Field(None, max_length=MAX_TEXTS)
    embedding_types: list[Literal["float", "int8", "uint8", "binary", "ubinary", "base64"]] | None = None
    output_dimension: int | None = Field(None, ge=1, le=4096)
    truncate: Literal["NONE", "START", "END"] = "END"
    max_tokens: int | None = Field(None, ge=1)


class RerankRequest(wire.Loose):
    model: str = Field(min_length=1)
    query: str = Field(min_length=1)
    documents: list[str] = Field(min_length=1, max_length=MAX_DOCUMENTS)
    top_n: int | None = Field(None, ge=1)
    max_tokens_per_doc: int | None = Field(None, ge=1)


def _texts(body: EmbedRequest) -> list[str]:
    """What is embedded: of an image its description. Raises ``BadRequest``."""
    given = [g for g in (body.texts, body.images, body.inputs) if g]
    if len(given) != 1:
        raise BadRequest("give one of texts, images and inputs, and at least one element in it", param="texts")
    if body.images:
        return [_described(url) for url in body.images]
    if body.inputs:
        return ["\n".join(_part(p) for p in i.content) for i in body.inputs]
    return [t or " " for t in body.texts or ()]


def _described(url: str) -> str:
    return pictures.describe(pictures.from_base64(url, "images"), "images")


def _part(part: InputPart) -> str:
    return _described(part.image_url.url) if part.image_url else part.text or ""


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


@wire.adapter(COHERE)
async def embed(request: Request) -> Response:
    body = await wire.read(request, EmbedRequest)
    texts = await asyncio.to_thread(_texts, body)
    # Only `NONE` refuses what is too long for the model.
    limit = MAX_TOKENS if body.truncate == "NONE" else None
    if body.truncate == "START":
        texts = [_end_of(t) for t in texts]
    vectors, counts = await wire.embed(request, texts, limit=limit)
    vectors = resized(vectors, body.output_dimension or NATIVE_DIMENSIONS.get(body.model, DEFAULT_DIMENSIONS))
    billed = {"images": len(texts)} if body.images else {"input_tokens": sum(counts)}
    return JSONResponse(
        {
            "id": wire.new_id(""),
            "response_type": "embeddings_by_type",
            "embeddings": {kind: encoded(vectors, kind) for kind in dict.fromkeys(body.embedding_types or ["float"])},
            "texts": body.texts or [],
            "meta": meta(**billed),
        }
    )


def _end_of(text: str) -> str:
    """The end of a text that is too long: about as many characters as the model reads."""
    return text[-4 * MAX_TOKENS :]


@wire.adapter(COHERE)
async def rerank(request: Request) -> Response:
    body = await wire.read(request, RerankRequest)
    documents = body.documents
    if body.max_tokens_per_doc:
        documents = [d[: 4 * body.max_tokens_per_doc] for d in documents]
    vectors, _ = await wire.embed(request, [body.query, *(d or " " for d in documents)], limit=None)
    # Cosine similarity, which is rarely below 0, as the share from 0 to 1 that Cohere's scores are.
    scores = np.clip(vectors[1:] @ vectors[0], 0.0, 1.0)
    order = sorted(range(len(documents)), key=lambda i: (-scores[i], i))[: body.top_n]
    return JSONResponse(
        {
            "id": wire.new_id(""),
            "results": [{"index": i, "relevance_score": round(float(scores[i]), 6)} for i in order],
            "meta": meta(search_units=-(-len(documents) // _DOCUMENTS_A_SEARCH)),
        }
    )


routes = [
    Route("/v2/embed", embed, methods=["POST"]),
    Route("/v2/rerank", rerank, methods=["POST"]),
]
