"""The language of keys, quotas and shares, without a server."""

from __future__ import annotations

from fractions import Fraction

import pytest

from keyless.http.keys import DIRECTIVES, Bucket, Directives, Key, Keys, Share, parse
from keyless.neutral import BadRequest


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_every_directive():
    assert parse("keyless") == parse("sk-whatever") == Directives()
    assert parse("keyless:rpm=20,tpm=4000,context=512") == Directives(rpm=20, tpm=4000, context=512)
    asked = parse("keyless:fail=503@0.3,fail=429,outage,latency=250ms@0.5,malformed,truncate@.25,name=lesson-7.1")
    assert asked.fails == ((503, Share(Fraction(3, 10))), (429, Share()))
    assert asked.outage and asked.latency == 0.25 and asked.latency_share == Share(Fraction(1, 2))
    assert asked.malformed == Share() and asked.truncate == Share(Fraction(1, 4))
    assert parse("keyless: rpm=1 , latency=1.5s").latency == 1.5
    assert parse("keyless:rpm=20,minute=6s").minute == 6.0


def test_a_minute_may_be_shorter():
    clock = Clock()
    bucket = Bucket(20, clock, minute=6.0)
    assert [bucket.take(1) for _ in range(20)] == [0.0] * 20
    assert bucket.take(1) == pytest.approx(0.3)
    clock.now = 0.3
    assert bucket.take(1) == 0.0
    assert Keys().get("openai", "keyless:rpm=20,minute=6s").requests.minute == 6.0


@pytest.mark.parametrize(
    "wrong",
    [
        "", "nope", "rpm", "rpm=", "rpm=0", "rpm=-1", "rpm=1.5", "rpm=x", "rpm=20@0.5", "tpm=1e3", "fail", "fail=200",
        "fail=600", "fail=503@0", "fail=503@1.1", "fail=503@", "fail=503@x", "outage=1", "outage@0.5", "latency", "latency=2",
        "latency=2m", "latency=9999s", "malformed=1", "context=0", "name", "name=", "rpm=٣", "rpm=20,,tpm=3", "RPM=20",
        "minute=0s", "minute=6", "minute=6s@0.5",
    ],
)  # fmt: skip
def test_what_does_not_exist_is_named(wrong):
    with pytest.raises(BadRequest) as caught:
        parse(f"keyless:{wrong}")
    assert caught.value.status == 401
    part = next((p for p in wrong.split(",") if p != "rpm=20"), "") if "," in wrong else wrong
    assert repr(part) in str(caught.value)


def test_the_error_lists_what_there_is():
    with pytest.raises(BadRequest) as caught:
        parse("keyless:nope")
    assert all(name in str(caught.value) for name in DIRECTIVES)


@pytest.mark.parametrize("of", ["1", "0.5", "0.3", "0.1", "0.999"])
def test_shares_are_exact_and_begin_with_the_first(of):
    share = Share(Fraction(of))
    hits = [share.hits(n) for n in range(1, 1001)]
    assert hits[0] and sum(hits) == 1000 * Fraction(of)
    # Evenly spread: no stretch of 100 has one more or less than its share.
    assert all(abs(sum(hits[i : i + 100]) - 100 * Fraction(of)) <= 1 for i in range(900))


def test_each_fault_counts_for_itself():
    key = Key(Directives())
    half = Share(Fraction(1, 2))
    assert [key.turn("a", half) for _ in range(4)] == [True, False, True, False]
    assert key.turn("b", half) and not key.turn("c", None)


def test_a_bucket_refills_continuously_and_never_over_its_limit():
    clock = Clock()
    bucket = Bucket(60, clock)
    assert [bucket.take(1) for _ in range(60)] == [0.0] * 60
    assert bucket.take(1) == pytest.approx(1.0)
    clock.now = 0.5
    assert bucket.take(1) == pytest.approx(0.5)
    clock.now = 1.0
    assert bucket.take(1) == 0.0
    clock.now = 1000.0
    assert bucket.left == 60
    bucket.give_back(5)
    assert bucket.left == 60
    bucket.give_back(-10)
    assert bucket.left == 50 and bucket.refilled_in(60) == pytest.approx(10)


@pytest.mark.parametrize("limit", [1, 7, 20, 600, 90_000])
def test_waiting_as_told_is_always_enough(limit):
    clock = Clock()
    bucket = Bucket(limit, clock)
    admitted = 0
    for _ in range(3 * min(limit, 500)):
        if wait := bucket.take(max(1, limit // 500)):
            clock.now += wait
            assert bucket.take(max(1, limit // 500)) == 0.0
        admitted += max(1, limit // 500)
    assert admitted <= limit + clock.now * limit / 60 + 1e-3


def test_the_same_key_is_another_account_elsewhere():
    keys = Keys()
    assert keys.get("openai", "keyless:rpm=1") is keys.get("openai", "keyless:rpm=1")
    assert keys.get("openai", "keyless:rpm=1") is not keys.get("cohere", "keyless:rpm=1")
    assert keys.get("openai", "keyless:rpm=1") is not keys.get("openai", "keyless:rpm=1,name=b")
    assert keys.get("openai", "any") is keys.get("openai", "other")
