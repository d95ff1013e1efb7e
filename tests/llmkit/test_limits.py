from __future__ import annotations

import multiprocessing
import os
import time

import pytest


@pytest.fixture
def limit(running_stack):
    from llmkit.limits import RequestLimit

    # A name of its own for each test run: the counts are in the database.
    return lambda name, per_minute: RequestLimit(f"{name}_{os.getpid()}_{time.monotonic_ns()}", per_minute)


def test_a_free_request_does_not_wait(limit):
    assert limit("free", 60).acquire(timeout=1) >= 0


def test_over_the_limit_it_waits_and_then_says_so(limit):
    from llmkit.limits import LimitTimeout

    tight = limit("tight", 2)
    tight.acquire(timeout=1), tight.acquire(timeout=1)
    with pytest.raises(LimitTimeout, match="2 a minute"):
        tight.acquire(timeout=0.5)


def _take(name, results):
    from llmkit.limits import LimitTimeout, RequestLimit

    try:
        RequestLimit(name, 3).acquire(timeout=1.0)
        results.put("taken")
    except LimitTimeout:
        results.put("refused")


def test_the_limit_is_shared_by_processes(limit):
    name = limit("shared", 3).name
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    workers = [context.Process(target=_take, args=(name, results)) for _ in range(6)]
    [w.start() for w in workers]
    [w.join(30) for w in workers]
    assert sorted(results.get(timeout=1) for _ in workers) == ["refused"] * 3 + ["taken"] * 3


def test_a_name_that_is_no_word_is_refused(running_stack):
    from llmkit.limits import RequestLimit

    with pytest.raises(ValueError, match="plain word"):
        RequestLimit("x; drop table", 3).acquire()
