"""What Google's generateContent, countTokens and cached contents share: the wire types and what they mean.

Vertex AI and the Gemini API have the same bodies (https://ai.google.dev/api/generate-content) under different paths.
"""

from __future__ import annotations

import json
from typing import Any, Literal

from pydantic import ConfigDict, Field
from pydantic.alias_generators import to_camel
from starlette.requests import Request
from starlette.routing import Route

from keyless.http import attachments, bodies, context
from keyless.http.attachments import Find
from keyless.neutral import Attachment, BadRequest, Message, Tool, ToolCall
from keyless.neutral import Request as NeutralRequest

MODELS_AT = (
    "/{version}/projects/{project}/locations/{location}/publishers/{publisher}/models",
    "/{version}/publishers/{publisher}/models",
    "/{version}/models",
)
"""Where models are: Vertex AI in a project, Vertex AI with an API key, the Gemini API."""


def model_routes(actions: dict[str, Any]) -> list[Route]:
    """A route for each of ``actions`` (``generateContent`` …) at each place where models are."""
    return [
        Route(f"{place}/{{model}}:{action}", endpoint, methods=["POST"])
        for action, endpoint in actions.items()
        for place in MODELS_AT
    ]


class Camel(bodies.Loose):
    """Google's JSON: names in camelCase, and in snake_case too."""

    model_config = ConfigDict(
        extra="allow", strict=True, alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )


class Blob(Camel):
    mime_type: str
    data: str


class FileData(Camel):
    mime_type: str | None = None
    file_uri: str


class FunctionCall(Camel):
    id: str | None = None
    name: str
    args: dict[str, Any] = Field(default_factory=dict)


class FunctionResponse(Camel):
    id: str | None = None
    name: str
    response: dict[str, Any] = Field(default_factory=dict)


class Part(Camel):
    text: str | None = None
    thought: bool | None = None
    inline_data: Blob | None = None
    file_data: FileData | None = None
    function_call: FunctionCall | None = None
    function_response: FunctionResponse | None = None


class Content(Camel):
    role: Literal["user", "model", "function", "system"] | None = None
    parts: list[Part] | None = None


class FunctionDeclaration(Camel):
    name: str = Field(min_length=1)
    description: str | None = None
    parameters: dict[str, Any] | None = None
    parameters_json_schema: dict[str, Any] | None = None


class ToolHolder(Camel):
    function_declarations: list[FunctionDeclaration] | None = None


class CallingConfig(Camel):
    mode: Literal["MODE_UNSPECIFIED", "AUTO", "ANY", "NONE", "VALIDATED"] | None = None
    allowed_function_names: list[str] | None = None


class ToolConfig(Camel):
    function_calling_config: CallingConfig | None = None


class GenerationConfig(Camel):
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    max_output_tokens: int | None = Field(None, ge=1)
    candidate_count: int | None = Field(None, ge=1, le=8)
    stop_sequences: list[str] | None = Field(None, max_length=5)
    seed: int | None = None
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    response_mime_type: str | None = None
    response_schema: dict[str, Any] | None = None
    response_json_schema: Any = None


class Prompt(Camel):
    """What is read: by ``generateContent``, by ``countTokens``, and kept by a cached content."""

    contents: list[Content] = Field(default_factory=list)
    system_instruction: Content | None = None
    tools: list[ToolHolder] | None = None
    tool_config: ToolConfig | None = None
    generation_config: GenerationConfig | None = None


def as_json_schema(schema: Any, depth: int = 0) -> Any:
    """Google's Schema object, which follows OpenAPI 3.0, as JSON Schema: types in lower case, ``nullable`` as a type."""
    if depth > 50:
        raise BadRequest("The schema is nested too deeply.", param="responseSchema")
    if isinstance(schema, list):
        return [as_json_schema(s, depth + 1) for s in schema]
    if not isinstance(schema, dict):
        return schema
    found: dict[str, Any] = {}
    for name, value in schema.items():
        if name in ("properties", "$defs", "defs") and isinstance(value, dict):
            key = "$defs" if name == "defs" else name
            found[key] = {k: as_json_schema(v, depth + 1) for k, v in value.items()}
        elif name in ("items", "anyOf", "any_of", "additionalProperties"):
            found["anyOf" if name == "any_of" else name] = as_json_schema(value, depth + 1)
        elif name == "type" and isinstance(value, str):
            found[name] = value.lower()
        elif name in ("minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"):
            # 64-bit numbers are strings in Google's JSON.
            found[name] = int(value) if isinstance(value, str) and value.isdigit() else value
        elif name not in ("nullable", "propertyOrdering", "property_ordering", "example"):
            found[name] = value
    if schema.get("nullable") is True and isinstance(found.get("type"), str):
        found["type"] = [found["type"], "null"]
    return found


