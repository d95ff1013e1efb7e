"""OpenAI chat completions and models (https://platform.openai.com/docs/api-reference/chat)."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keyless.http import bodies
from keyless.http.adapter import adapter
from keyless.providers.openai import codec, files
from keyless.providers.openai.errors import DIALECT

MODELS = (
    "gpt-4o",
    "gpt-4o-mini",
    "gpt-4.1",
    "gpt-4.1-mini",
    "gpt-5",
    "gpt-5-mini",
    "gpt-3.5-turbo",
    "text-embedding-3-small",
    "text-embedding-3-large",
    "Qwen/Qwen2.5-1.5B-Instruct",  # what a vLLM server lists that is started as in docker-compose.yaml
)


@adapter(DIALECT)
async def create(request: Request) -> Response:
    body = await bodies.read(request, codec.ChatRequest)
    return await codec.answered(request, body, files.reader(request))


def _model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "keyless"}


@adapter(DIALECT, metered=False)
async def list_models(request: Request) -> Response:
    return JSONResponse({"object": "list", "data": [_model(m) for m in MODELS]})


@adapter(DIALECT, metered=False)
async def get_model(request: Request) -> Response:
    return JSONResponse(_model(request.path_params["model"]))


routes = [
    Route("/v1/chat/completions", create, methods=["POST"]),
    Route("/v1/models", list_models, methods=["GET"]),
    Route("/v1/models/{model:path}", get_model, methods=["GET"]),
]
