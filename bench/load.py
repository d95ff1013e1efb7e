"""How many requests a second keyless answers where nothing is generated, and whether it answers all of a long mixed load.

The client is a process of its own with bare sockets, because an HTTP library would cost more than what is measured.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import subprocess
import sys
import time
from collections import Counter
from urllib.parse import urlsplit

CONNECTIONS = 16
HI = [{"role": "user", "content": "Hi"}]
EMBEDDING = ("/openai/v1/embeddings", {"model": "m", "input": "hello", "encoding_format": "base64"})
MIXED = [
    EMBEDDING,
    ("/openai/v1/chat/completions", {"model": "m", "messages": HI, "max_tokens": 2}),
    ("/openai/v1/moderations", {"input": "hello"}),
    ("/anthropic/v1/messages/count_tokens", {"model": "m", "messages": HI}),
    ("/anthropic/v1/messages", {"model": "m", "messages": HI, "max_tokens": 2, "stream": True}),
    ("/cohere/v2/embed", {"model": "m", "texts": ["hello"], "input_type": "search_query"}),
    ("/cohere/v2/rerank", {"model": "m", "query": "hello", "documents": ["hello", "goodbye"]}),
    ("/google/v1beta/models/m:countTokens", {"contents": [{"parts": [{"text": "Hi"}]}]}),
    ("/google/v1beta/models/m:embedContent", {"content": {"parts": [{"text": "Hi"}]}}),
    ("/bedrock/model/titan-embed/invoke", {"inputText": "hello"}),
    ("/bedrock/model/m/converse-stream", {"messages": [{"role": "user", "content": [{"text": "Hi"}]}], "inferenceConfig": {"maxTokens": 2}}),
    ("/ollama/api/embed", {"model": "m", "input": "hello"}),
]  # fmt: skip


def _request(host: str, path: str, key: str, body: dict) -> bytes:
    content = json.dumps(body).encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


async def _answer(reader: asyncio.StreamReader) -> int:
    """The status of the next reply, its body read to the end."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
    if "transfer-encoding: chunked" in head:
        while size := int((await reader.readline()).strip(), 16):
            await reader.readexactly(size + 2)
        await reader.readline()
    else:
        length = next(line for line in head.splitlines() if line.startswith("content-length:"))
        await reader.readexactly(int(length.partition(":")[2]))
    return int(head.split(None, 2)[1])


async def _run(url: str, count: int, key: str, mixed: bool) -> dict[str, object]:
    parts = urlsplit(url)
    host, port = str(parts.hostname), int(parts.port or 80)
    requests = [_request(f"{host}:{port}", path, key, body) for path, body in (MIXED if mixed else [EMBEDDING])]
    todo = iter(itertools.islice(itertools.cycle(requests), count))
    codes: Counter[int] = Counter()

    async def connection() -> None:
        reader, writer = await asyncio.open_connection(host, port)
        for request in todo:
            writer.write(request)
            codes[await _answer(reader)] += 1
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(connection() for _ in range(CONNECTIONS)))
    return {"per_second": count / (time.perf_counter() - began), "codes": {str(k): v for k, v in codes.items()}}


def run(url: str, count: int, *, key: str = "keyless-bench", mixed: bool = False) -> tuple[float, dict[str, int]]:
    """Requests a second over ``count`` requests on ``CONNECTIONS`` connections, and how many got each status."""
    command = [sys.executable, "-m", "bench.load", url, str(count), key, "mixed" if mixed else ""]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    return found["per_second"], found["codes"]


if __name__ == "__main__":
    target, number, name, kind = sys.argv[1:]
    sys.stdout.write(json.dumps(asyncio.run(_run(target, int(number), name, kind == "mixed"))))
