"""OpenAI images (https://platform.openai.com/docs/api-reference/images): drawn with Pillow from the words of the prompt."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from keyless.http import bodies, context, forms
from keyless.http.adapter import adapter
from keyless.http.stamps import new_id
from keyless.http.streams import sse
from keyless.mind import pictures
from keyless.neutral import BadRequest, Usage
from keyless.providers.openai.errors import DIALECT

MEDIA_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
_MAX_SIDE = 3840
# What one image of 1024 by 1024 pixels costs in tokens at each quality, from OpenAI's guide to image generation.
_TOKENS = {"low": 272, "medium": 1056, "high": 4160}


class ImageRequest(bodies.Loose):
    prompt: str = Field(min_length=1, max_length=32_000)
    model: str | None = "gpt-image-1"
    n: int | None = Field(1, ge=1, le=10)
    size: str | None = Field("auto", pattern=r"^(auto|\d{2,4}x\d{2,4})$")
    quality: Literal["auto", "low", "medium", "high", "standard", "hd"] | None = "auto"
    response_format: Literal["url", "b64_json"] | None = None
    output_format: Literal["png", "jpeg", "webp"] | None = "png"
    background: str | None = "auto"
    stream: bool | None = False
    partial_images: int | None = Field(0, ge=0, le=3)

    @property
    def pixels(self) -> tuple[int, int] | None:
        """Width and height, or ``None`` for ``auto``. Raises ``BadRequest``."""
        if self.size in (None, "auto"):
            return None
        width, height = (int(side) for side in self.size.split("x"))
        if not 16 <= width <= _MAX_SIDE or not 16 <= height <= _MAX_SIDE:
            raise BadRequest(f"Invalid size '{self.size}': each side is 16 to {_MAX_SIDE} pixels.", param="size")
        return width, height

    @property
    def shown_quality(self) -> str:
        return {"standard": "medium", "hd": "high"}.get(self.quality or "auto", self.quality or "auto").replace(
            "auto", "medium"
        )

    @property
    def as_url(self) -> bool:
        """The older models answer with an address where nothing else is asked for; today's only send the image itself."""
        asked = self.response_format or ("url" if (self.model or "").startswith("dall-e") else "b64_json")
        return asked == "url"


Draw = Callable[[int], Awaitable[bytes]]


@adapter(DIALECT)
async def generate(request: Request) -> Response:
    body = await bodies.read(request, ImageRequest)
    size = body.pixels or (1024, 1024)
    form = (body.output_format or "png").upper()

    async def draw(number: int) -> bytes:
        return await asyncio.to_thread(pictures.draw, body.prompt, size, number=number, form=form)

    return await _answered(request, body, draw, size, "image_generation")


@adapter(DIALECT)
async def edit(request: Request) -> Response:
    data = await forms.form(request)
    sent = await forms.files(data, "image", "image[]")
    masks = await forms.files(data, "mask")
    fields = forms.fields(data, numbers=("n", "partial_images"), flags=("stream",))
    body = bodies.validated(fields, ImageRequest)
    context.entry(request).model, context.entry(request).stream = body.model, bool(body.stream)
    if not sent:
        raise BadRequest("Missing required parameter: 'image'.", param="image")
    if len(sent) > 16:
        raise BadRequest(f"Invalid 'image': at most 16 images, got {len(sent)}.", param="image")
    form = (body.output_format or "png").upper()
    size = body.pixels or (await asyncio.to_thread(pictures.opened, sent[0][1])).size

    async def draw(number: int) -> bytes:
        mask = masks[0][1] if masks else None
        return await asyncio.to_thread(
            pictures.edit, sent[0][1], mask, body.prompt, body.pixels, number=number, form=form
        )

    return await _answered(request, body, draw, size, "image_edit")


async def _answered(request: Request, body: ImageRequest, draw: Draw, size: tuple[int, int], kind: str) -> Response:
    count = body.n or 1
    head = {
        "created": int(time.time()),
        "background": "opaque",
        "output_format": body.output_format or "png",
        "quality": body.shown_quality,
        "size": f"{size[0]}x{size[1]}",
    }
    (prompt_tokens,) = await context.answerer(request).count_for_embedding([body.prompt])
    per_image = round(_TOKENS[body.shown_quality] * size[0] * size[1] / 1024**2)
    usage = Usage(prompt_tokens, per_image * count)
    context.note_usage(request, usage)
    context.note_asked(request, {"prompt": body.prompt})
    if body.stream:
        first = await draw(0)
        return sse(_events(body, first, head, usage, kind))
    images = [await draw(number) for number in range(count)]
    data = [{"b64_json": base64.b64encode(i).decode()} for i in images]
    if body.as_url:
        data = [{"url": _address(request, i, body)} for i in images]
    return JSONResponse({**head, "data": data, "usage": _usage(usage)})


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt_tokens,
        "input_tokens_details": {"image_tokens": 0, "text_tokens": usage.prompt_tokens},
        "output_tokens": usage.completion_tokens,
        "output_tokens_details": {"image_tokens": usage.completion_tokens, "text_tokens": 0},
        "total_tokens": usage.total_tokens,
    }


def _address(request: Request, image: bytes, body: ImageRequest) -> str:
    form = body.output_format or "png"
    stored = context.files(request).add(
        new_id("img-"), image, filename=f"image.{form}", purpose="image", media_type=MEDIA_TYPES[form]
    )
    return f"{str(request.base_url).rstrip('/')}/openai/v1/images/files/{stored.id}"


async def _events(
    body: ImageRequest, image: bytes, head: dict[str, Any], usage: Usage, kind: str
) -> AsyncIterator[str]:
    """The image coarse first and then whole, as ``partial_images`` asks."""

    def event(name: str, data: bytes, **more: Any) -> str:
        shown = {k: v for k, v in head.items() if k != "created"}
        fields = {
            "type": name,
            "b64_json": base64.b64encode(data).decode(),
            "created_at": head["created"],
            **shown,
            **more,
        }
        return f"event: {name}\ndata: {json.dumps(fields)}\n\n"

    for index in range(body.partial_images or 0):
        coarse = await asyncio.to_thread(pictures.coarse, image, 8 * 4**index, (body.output_format or "png").upper())
        yield event(f"{kind}.partial_image", coarse, partial_image_index=index)
    used = {k: v for k, v in _usage(usage).items() if k != "output_tokens_details"}
    yield event(f"{kind}.completed", image, usage=used)


@adapter(replace(DIALECT, needs_key=False), metered=False)
async def file(request: Request) -> Response:
    """A generated image by its address. It needs no key, as the addresses that OpenAI gives out need none."""
    stored = context.files(request).get(request.path_params["id"])
    if stored is None or stored.purpose != "image":
        raise BadRequest("There is no such image, or it has expired.", status=404, kind="not_found")
    return Response(context.files(request).read(stored.id), media_type=stored.media_type)


routes = [
    Route("/v1/images/generations", generate, methods=["POST"]),
    Route("/v1/images/edits", edit, methods=["POST"]),
    Route("/v1/images/files/{id}", file, methods=["GET"]),
]
