"""Operators that the providers of Airflow lack, each on the hook that the provider has.

All of them return the completion's text, and push the XComs ``usage`` (tokens, in the provider's own names, with the
``try_number`` that paid for them), ``finish_reason``, ``model`` and ``response_id``. Errors of the SDKs are left as they are,
so that ``retries`` and a ``RetryPolicy`` can tell a refused key from a busy server. A completion that was cut off is returned,
with a warning; one without any text is an ``EmptyCompletion``, raised after its usage was pushed, because it is paid for.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator

if TYPE_CHECKING:
    from airflow.providers.anthropic.hooks.anthropic import AnthropicHook
    from airflow.providers.cohere.hooks.cohere import CohereHook
    from airflow.providers.openai.hooks.openai import OpenAIHook
    from airflow.sdk import Context

_CUT_OFF = {"length", "max_tokens", "MAX_TOKENS"}


def _push(ti: Any, usage: Any, **values: str | None) -> None:
    used = {**usage.model_dump(mode="json"), "try_number": ti.try_number} if usage else None
    for key, value in {"usage": used, **values}.items():
        ti.xcom_push(key=key, value=value)


class EmptyCompletion(ValueError):
    """The model answered without a text that could be used; the message says why, as far as the provider tells."""


class _CompletionOperator(BaseOperator):
    """What the three have in common: a prompt goes in, one text comes out.

    :param prompt: the user's message, or a whole conversation as a list of messages (``{"role": …, "content": …}``).
    :param model: the model's name at the provider.
    :param system: the system prompt.
    :param conn_id: the connection; its host and key decide who answers.
    :param max_tokens: the most tokens of the completion. A template is as good as a number.
    :param settings: further arguments of the SDK's call, such as ``{"seed": 7}``.
    """

    template_fields: Sequence[str] = ("prompt", "system", "model", "conn_id", "max_tokens", "settings")
    template_fields_renderers: ClassVar[dict[str, str]] = {"settings": "json"}
    ui_color = "#e8def8"

    def __init__(
        self,
        *,
        prompt: str | list[dict[str, Any]],
        conn_id: str,
        model: str | None = None,
        system: str | None = None,
        max_tokens: int | str | None = None,
        settings: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.prompt = prompt
        self.conn_id = conn_id
        self.model = model
        self.system = system
        self.max_tokens = max_tokens
        self.settings = settings

    def _messages(self) -> list[dict[str, Any]]:
        if not self.prompt:
            raise ValueError(f"The prompt of {self.task_id} is empty: nothing was sent.")
        return self.prompt if isinstance(self.prompt, list) else [{"role": "user", "content": self.prompt}]

    def _arguments(self) -> dict[str, Any]:
        limit = {} if _unset(self.max_tokens) else {"max_tokens": int(self.max_tokens)}
        return {**limit, **(self.settings or {})}

    def _finish(
        self, context: Context, text: str, *, reason: str | None, usage: Any, model: str, id: str | None, why: str = ""
    ) -> str:
        """Push what the answer says of itself, and return its text. Raises ``EmptyCompletion``."""
        if self.do_xcom_push:
            _push(context["ti"], usage, finish_reason=reason, model=model, response_id=id)
        self.log.info("%s finished with %s and used %s", model, reason, usage)
        if not text:
            raise EmptyCompletion(
                f"{model} gave no text (finish reason {reason}){': ' + why if why else ''}. "
                "Change the prompt or raise max_tokens; asking again would cost the same."
            )
        if reason in _CUT_OFF:
            self.log.warning("The token limit cut the completion off (finish reason %s): its end is missing.", reason)
        return text


def _unset(value: Any) -> bool:
    # A template renders what is missing as a text.
    return value in (None, "", "None")


class _SampledOperator(_CompletionOperator):
    """Adds what Claude's newer models, and with them the SDK, no longer take.

    :param temperature: from 0.0 up; not sent when ``None``. A template is as good as a number.
    """

    template_fields: Sequence[str] = (*_CompletionOperator.template_fields, "temperature")

    def __init__(self, *, temperature: float | str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.temperature = temperature

    def _arguments(self) -> dict[str, Any]:
        sampling = {} if _unset(self.temperature) else {"temperature": float(self.temperature)}
        return {**sampling, **super()._arguments()}


class _AsksOpenAI:
    conn_id: str

    @cached_property
    def hook(self) -> OpenAIHook:
        from airflow.providers.openai.hooks.openai import OpenAIHook

        return OpenAIHook(conn_id=self.conn_id)


class OpenAIChatOperator(_AsksOpenAI, _SampledOperator):
    """One chat completion of OpenAI, or of any server that speaks its API.

    Upstream has ``OpenAIResponseOperator`` for the newer Responses API; this one is for chat completions, which other
    providers and self-hosted servers have too. Raises ``openai.OpenAIError`` and its kin.
    """

    def __init__(self, *, conn_id: str = "openai_default", model: str = "gpt-4o-mini", **kwargs: Any) -> None:
        super().__init__(conn_id=conn_id, model=model, **kwargs)

    def execute(self, context: Context) -> str:
        """The first choice's text."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        reply = self.hook.conn.chat.completions.create(
            model=self.model, messages=[*system, *self._messages()], **self._arguments()
        )
        choice = reply.choices[0] if reply.choices else None
        return self._finish(
            context,
            (choice.message.content or "") if choice else "",
            reason=choice.finish_reason if choice else None,
            usage=reply.usage,
            model=reply.model,
            id=reply.id,
            why=(choice.message.refusal or "") if choice else "no choice came back",
        )


