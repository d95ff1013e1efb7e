"""Ollama's copy of OpenAI's chat completions and models (https://docs.ollama.com/openai)."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keyless.http import bodies
from keyless.http.adapter import adapter
from keyless.providers.ollama.api import MODELS
from keyless.providers.ollama.errors import OPENAI_DIALECT
from keyless.providers.openai import codec
from keyless.providers.systemone import codec as systemone


@adapter(OPENAI_DIALECT)
async def chat(request: Request) -> Response:
    return await codec.answered(request, await bodies.read(request, codec.ChatRequest))


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1_735_689_600, "owned_by": "library"}


@adapter(OPENAI_DIALECT, metered=False)
async def list_models(request: Request) -> Response:
    return JSONResponse({"object": "list", "data": [_model(m) for m in MODELS]})


@adapter(OPENAI_DIALECT, metered=False)
async def get_model(request: Request) -> Response:
    return JSONResponse(_model(request.path_params["model"]))


@adapter(OPENAI_DIALECT)
async def decide(request: Request) -> Response:
    return await systemone.answered(request)


routes = [
    Route("/v1/systemone", decide, methods=["POST"]),
    Route("/v1/chat/completions", chat, methods=["POST"]),
    Route("/v1/models", list_models, methods=["GET"]),
    Route("/v1/models/{model:path}", get_model, methods=["GET"]),
]
