"""The parts of a chat's body that OpenAI's API brought in and others took over: content parts, function tools, their calls."""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import Field

from keyless.http import attachments, bodies
from keyless.neutral import Attachment, Tool


class FunctionCall(bodies.Loose):
    name: str
    arguments: str = "{}"


class CalledTool(bodies.Loose):
    id: str = ""
    function: FunctionCall


class ImageUrl(bodies.Loose):
    url: str


class FilePart(bodies.Loose):
    file_data: str | None = None
    file_id: str | None = None


class Part(FilePart):
    """OpenAI's parts: in chats a file is an object of its own, in responses its fields are the part's."""

    type: str
    text: str | None = None
    image_url: ImageUrl | str | None = None
    file: FilePart | None = None
    file_url: str | None = None


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


def content_of(
    content: str | list[Part] | None, find: attachments.Find = attachments.no_files
) -> tuple[str, tuple[Attachment, ...]]:
    """The words of a message, texts that were sent as files among them, and its pictures and PDFs.

    ``find`` gives the files that were uploaded. Raises ``BadRequest`` for what cannot be read.
    """
    if not isinstance(content, list):
        return content or "", ()
    texts, rest = attachments.sorted_out([_sent(part, find) for part in content])
    return "\n".join(texts), rest


def _sent(part: Part, find: attachments.Find) -> Attachment | str:
    if part.image_url:
        return attachments.image(part.image_url if isinstance(part.image_url, str) else part.image_url.url, "image_url")
    file = part.file or part
    if file.file_data:
        return attachments.sent_file(file.file_data, param="file_data")
    if file.file_id:
        return attachments.file(find(file.file_id), param="file_id")
    if part.file_url:
        return attachments.sent_file(part.file_url, param="file_url")
    return part.text or f"[{part.type}]"


def tools_of(tools: list[FunctionTool] | None) -> tuple[Tool, ...]:
    """Functions as neutral tools; one without parameters takes none."""
    none: dict[str, Any] = {"type": "object", "properties": {}}
    functions = [t.function for t in tools or ()]
    return tuple(Tool(f.name, f.description or "", f.parameters or none) for f in functions)
