"""Print the figures; ``python -m bench stack`` adds those of the whole stack and a longer load, which take ten minutes more."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

from bench import company, load, parse, quality, speed
from keyless.mind.embedder import Embedder
from keyless.mind.engine import Engine
from stack.settings import REPO, Settings
from stack.use import in_use


def say(text: str) -> None:
    """One line."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def speeds(client: httpx.Client) -> None:
    """keyless against the engine and onnxruntime."""
    engine = Engine()
    chat = speed.short_chat(client, engine)
    say(
        f"short chat (16 tokens), median: {chat.through:.1f} ms through keyless, {chat.direct:.1f} ms direct: {chat.through - chat.direct:+.1f} ms (bar: +10 ms)"
    )
    tokens = speed.tokens_per_second(client, engine)
    say(
        f"streamed tokens/s: {tokens.through:.0f} through keyless, {tokens.direct:.0f} direct: ratio {tokens.ratio:.2f} (bar: 0.95)"
    )
    embedded = speed.embeddings_per_second(client, Embedder())
    say(
        f"embeddings/s: {embedded.through:.0f} through keyless, {embedded.direct:.0f} with onnxruntime direct: ratio {embedded.ratio:.2f}"
    )


def in_company(url: str) -> None:
    """What a long extraction costs everybody else, and busy processes the language model."""
    found = company.beside_an_extraction(url)
    say(
        f"beside an extraction from 20,000 characters ({found.extraction:.1f} s): /health answers in {found.health_median:.0f} ms (median), "
        f"{found.health_worst:.0f} ms (worst; bar: 50); another client's stream {found.stream_beside:.0f} tokens/s of {found.stream_alone:.0f} alone: "
        f"ratio {found.stream_beside / found.stream_alone:.2f}"
    )
    idle, *beside = (company.tokens_beside(url, processes) for processes in (0, 1, 2))
    one, two = (f"{tokens:.0f} ({tokens / idle:.2f})" for tokens in beside)
    say(f"tokens/s with no busy process beside it {idle:.0f}, with one {one}, with two {two}")


def loads(url: str, requests: int) -> None:
    """Requests a second, and whether any of ``requests`` mixed ones fails."""
    load.run(url, 200, mixed=True)
    embedded, _ = load.run(url, 3000)
    say(f"embeddings of one short text: {embedded:.0f} requests/s over {load.CONNECTIONS} connections")
    key = f"keyless:rpm=1,name=bench-{time.time_ns()}"
    refused, codes = load.run(url, 10_000, key=key)
    say(f"a quota used up (429): {refused:.0f} requests/s (bar: 1000); {codes.get('429', 0)} of 10000 refused")
    mixed, codes = load.run(url, requests, mixed=True)
    failed = sum(n for code, n in codes.items() if code != "200")
    say(f"{requests} requests to {len(load.MIXED)} routes in turn: {failed} failed (bar: 0), {mixed:.0f} requests/s")


def parses() -> None:
    """Lessons against the AI provider's examples and against files with two empty tasks."""
    import airflow.providers.common.ai.example_dags as examples

    with tempfile.TemporaryDirectory() as folder:
        for number in range(5):
            (Path(folder) / f"empty_{number}.py").write_text(parse.EMPTY.format(n=number))
        folders = [str(REPO / "dags"), str(Path(examples.__file__).parent), folder]
        # The examples were compiled when they were installed; the lessons get their bytecode too, as in a reader's checkout.
        command, environment = [sys.executable, "-m", "bench.parse", *folders], {**os.environ}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        done = subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True, check=True)
        times = json.loads(done.stdout.strip().splitlines()[-1])
        group = {f: [t for path, t in times.items() if path.startswith(f)] for f in folders}
    lessons, theirs, empty = ([ms for ms, _ in group[f]] for f in folders)
    mean = statistics.mean(theirs)
    of_a_task = [sum(ms for ms, _ in group[f]) / sum(tasks for _, tasks in group[f]) for f in folders[:2]]
    say(
        f"parse time a file, warm: lessons {statistics.mean(lessons):.1f} ms (slowest {max(lessons):.1f}), Airflow's {len(theirs)} AI examples {mean:.1f} ms, "
        f"two empty tasks {statistics.mean(empty):.1f} ms: slowest lesson / mean example {max(lessons) / mean:.2f} (bar: 1.2); "
        f"a task of a lesson {of_a_task[0]:.2f} ms, of an example {of_a_task[1]:.2f} ms: ratio {of_a_task[0] / of_a_task[1]:.2f}"
    )


def qualities(client: httpx.Client) -> None:
    """The labelled sets, and those that were never tuned for."""
    for title, data in (("quality", quality.DATA), ("quality, held out", quality.HELD_OUT)):
        scores = quality.classification(client, data)
        total = quality.total_of(scores, "classification")
        found = [
            *scores,
            total,
            *quality.choices(client, data),
            quality.fields(client, data),
            quality.tools(client, data),
            *([quality.sql(client, data)] if (data / "sql.yaml").exists() else []),
        ]
        if data == quality.DATA:
            found.append(quality.pages(client))
        for score in found:
            say(f"{title}: {score.name}: {score.right} of {score.total} = {score.share:.1%}")
            for wrong in score.wrong if "-v" in sys.argv else ():
                say(f"    {wrong}")


def course() -> None:
    """How long every lesson takes, in one process."""
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "stack", "course"], cwd=REPO, capture_output=True, text=True, check=False
    )
    seconds, lessons = time.monotonic() - began, len(list((REPO / "dags").glob("*.py")))
    ended = next((line for line in done.stdout.splitlines() if "ended as expected" in line), "it did not end")
    say(f"make course: {seconds:.0f} s, {seconds / lessons:.1f} s a lesson (bar: 3.6); {ended}")


def main() -> int:
    """All figures of this machine."""
    settings = Settings.load()
    with in_use(settings), httpx.Client(base_url=settings.keyless_url, timeout=120, trust_env=False) as client:
        speeds(client)
        in_company(settings.keyless_url)
        loads(settings.keyless_url, 10_000 if "stack" in sys.argv else 1_000)
        parses()
        qualities(client)
        course()
    if "stack" in sys.argv:
        from bench import stack

        figures = stack.measure()
        say(
            f"make up: ready after {figures.cold_ready:.0f} s on a fresh state, {figures.warm_ready:.0f} s warm (bar: 45); 50 lessons listed "
            f"{figures.listed_after:.0f} s after the processes' start (bar: 20); idle {figures.idle_cores:.2f} cores (bar: 0.25); {figures.memory_mb:.0f} MiB"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
