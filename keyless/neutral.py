"""The one request and reply that every provider's wire format is translated to and from."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "user", "assistant", "tool"]
FinishReason = Literal["stop", "length", "tool_calls"]


@dataclass(frozen=True)
class ToolCall:
    """A call that the model asks for. ``arguments`` is the parsed JSON object."""

    id: str
    name: str
    arguments: dict[str, Any]


@dataclass(frozen=True)
class Attachment:
    """A picture or a PDF beside a message's words, as it came. ``param`` names it in an error."""

    data: bytes = field(repr=False)
    kind: Literal["image", "pdf"] = "image"
    param: str = "image"


@dataclass(frozen=True)
class Shown:
    """What an attachment shows: the ``text`` that is written in it, if any, and what can be measured in it, in words."""

    description: str
    text: str = ""

    @property
    def material(self) -> str:
        """What there is to work on: the text; of a picture without one its description."""
        return self.text or self.description

    @property
    def in_words(self) -> str:
        """Description and text."""
        return f'{self.description} The text in it reads: "{self.text}".' if self.text else self.description


@dataclass(frozen=True)
class Message:
    """One turn. A ``tool`` turn carries the result of the call ``tool_call_id`` as text, or its error where it ``failed``.

    ``attachments`` are what has not been looked at yet; ``pictures`` what those show that have.
    """

    role: Role
    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    failed: bool = False
    pictures: tuple[Shown, ...] = ()
    attachments: tuple[Attachment, ...] = ()

    @property
    def content(self) -> str:
        """All that the turn says, with what its pictures show below."""
        return "\n".join([self.text, *(p.in_words for p in self.pictures)]) if self.pictures else self.text


@dataclass(frozen=True)
class Tool:
    """A function that the model may call; ``parameters`` is a JSON Schema of an object."""

    name: str
    description: str = ""
    parameters: dict[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})


@dataclass(frozen=True)
class Request:
    """A generation request.

    ``schema`` asks for JSON that validates against it (``{}`` for any JSON object). ``tool_choice`` is
    ``auto``, ``none``, ``required`` or the name of one tool in ``tools``.
    """

    messages: tuple[Message, ...]
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"
    parallel_tool_calls: bool = True
    schema: dict[str, Any] | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    frequency_penalty: float | None = None
    presence_penalty: float | None = None

    @property
    def unseen(self) -> bool:
        """Whether a message has attachments that nobody has looked at."""
        return any(m.attachments for m in self.messages)


@dataclass(frozen=True)
class Usage:
    """Tokens by the engine's own tokenizer."""

    prompt_tokens: int
    completion_tokens: int

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True)
class Started:
    """The first event of every reply: the prompt has been counted."""

    prompt_tokens: int


@dataclass(frozen=True)
class TextDelta:
    """A piece of the answer's text, in order."""

    text: str


@dataclass(frozen=True)
class Done:
    """The end of a reply; always the last event. ``stop_sequence`` is the client's stop string that ended it."""

    finish_reason: FinishReason
    usage: Usage
    stop_sequence: str | None = None


Event = Started | TextDelta | ToolCall | Done


@dataclass(frozen=True)
class Reply:
    """A whole reply, for clients that do not stream."""

    text: str
    tool_calls: tuple[ToolCall, ...]
    finish_reason: FinishReason
    usage: Usage
    stop_sequence: str | None = None


class BadRequest(ValueError):
    """The request gets an error for an answer. ``status``, ``kind`` and ``param`` choose each provider's error body.

    ``retry_after`` is how many seconds the client should wait before it tries again, where that is known.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "invalid_request",
        param: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.param = param
        self.retry_after = retry_after


class ContextOverflow(BadRequest):
    """The prompt does not fit into the model's context; ``tokens`` is what it has, ``limit`` what fits."""

    def __init__(self, tokens: int, limit: int, *, param: str = "messages") -> None:
        super().__init__(
            f"This model's maximum context length is {limit} tokens. However, your {param} resulted in "
            f"{tokens} tokens. Please reduce the length of the {param}.",
            kind="context_length_exceeded",
            param=param,
        )
        self.tokens = tokens
        self.limit = limit
