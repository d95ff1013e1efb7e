"""The parts of a chat's body that OpenAI's API brought in and others took over: content parts, function tools, their calls."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import Field

from keyless.http import bodies
from keyless.mind import pictures
from keyless.neutral import Tool


class FunctionCall(bodies.Loose):
    name: str
    arguments: str = "{}"


class CalledTool(bodies.Loose):
    id: str = ""
    function: FunctionCall


class ImageUrl(bodies.Loose):
    url: str


class Part(bodies.Loose):
    type: str
    text: str | None = None
    image_url: ImageUrl | str | None = None


class Function(bodies.Loose):
    name: str = Field(min_length=1)
    description: str | None = None
    parameters: dict[str, Any] | None = None


class FunctionTool(bodies.Loose):
    type: Literal["function"]
    function: Function


class NamedFunction(bodies.Loose):
    name: str


class NamedTool(bodies.Loose):
    type: Literal["function"]
    function: NamedFunction


def parse_arguments(raw: str) -> dict[str, Any]:
    """A call's arguments as an object; what is no JSON object is kept under ``input``, so that it is not lost."""
    try:
        value = json.loads(raw or "{}")
    except ValueError:
        return {"input": raw}
    return value if isinstance(value, dict) else {"input": value}


def text_of(content: str | list[Part] | None) -> str:
    if isinstance(content, list):
        return "\n".join(part.text or f"[{part.type}]" for part in content if part.image_url is None)
    return content or ""


def pictures_of(content: str | list[Part] | None) -> tuple[str, ...]:
    """What the images in ``content`` show. Raises ``BadRequest`` for one that cannot be read."""
    if not isinstance(content, list):
        return ()
    urls = [p.image_url if isinstance(p.image_url, str) else p.image_url.url for p in content if p.image_url]
    return tuple(pictures.describe(bodies.from_base64(url, "image_url"), "image_url") for url in urls)


def tools_of(tools: list[FunctionTool] | None) -> tuple[Tool, ...]:
    """Functions as neutral tools; one without parameters takes none."""
    none: dict[str, Any] = {"type": "object", "properties": {}}
    functions = [t.function for t in tools or ()]
    return tuple(Tool(f.name, f.description or "", f.parameters or none) for f in functions)