def _text(content: Content | None) -> str:
    parts = content.parts or [] if content else []
    return "\n".join(p.text for p in parts if p.text is not None and not p.thought)


def _messages(content: Content, find: Find) -> list[Message]:
    # One turn may carry results of functions beside words; neutrally each is a turn.
    parts = content.parts or []
    turns = [
        Message("tool", _result(p.function_response.response), tool_call_id=p.function_response.id or "")
        for p in parts
        if p.function_response is not None
    ]
    calls = tuple(
        ToolCall(p.function_call.id or "", p.function_call.name, p.function_call.args) for p in parts if p.function_call
    )
    texts, sent = attachments.sorted_out([_sent(p, find) for p in parts if p.inline_data or p.file_data])
    text = "\n".join(filter(None, [_text(content), *texts]))
    if text or calls or sent:
        turns.append(Message("assistant" if content.role == "model" else "user", text, calls, attachments=sent))
    return turns


def _sent(part: Part, find: Find) -> Attachment | str:
    if part.inline_data is not None:
        blob = part.inline_data
        return attachments.sent_file(_standard(blob.data), blob.mime_type, "inlineData")
    assert part.file_data is not None
    return attachments.file(find(part.file_data.file_uri), part.file_data.mime_type or "", "fileData")


def _result(response: dict[str, Any]) -> str:
    """What a function returned; the SDK wraps it as ``{"result": …}``."""
    value = response["result"] if set(response) == {"result"} else response
    return value if isinstance(value, str) else json.dumps(value)


def _standard(data: str) -> str:
    """The SDK writes bytes in the URL-safe alphabet of base64."""
    return data.replace("-", "+").replace("_", "/")


def to_neutral(body: Prompt, find: Find) -> NeutralRequest:
    """``find`` gives the files that were uploaded, by address. Raises ``BadRequest`` for what cannot be read."""
    messages = [Message("system", _text(body.system_instruction))] if body.system_instruction else []
    for content in body.contents:
        messages += _messages(content, find)
    if not any(m.role != "system" for m in messages):
        raise BadRequest("contents is not specified or has no parts.", param="contents")
    config = body.generation_config or GenerationConfig()
    calling = (body.tool_config.function_calling_config if body.tool_config else None) or CallingConfig()
    declared = [f for t in body.tools or () for f in t.function_declarations or ()]
    allowed = calling.allowed_function_names if calling.mode == "ANY" else None
    schema = None
    if config.response_mime_type == "application/json":
        if isinstance(config.response_json_schema, dict):
            schema = config.response_json_schema
        else:
            schema = as_json_schema(config.response_schema) if config.response_schema else {}
    return NeutralRequest(
        messages=tuple(messages),
        tools=tuple(
            Tool(f.name, f.description or "", f.parameters_json_schema or _parameters(f))
            for f in declared
            if not allowed or f.name in allowed
        ),
        tool_choice={"ANY": "required", "NONE": "none"}.get(calling.mode or "AUTO", "auto"),
        schema=schema,
        max_tokens=config.max_output_tokens,
        temperature=config.temperature,
        top_p=config.top_p,
        seed=config.seed,
        stop=tuple(s for s in config.stop_sequences or () if s),
        frequency_penalty=config.frequency_penalty,
        presence_penalty=config.presence_penalty,
    )


def _parameters(function: FunctionDeclaration) -> dict[str, Any]:
    return as_json_schema(function.parameters) if function.parameters else {"type": "object", "properties": {}}


def note(request: Request, *, stream: bool = False) -> None:
    """The model is in the path, not in the body."""
    context.entry(request).model, context.entry(request).stream = request.path_params["model"], stream
