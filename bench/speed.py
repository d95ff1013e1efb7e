"""keyless beside what it is made of: the same model and the same sentence model, called without HTTP."""

from __future__ import annotations

import base64
import json
import statistics
import time
from dataclasses import dataclass

import httpx
import numpy as np

from keyless.mind.embedder import Embedder
from keyless.mind.engine import Engine, Sampling

CHAT = "/openai/v1/chat/completions"
AUTH = {"Authorization": "Bearer keyless-bench"}


@dataclass(frozen=True)
class Pair:
    """A figure through keyless and the same without it."""

    through: float
    direct: float

    @property
    def ratio(self) -> float:
        return self.through / self.direct


def short_chat(client: httpx.Client, engine: Engine, rounds: int = 40) -> Pair:
    """Median milliseconds of a call of 16 tokens, the two sides in turn."""
    messages = [{"role": "user", "content": "Name three things on a desk."}]
    through, direct = [], []
    payload = {**Sampling(max_tokens=16).as_llama_cpp(), "messages": messages}
    for _ in range(rounds):
        began = time.perf_counter()
        client.post(CHAT, json={"model": "m", "messages": messages, "max_tokens": 16}, headers=AUTH).raise_for_status()
        through.append(time.perf_counter() - began)
        began = time.perf_counter()
        engine._server.handle_chat_completions(payload)
        direct.append(time.perf_counter() - began)
    return Pair(statistics.median(through) * 1000, statistics.median(direct) * 1000)


def tokens_per_second(client: httpx.Client, engine: Engine, rounds: int = 12) -> Pair:
    """Tokens a second of streamed answers of 200 tokens: the median round, the two sides in turn."""
    messages = [{"role": "user", "content": "Write a long story about a lamp that wanted to see the sea."}]
    through, direct = [], []
    payload = {
        **Sampling(max_tokens=200).as_llama_cpp(),
        "messages": messages,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    for _ in range(rounds):
        began = time.perf_counter()
        body = {
            "model": "m",
            "messages": messages,
            "max_tokens": 200,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        with client.stream("POST", CHAT, json=body, headers=AUTH) as reply:
            chunks = list(reply.iter_raw())
        took = time.perf_counter() - began
        lines = [json.loads(line[6:]) for line in b"".join(chunks).splitlines() if line.startswith(b"data: {")]
        through.append(next(c["usage"]["completion_tokens"] for c in lines if c.get("usage")) / took)
        seen: list[dict] = []
        began = time.perf_counter()
        engine._server.handle_chat_completions(payload, lambda chunk, seen=seen: seen.append(chunk) or False)
        usage = next(c["usage"] for c in reversed(seen) if c.get("usage"))
        direct.append(usage["completion_tokens"] / (time.perf_counter() - began))
    return Pair(statistics.median(through), statistics.median(direct))


def embeddings_per_second(client: httpx.Client, embedder: Embedder, rounds: int = 5) -> Pair:
    """Short texts a second, 256 a request, against onnxruntime in this process."""
    texts = [f"Ticket {i}: the lamp on my desk flickers when I dim it." for i in range(256)]
    through, direct = [], []
    for _ in range(rounds):
        began = time.perf_counter()
        body = {"model": "all-minilm", "input": texts, "encoding_format": "base64"}
        data = client.post("/openai/v1/embeddings", json=body, headers=AUTH).json()["data"]
        vectors = [np.frombuffer(base64.b64decode(d["embedding"]), dtype="<f4") for d in data]
        assert len(vectors) == 256
        through.append(256 / (time.perf_counter() - began))
        began = time.perf_counter()
        embedder.embed(texts)
        direct.append(256 / (time.perf_counter() - began))
    return Pair(statistics.median(through), statistics.median(direct))
