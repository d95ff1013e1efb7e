"""OpenAI moderations (https://platform.openai.com/docs/api-reference/moderations), judged by likeness to example sentences."""

from __future__ import annotations

from typing import Any

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keyless.http import bodies, context
from keyless.http.adapter import adapter
from keyless.http.chat_shape import ImageUrl
from keyless.http.stamps import new_id
from keyless.mind.moderation import CATEGORIES, FLAGGED_FROM
from keyless.neutral import BadRequest
from keyless.providers.openai.errors import DIALECT


class ModerationPart(bodies.Loose):
    type: str
    text: str | None = None
    image_url: ImageUrl | None = None


class ModerationRequest(bodies.Loose):
    input: str | list[str] | list[ModerationPart]
    model: str = Field("omni-moderation-latest", min_length=1)


def _texts(body: ModerationRequest) -> list[str]:
    if isinstance(body.input, str):
        return [body.input]
    if not body.input:
        raise BadRequest("Invalid 'input': empty array.", param="input")
    # A list of parts is one input. Images are not judged: keyless does not see what they show.
    if isinstance(body.input[0], ModerationPart):
        return ["\n".join(p.text or "" for p in body.input if isinstance(p, ModerationPart))]
    return [t for t in body.input if isinstance(t, str)]


@adapter(DIALECT)
async def create(request: Request) -> Response:
    body = await bodies.read(request, ModerationRequest)
    judged = await context.answerer(request).moderate(_texts(body))
    return JSONResponse({"id": new_id("modr-"), "model": body.model, "results": [_result(found) for found in judged]})


def _result(found: dict[str, float]) -> dict[str, Any]:
    categories = {name: score >= FLAGGED_FROM for name, score in found.items()}
    return {
        "flagged": any(categories.values()),
        "categories": categories,
        "category_scores": found,
        "category_applied_input_types": {name: ["text"] for name in CATEGORIES},
    }


routes = [Route("/v1/moderations", create, methods=["POST"])]
