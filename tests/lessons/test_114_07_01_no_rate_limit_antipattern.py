from __future__ import annotations

import re
import time
from collections import Counter

import pytest

DAG = "114_07_01_no_rate_limit_antipattern"


@pytest.fixture(scope="module")
def run(run_lesson):
    return run_lesson(DAG)


def of(run, name):
    return [r for r in run.requests if r["key"].endswith(f"name={name}")]


def side_by_side(run) -> dict[str, list[str]]:
    """Way to calls, refused, tokens, USD, seconds, result."""
    rows = [[cell.strip() for cell in row.strip("| ").split("|")] for row in run.xcoms["compare_ways"].splitlines()[2:]]
    return {row[0]: row[1:] for row in rows}


def test_it_ends_as_the_outline_says(run):
    assert run.state == "failed"
    assert run.tasks["bad_way.call_at_once"] == "failed" and run.tasks["bad_way.publish_answers"] == "upstream_failed"
    others = {task: state for task, state in run.tasks.items() if not task.startswith("bad_way")}
    assert set(others.values()) == {"success"}, others


@pytest.mark.checklist("114.7.1", "API errors and retries")
def test_the_bad_way_is_refused_again_and_again(run):
    assert "RateLimitError: Error code: 429" in run.log
    statuses = Counter(r["status"] for r in of(run, "one"))
    assert statuses[429] > 60, "each of them was told to wait, and did not"


@pytest.mark.checklist("114.7.1", "Cost explosion risks")
def test_the_bad_way_pays_for_answers_that_are_lost(run):
    ways = side_by_side(run)
    bad, good = ways["bad_way"], ways["good_way"]
    assert bad[-1] == "failed" and good[-1] == "success"
    assert int(bad[0]) > 2 * int(good[0]), "calls"
    assert float(bad[3]) > 0 and "bad_way.call_at_once" not in run.xcoms, "paid, and nothing kept"
    answered = [r for r in of(run, "one") if r["status"] == 200]
    # One of them is that of ask_again_later, which belongs to the good way.
    assert int(bad[2]) == sum(r["prompt_tokens"] + r["completion_tokens"] for r in answered[:-1])


@pytest.mark.checklist("114.7.1", "Proper rate limiting")
def test_the_good_way_is_hardly_ever_refused_and_as_quick_as_the_quota_allows(run):
    assert run.xcoms["good_way.count_answers"] == 60
    calls = of(run, "two")
    statuses = Counter(r["status"] for r in calls)
    assert statuses[200] == 60 and statuses[429] <= 1, statuses
    came = [r["received_at"] for r in calls]
    # 20 at once, and the others as the quota refills; then what four tasks take to start one after the other.
    least = (60 - 20) * 6.0 / 20
    assert max(came) - min(came) <= 1.1 * least + 4


@pytest.mark.checklist("114.7.1", "Backoff strategies")
def test_backoff_grows_and_airflow_waits_as_long_as_it_is_told(run, dagbag):
    delays = run.xcoms["good_way.list_delays"]
    assert delays["exponential"] == [0.5, 1, 2, 4, 8, 16]
    assert all(0 <= j <= d for j, d in zip(delays["full jitter"], delays["exponential"], strict=True))
    assert run.xcoms["good_way.ask_again_later"] in ("support", "sales", "accounting")
    policy = dagbag.dags[DAG].get_task("good_way.ask_again_later").retry_policy

    class Refused(Exception):
        status_code = 429
        response = type("Response", (), {"headers": {"retry-after": "7"}})

    decision = policy.evaluate(Refused())
    assert 7 <= decision.retry_delay.total_seconds() <= 10.5 and "Retry-After" in decision.reason
    assert policy.evaluate(ValueError()).retry_delay is None


def test_what_fits_into_the_quota_succeeds_both_ways(run, run_lesson):
    # The first run used the quotas up; they are full again six seconds after their last request, a minute of these keys.
    full_at = max(r["received_at"] for r in (*of(run, "one"), *of(run, "two"))) + 6.1
    time.sleep(max(0.0, full_at - time.time()))
    few = run_lesson(DAG, letters=4)
    assert few.state == "success"
    assert re.search(r"\| bad_way \| 4 \| 0 \|", few.xcoms["compare_ways"])
