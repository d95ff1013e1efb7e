"""Anthropic's messages as neutral requests and replies (https://docs.anthropic.com/en/api/messages)."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field

from keyless.http import attachments, bodies
from keyless.http.prompt_cache import NOT_CACHED, Cached
from keyless.http.prompt_cache import Block as CacheBlock
from keyless.http.stamps import new_id
from keyless.neutral import (
    Attachment,
    BadRequest,
    Done,
    Event,
    Message,
    Reply,
    Started,
    TextDelta,
    Tool,
    ToolCall,
    Usage,
)
from keyless.neutral import Request as NeutralRequest

_ANTHROPICS = re.compile(
    r"(?:web_search|web_fetch|code_execution|tool_search_tool_(?:regex|bm25)|bash|text_editor|computer|memory)(?:_\d{8})?|mcp_toolset"
)
"""Tools that Anthropic runs or has defined. They may be declared: a model need not use a tool, and keyless' uses none of these."""


class CacheControl(bodies.Loose):
    type: Literal["ephemeral"]
    ttl: Literal["5m", "1h"] = "5m"


class Source(bodies.Loose):
    type: str
    media_type: str = ""
    data: str | None = None
    url: str | None = None
    file_id: str = ""
    content: str | list[dict[str, Any]] | None = None


class Block(bodies.Loose):
    type: str
    text: str | None = None
    id: str = ""
    name: str = ""
    input: dict[str, Any] = Field(default_factory=dict)
    tool_use_id: str = ""
    is_error: bool | None = None
    content: str | list[dict[str, Any]] | None = None
    source: Source | None = None
    cache_control: CacheControl | None = None


class InputMessage(bodies.Loose):
    role: Literal["user", "assistant", "system"]
    content: str | list[Block]


class ToolDefinition(bodies.Loose):
    """A function of the client's, or one of Anthropic's own tools, which are declared by a dated ``type`` and have no schema."""

    type: str | None = None
    name: str = ""
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    cache_control: CacheControl | None = None

    @property
    def is_anthropics(self) -> bool:
        return self.type is not None and bool(_ANTHROPICS.fullmatch(self.type))


class ToolChoice(bodies.Loose):
    type: Literal["auto", "any", "tool", "none"]
    name: str = ""
    disable_parallel_tool_use: bool = False


class OutputFormat(bodies.Loose):
    type: Literal["json_schema"]
    schema_: dict[str, Any] = Field(alias="schema")


class OutputConfig(bodies.Loose):
    format: OutputFormat | None = None


class Prompt(bodies.Loose):
    """What ``count_tokens`` takes; everything that is read, nothing of how to answer."""

    model: str = Field(min_length=1)
    messages: list[InputMessage] = Field(min_length=1)
    system: str | list[Block] | None = None
    tools: list[ToolDefinition] | None = None
    tool_choice: ToolChoice | None = None
    output_config: OutputConfig | None = None
    output_format: OutputFormat | None = None
    cache_control: CacheControl | None = None


class MessagesRequest(Prompt):
    max_tokens: int = Field(ge=1)
    temperature: float | None = Field(None, ge=0, le=1)
    top_p: float | None = Field(None, ge=0, le=1)
    stop_sequences: list[str] | None = None
    stream: bool | None = False


def _text(blocks: str | list[Block] | None) -> str:
    if isinstance(blocks, str) or blocks is None:
        return blocks or ""
    shown = [b for b in blocks if b.type not in ("image", "document")]
    return "\n".join(b.text if b.text is not None else f"[{b.type}]" for b in shown)


def _content(blocks: str | list[Block] | list[dict[str, Any]] | None) -> tuple[str, tuple[Attachment, ...]]:
    """The words, texts of documents among them, and the pictures and PDFs. Raises ``BadRequest``."""
    if isinstance(blocks, str) or blocks is None:
        return blocks or "", ()
    sent: list[Attachment | str] = []
    for block in blocks:
        if isinstance(block, dict):
            block = bodies.validated(block, Block)
        if block.type in ("image", "document") and block.source is not None:
            sent += _sent(block.type, block.source)
        else:
            sent.append(_text([block]) or f"[{block.type}]" * (block.text is None))
    texts, rest = attachments.sorted_out(sent)
    return "\n".join(texts), rest


