"""The bodies that Bedrock's families of models have of their own (…/bedrock/latest/userguide/model-parameters.html)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from keyless.http import bodies
from keyless.neutral import BadRequest, Done, Event, Message, Reply, Started, TextDelta, Usage
from keyless.neutral import Request as NeutralRequest
from keyless.providers.anthropic import codec as claude
from keyless.providers.bedrock import codec

Chunks = AsyncIterator[dict[str, Any]]


class ClaudeBody(claude.MessagesRequest):
    model: str = ""
    anthropic_version: Literal["bedrock-2023-05-31"]


class TitanConfig(bodies.Loose):
    maxTokenCount: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=1)
    topP: float | None = Field(None, ge=0, le=1)
    stopSequences: list[str] | None = None


class TitanBody(bodies.Loose):
    inputText: str = Field(min_length=1)
    textGenerationConfig: TitanConfig | None = None


class LlamaBody(bodies.Loose):
    prompt: str = Field(min_length=1)
    max_gen_len: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=1)
    top_p: float | None = Field(None, ge=0, le=1)


def _claude(body: ClaudeBody) -> NeutralRequest:
    return claude.to_neutral(body)


def _claude_whole(model: str, reply: Reply) -> dict[str, Any]:
    return claude.whole(claude.head(model), reply)


def _claude_chunks(model: str, events: AsyncIterator[Event]) -> Chunks:
    return claude.events_of(events, claude.head(model))


_TITAN_REASONS = {"stop": "FINISH", "length": "LENGTH", "tool_calls": "FINISH"}


def _titan(body: TitanBody) -> NeutralRequest:
    # Titan's own convention for a chat: "User: …\nBot:".
    text = re.sub(r"\s*\bBot:\s*$", "", re.sub(r"^\s*User:\s*", "", body.inputText)).strip() or body.inputText
    config = body.textGenerationConfig or TitanConfig()
    return NeutralRequest(
        (Message("user", text),),
        max_tokens=config.maxTokenCount,
        temperature=config.temperature,
        top_p=config.topP,
        stop=tuple(s for s in config.stopSequences or () if s),
    )


def _titan_whole(model: str, reply: Reply) -> dict[str, Any]:
    result = {
        "tokenCount": reply.usage.completion_tokens,
        "outputText": reply.text,
        "completionReason": "STOP_CRITERIA_MET" if reply.stop_sequence else _TITAN_REASONS[reply.finish_reason],
    }
    return {"inputTextTokenCount": reply.usage.prompt_tokens, "results": [result]}


async def _titan_chunks(model: str, events: AsyncIterator[Event]) -> Chunks:
    prompt_tokens = 0
    async for piece in events:
        if isinstance(piece, Started):
            prompt_tokens = piece.prompt_tokens
            continue
        chunk = {
            "outputText": "",
            "index": 0,
            "totalOutputTextTokenCount": None,
            "completionReason": None,
            "inputTextTokenCount": prompt_tokens,
        }
        if isinstance(piece, TextDelta):
            yield {**chunk, "outputText": piece.text}
        elif isinstance(piece, Done):
            reason = "STOP_CRITERIA_MET" if piece.stop_sequence else _TITAN_REASONS[piece.finish_reason]
            yield {**chunk, "totalOutputTextTokenCount": piece.usage.completion_tokens, "completionReason": reason}


def _nova_whole(model: str, reply: Reply) -> dict[str, Any]:
    return {
        "output": codec.output(reply),
        "stopReason": codec.stop_reason(reply.finish_reason, reply.stop_sequence),
        "usage": codec.usage_body(reply.usage),
    }


async def _nova_chunks(model: str, events: AsyncIterator[Event]) -> Chunks:
    async for kind, fields in codec.events_of(events):
        yield {kind: fields}


_LLAMA_TURN = re.compile(
    r"<\|start_header_id\|>(system|user|assistant)<\|end_header_id\|>\s*(.*?)(?=<\|eot_id\|>|<\|start_header_id\|>|$)",
    re.S,
)


def _llama(body: LlamaBody) -> NeutralRequest:
    turns = [(role, text.strip()) for role, text in _LLAMA_TURN.findall(body.prompt)]
    messages = tuple(Message(role, text) for role, text in turns if text) or (Message("user", body.prompt),)
    return NeutralRequest(messages, max_tokens=body.max_gen_len, temperature=body.temperature, top_p=body.top_p)


def _llama_chunk(text: str, usage: Usage | None, reason: str | None) -> dict[str, Any]:
    return {
        "generation": text,
        "prompt_token_count": usage.prompt_tokens if usage else None,
        "generation_token_count": usage.completion_tokens if usage else None,
        "stop_reason": reason,
    }


def _llama_whole(model: str, reply: Reply) -> dict[str, Any]:
    return _llama_chunk(reply.text, reply.usage, "length" if reply.finish_reason == "length" else "stop")


async def _llama_chunks(model: str, events: AsyncIterator[Event]) -> Chunks:
    count, prompt = 0, 0
    async for piece in events:
        if isinstance(piece, Started):
            prompt = piece.prompt_tokens
        elif isinstance(piece, TextDelta):
            count += 1
            yield _llama_chunk(piece.text, Usage(prompt, count), None)
        elif isinstance(piece, Done):
            yield _llama_chunk("", piece.usage, "length" if piece.finish_reason == "length" else "stop")


@dataclass(frozen=True)
class Family:
    """How one family of models is asked and answers."""

    body: type[Any]
    neutral: Callable[[Any], NeutralRequest]
    whole: Callable[[str, Reply], dict[str, Any]]
    chunks: Callable[[str, AsyncIterator[Event]], Chunks]


FAMILIES = {
    "claude": Family(ClaudeBody, _claude, _claude_whole, _claude_chunks),
    "titan": Family(TitanBody, _titan, _titan_whole, _titan_chunks),
    "nova": Family(codec.ConverseRequest, codec.to_neutral, _nova_whole, _nova_chunks),
    "llama": Family(LlamaBody, _llama, _llama_whole, _llama_chunks),
}


def family_of(model: str) -> Family:
    """By the model's id, such as ``us.anthropic.claude-sonnet-4-5-20250929-v1:0``. Raises ``BadRequest``."""
    for name, family in FAMILIES.items():
        if name in model.lower():
            return family
    raise BadRequest(
        f"The provided model identifier is invalid: {model}. keyless knows the bodies of {', '.join(FAMILIES)} and titan-embed."
    )
