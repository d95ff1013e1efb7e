"""Cohere's tokenizing and its list of models (https://docs.cohere.com/reference/tokenize, …/list-models)."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keyless.http import bodies, context
from keyless.http.adapter import adapter
from keyless.neutral import BadRequest
from keyless.providers.cohere.errors import DIALECT

MODELS = {
    "command-a-03-2025": "chat",
    "command-r-plus-08-2024": "chat",
    "command-r7b-12-2024": "chat",
    "embed-v4.0": "embed",
    "embed-multilingual-v3.0": "embed",
    "embed-english-v3.0": "embed",
    "rerank-v3.5": "rerank",
}


class TokenizeRequest(bodies.Loose):
    model: str = Field(min_length=1)
    text: str = Field(min_length=1, max_length=65_536)


class DetokenizeRequest(bodies.Loose):
    model: str = Field(min_length=1)
    tokens: list[int] = Field(max_length=65_536)


def meta(**billed: int) -> dict[str, Any]:
    """The ``meta`` of a reply that is no chat."""
    body: dict[str, Any] = {"api_version": {"version": "2"}}
    return {**body, "billed_units": billed} if billed else body


@adapter(DIALECT)
async def tokenize(request: Request) -> Response:
    body = await bodies.read(request, TokenizeRequest)
    tokens = await context.answerer(request).tokens_of(body.text)
    return JSONResponse(
        {"tokens": [id for id, _ in tokens], "token_strings": [piece for _, piece in tokens], "meta": meta()}
    )


@adapter(DIALECT)
async def detokenize(request: Request) -> Response:
    body = await bodies.read(request, DetokenizeRequest)
    answerer = context.answerer(request)
    if any(not 0 <= t < answerer.vocabulary for t in body.tokens):
        raise BadRequest(f"tokens: ids are from 0 to {answerer.vocabulary - 1}", param="tokens")
    return JSONResponse({"text": await answerer.text_of(body.tokens), "meta": meta()})


def _model(request: Request, name: str, endpoint: str) -> dict[str, Any]:
    return {
        "name": name,
        "is_deprecated": False,
        "endpoints": [endpoint],
        "finetuned": False,
        "context_length": context.answerer(request).context_tokens,
        "tokenizer_url": None,
        "default_endpoints": [],
        "features": None,
        "sampling_defaults": None,
    }


@adapter(DIALECT, metered=False)
async def list_models(request: Request) -> Response:
    endpoint = request.query_params.get("endpoint")
    found = [_model(request, name, kind) for name, kind in MODELS.items() if endpoint in (None, kind)]
    return JSONResponse({"models": found, "next_page_token": None})


@adapter(DIALECT, metered=False)
async def get_model(request: Request) -> Response:
    name = request.path_params["model"]
    return JSONResponse(_model(request, name, MODELS.get(name, "chat")))


routes = [
    Route("/v1/tokenize", tokenize, methods=["POST"]),
    Route("/v1/detokenize", detokenize, methods=["POST"]),
    Route("/v1/models", list_models, methods=["GET"]),
    Route("/v1/models/{model:path}", get_model, methods=["GET"]),
]