def _sent(kind: str, source: Source) -> list[Attachment | str]:
    if source.type == "file":
        attachments.no_files(source.file_id)
    if kind == "image":
        return [attachments.image(source.data or source.url or "", "source")]
    if source.type == "text":
        return [source.data or ""]
    if source.type == "content":
        text, rest = _content(source.content)
        return [text, *rest]
    return [attachments.sent_file(source.data or source.url or "", source.media_type or "application/pdf", "source")]


def _messages(message: InputMessage) -> list[Message]:
    if isinstance(message.content, str):
        return [Message(message.role, message.content)]
    # One turn of Anthropic's carries tool results beside the user's words; neutrally each is a turn.
    turns = []
    for block in message.content:
        if block.type == "tool_result":
            text, returned = _content(block.content)
            failed = bool(block.is_error)
            turns.append(Message("tool", text, tool_call_id=block.tool_use_id, failed=failed, attachments=returned))
    calls = tuple(ToolCall(b.id, b.name, b.input) for b in message.content if b.type == "tool_use")
    said = [b for b in message.content if b.type not in ("tool_result", "tool_use", "thinking", "redacted_thinking")]
    if said or calls:
        text, sent = _content(said)
        turns.append(Message(message.role, text, calls, attachments=sent))
    return turns


def to_neutral(body: Prompt) -> NeutralRequest:
    """Raises ``BadRequest`` for a picture or a document that was not sent whole."""
    messages = [Message("system", _text(body.system))] if body.system else []
    for message in body.messages:
        messages += _messages(message)
    choice = body.tool_choice
    form = body.output_format or (body.output_config.format if body.output_config else None)
    return NeutralRequest(
        messages=tuple(messages),
        tools=tuple(_tools(body.tools or [])),
        tool_choice="auto"
        if choice is None
        else {"any": "required", "tool": choice.name}.get(choice.type, choice.type),
        parallel_tool_calls=not (choice is not None and choice.disable_parallel_tool_use),
        schema=form.schema_ if form else None,
        **_sampling(body),
    )


def _tools(declared: list[ToolDefinition]) -> Iterator[Tool]:
    """The client's own functions. Raises ``BadRequest`` for what is neither one nor a tool of Anthropic's."""
    for place, tool in enumerate(declared):
        if tool.is_anthropics:
            continue
        if tool.type not in (None, "custom"):
            message = (
                f"tools.{place}: Input tag '{tool.type}' found using 'type' does not match any of the expected tags"
            )
            raise BadRequest(message, param=f"tools.{place}")
        for name, value in (("name", tool.name), ("input_schema", tool.input_schema)):
            if not value and value != {}:
                raise BadRequest(f"tools.{place}.custom.{name}: Field required", param=f"tools.{place}.{name}")
        yield Tool(tool.name, tool.description or "", tool.input_schema or {})


def _sampling(body: Prompt) -> dict[str, Any]:
    if not isinstance(body, MessagesRequest):
        return {}
    return {
        "max_tokens": body.max_tokens,
        "temperature": body.temperature,
        "top_p": body.top_p,
        "stop": tuple(s for s in body.stop_sequences or () if s),
    }


def _use_id(call: ToolCall) -> str:
    return call.id.replace("call_", "toolu_")


def _stop_reason(finish: str, stop: str | None) -> str:
    return "stop_sequence" if stop else {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}[finish]


