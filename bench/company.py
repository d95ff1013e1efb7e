"""keyless in company: what a long extraction costs everybody else, and what busy processes cost its language model."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

from bench.speed import AUTH, CHAT

LINE = (
    "The order of Ana Costa in Lisbon left our warehouse with Nord Parcel on {day} May 2025 and came back a week later. "
    "The lamp flickers as soon as somebody dims it, the desk is fine, and the customer asks for a refund of {n} EUR.\n"
)
FIELDS = {
    "customer": {"type": "string", "description": "who ordered"},
    "city": {"type": "string", "description": "where the customer lives"},
    "order_number": {"type": "string"},
    "order_date": {"type": "string", "format": "date"},
    "total": {"type": "number", "description": "the amount to be refunded in EUR"},
    "phone": {"type": "string"},
    "carrier": {"type": "string", "description": "the company that delivers"},
    "refund_requested": {"type": "boolean", "description": "whether a refund is asked for"},
}


@dataclass(frozen=True)
class Beside:
    """While one client's extraction runs: how long it took, the health checks' latencies, and another client's stream.

    Seconds, milliseconds, and tokens a second without and with the extraction beside it.
    """

    extraction: float
    health_median: float
    health_worst: float
    stream_alone: float
    stream_beside: float


def _extract(url: str, characters: int, number: int) -> float:
    """Seconds that an extraction from a text of so many characters takes; another text for each ``number``."""
    names = ("Ana Costa", "Tom Berg", "Eva Lind", "Ida Holm", "Leo Maas")
    lines = (LINE.format(n=1000 * number + n, day=1 + n % 28) for n in range(characters // 200))
    # keyless remembers what it has seen of a text: nothing of the last round may help in this one.
    text = "".join(lines).replace("Ana Costa", names[number % len(names)])[:characters]
    schema = {"type": "object", "properties": FIELDS, "required": list(FIELDS)}
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": f"Extract the fields.\n\n```\n{text}\n```"}],
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}},
    }
    began = time.perf_counter()
    httpx.post(f"{url}{CHAT}", json=body, headers=AUTH, timeout=300, trust_env=False).raise_for_status()
    return time.perf_counter() - began


def _tokens(url: str, most: int = 200) -> float:
    """Tokens a second of one streamed answer."""
    body = {
        "model": "m",
        "messages": [{"role": "user", "content": "Write a long story about a lamp that wanted to see the sea."}],
        "max_tokens": most,
        "stream": True,
    }
    count, began = 0, time.perf_counter()
    with httpx.stream("POST", f"{url}{CHAT}", json=body, headers=AUTH, timeout=300, trust_env=False) as reply:
        for line in reply.iter_lines():
            if line.startswith("data: {") and json.loads(line[6:])["choices"][0]["delta"].get("content"):
                count += 1
    return count / (time.perf_counter() - began)


def beside_an_extraction(url: str, characters: int = 20_000, rounds: int = 3) -> Beside:
    """The worst of ``rounds`` for the health checks, the median for the rest."""
    _extract(url, characters, 0)
    alone = statistics.median(_tokens(url) for _ in range(rounds))
    took: list[float] = []
    pings: list[float] = []
    streams: list[float] = []
    for number in range(1, rounds + 1):
        done = threading.Event()

        def extract(number: int = number, done: threading.Event = done) -> None:
            took.append(_extract(url, characters, number))
            done.set()

        def stream() -> None:
            streams.append(_tokens(url))

        threads = [threading.Thread(target=extract), threading.Thread(target=stream)]
        for thread in threads:
            thread.start()
        with httpx.Client(trust_env=False, timeout=60) as client:
            while not done.is_set():
                began = time.perf_counter()
                client.get(f"{url}/health").raise_for_status()
                pings.append((time.perf_counter() - began) * 1000)
                time.sleep(0.01)
        for thread in threads:
            thread.join()
    return Beside(statistics.median(took), statistics.median(pings), max(pings), alone, statistics.median(streams))


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """So many processes that do nothing but compute."""
    spin = [sys.executable, "-c", "while True: pass"]
    running = [subprocess.Popen(spin) for _ in range(processes)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def tokens_beside(url: str, processes: int, rounds: int = 3) -> float:
    """Tokens a second, the median of ``rounds``, with so many busy processes on the machine."""
    with busy(processes):
        return statistics.median(_tokens(url, 100) for _ in range(rounds))