class AnthropicMessageOperator(_CompletionOperator):
    """One message of Claude. Without ``model`` it is the connection's. Raises ``anthropic.AnthropicError`` and its kin."""

    def __init__(
        self, *, conn_id: str = "anthropic_default", max_tokens: int | str | None = 1024, **kwargs: Any
    ) -> None:
        super().__init__(conn_id=conn_id, max_tokens=max_tokens, **kwargs)

    @cached_property
    def hook(self) -> AnthropicHook:
        from airflow.providers.anthropic.hooks.anthropic import AnthropicHook

        return AnthropicHook(conn_id=self.conn_id)

    def execute(self, context: Context) -> str:
        """The text of all text blocks."""
        reply = self.hook.create_message(
            self._messages(), model=self.model, system=self.system or None, **self._arguments()
        )
        text = "".join(block.text for block in reply.content if block.type == "text")
        return self._finish(context, text, reason=reply.stop_reason, usage=reply.usage, model=reply.model, id=reply.id)


class CohereGenerateOperator(_SampledOperator):
    """One completion of Cohere, by its v2 chat; the generate endpoint that the name comes from is gone.

    Raises ``cohere.core.ApiError`` and its kin.
    """

    def __init__(self, *, conn_id: str = "cohere_default", model: str = "command-a-03-2025", **kwargs: Any) -> None:
        super().__init__(conn_id=conn_id, model=model, **kwargs)

    @cached_property
    def hook(self) -> CohereHook:
        from airflow.providers.cohere.hooks.cohere import CohereHook

        return CohereHook(conn_id=self.conn_id)

    def execute(self, context: Context) -> str:
        """The text of the answer."""
        system = [{"role": "system", "content": self.system}] if self.system else []
        reply = self.hook.get_conn().chat(model=self.model, messages=[*system, *self._messages()], **self._arguments())
        text = "".join(part.text for part in reply.message.content or () if part.type == "text")
        return self._finish(context, text, reason=reply.finish_reason, usage=reply.usage, model=self.model, id=reply.id)


class OpenAIImageOperator(_AsksOpenAI, BaseOperator):
    """Draws one image and saves it; the path is what it returns.

    :param prompt: what to draw.
    :param path: where to save it, on any object storage that Airflow knows (``s3://…``, ``file:///…``). A second run writes
        the same file.
    :param model: an image model; DALL·E's successors are the ``gpt-image`` family.
    :param size: such as ``1024x1024``, width by height in pixels.
    :param conn_id: the OpenAI connection.
    :param storage_conn_id: the connection of the storage, if it needs one.
    :param settings: further arguments of ``images.generate``, such as ``{"quality": "low"}``.

    Pushes the XComs ``usage`` (tokens; ``None`` where the model counts images) and ``model``.
    """

    template_fields: Sequence[str] = ("prompt", "path", "model", "size", "conn_id", "settings")
    template_fields_renderers: ClassVar[dict[str, str]] = {"settings": "json"}
    ui_color = "#e8def8"

    def __init__(
        self,
        *,
        prompt: str,
        path: str,
        model: str = "gpt-image-2.5-flare",
        size: str = "1024x1024",
        conn_id: str = "openai_default",
        storage_conn_id: str | None = None,
        settings: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.prompt = prompt
        self.path = path
        self.model = model
        self.size = size
        self.conn_id = conn_id
        self.storage_conn_id = storage_conn_id
        self.settings = settings

    def execute(self, context: Context) -> str:
        """The path of the saved image."""
        from airflow.sdk import ObjectStoragePath

        reply = self.hook.conn.images.generate(
            model=self.model, prompt=self.prompt, size=self.size, **(self.settings or {})
        )
        if self.do_xcom_push:
            _push(context["ti"], reply.usage, model=self.model)
        image = reply.data[0] if reply.data else None
        if image is None or not (image.b64_json or image.url):
            raise EmptyCompletion(f"{self.model} drew nothing for this prompt.")
        target = ObjectStoragePath(self.path, conn_id=self.storage_conn_id)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(base64.b64decode(image.b64_json) if image.b64_json else _download(image.url))
        self.log.info("%s drew %s for %r", self.model, self.path, self.prompt[:80])
        return self.path


def _download(url: str) -> bytes:
    import httpx

    return httpx.get(url, timeout=60, follow_redirects=True).raise_for_status().content