def cache_blocks(body: Prompt) -> list[CacheBlock]:
    """Tools, then the system prompt, then the messages, as Anthropic caches them."""
    blocks = []
    for tool in body.tools or ():
        sent = tool.model_dump(exclude={"cache_control"})
        text = json.dumps([tool.name or tool.type, tool.description or "", tool.input_schema])
        blocks.append(CacheBlock(sent, text, tool.cache_control and tool.cache_control.ttl))
    spoken = [("system", body.system or []), *((m.role, m.content) for m in body.messages)]
    for role, content in spoken:
        for block in [Block(type="text", text=content)] if isinstance(content, str) else content:
            sent = {"role": role, **block.model_dump(exclude={"cache_control"})}
            text = _text([block]) or json.dumps(block.input)
            blocks.append(CacheBlock(sent, text, block.cache_control and block.cache_control.ttl))
    if body.cache_control is not None and blocks:
        blocks[-1] = replace(blocks[-1], ttl=body.cache_control.ttl)
    return blocks


def _usage(usage: Usage, cached: Cached, *, delta: bool = False) -> dict[str, Any]:
    counts: dict[str, Any] = {
        "input_tokens": max(0, usage.prompt_tokens - cached.read - cached.written),
        "output_tokens": usage.completion_tokens,
        "cache_creation_input_tokens": cached.written,
        "cache_read_input_tokens": cached.read,
    }
    if delta:
        return counts
    times = {"ephemeral_5m_input_tokens": cached.written_5m, "ephemeral_1h_input_tokens": cached.written_1h}
    return {**counts, "cache_creation": times, "service_tier": "standard"}


def head(model: str) -> dict[str, Any]:
    """The fields of a message that are known before its answer."""
    return {"id": new_id("msg_"), "type": "message", "role": "assistant", "model": model}


def whole(head: dict[str, Any], reply: Reply, cached: Cached = NOT_CACHED) -> dict[str, Any]:
    """A message."""
    content: list[dict[str, Any]] = [{"type": "text", "text": reply.text, "citations": None}] if reply.text else []
    content += [{"type": "tool_use", "id": _use_id(c), "name": c.name, "input": c.arguments} for c in reply.tool_calls]
    return {
        **head,
        "content": content,
        "stop_reason": _stop_reason(reply.finish_reason, reply.stop_sequence),
        "stop_sequence": reply.stop_sequence,
        "usage": _usage(reply.usage, cached),
    }


async def events_of(
    events: AsyncIterator[Event], head: dict[str, Any], cached: Cached = NOT_CACHED
) -> AsyncIterator[dict[str, Any]]:
    """A message as the events of its stream."""
    index, open_text = -1, False
    async for piece in events:
        if isinstance(piece, Started):
            usage = _usage(Usage(piece.prompt_tokens, 1), cached)
            message = {**head, "content": [], "stop_reason": None, "stop_sequence": None, "usage": usage}
            yield {"type": "message_start", "message": message}
            yield {"type": "ping"}
            continue
        if isinstance(piece, TextDelta):
            if not open_text:
                index, open_text = index + 1, True
                block = {"type": "text", "text": "", "citations": None}
                yield {"type": "content_block_start", "index": index, "content_block": block}
            delta: dict[str, Any] = {"type": "text_delta", "text": piece.text}
            yield {"type": "content_block_delta", "index": index, "delta": delta}
            continue
        if open_text:
            yield {"type": "content_block_stop", "index": index}
            open_text = False
        if isinstance(piece, ToolCall):
            index += 1
            block = {"type": "tool_use", "id": _use_id(piece), "name": piece.name, "input": {}}
            yield {"type": "content_block_start", "index": index, "content_block": block}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(piece.arguments)}
            yield {"type": "content_block_delta", "index": index, "delta": delta}
            yield {"type": "content_block_stop", "index": index}
        elif isinstance(piece, Done):
            delta = {
                "stop_reason": _stop_reason(piece.finish_reason, piece.stop_sequence),
                "stop_sequence": piece.stop_sequence,
            }
            yield {"type": "message_delta", "delta": delta, "usage": _usage(piece.usage, cached, delta=True)}
    yield {"type": "message_stop"}
