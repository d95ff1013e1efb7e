from __future__ import annotations

from collections import Counter

import pytest

DAG = "114_07_05_single_provider_antipattern"


@pytest.fixture(scope="module")
def healthy(running_stack):
    """Every connection's breaker is closed, as on the first run."""
    from llmkit.routing import Chain

    chain = Chain(["openai_outage", "anthropic_default", "cohere_default"])
    [chain.breaker(conn_id).reset() for conn_id in chain.conn_ids]


@pytest.fixture(scope="module")
def run(healthy, run_lesson):
    return run_lesson(DAG)


def test_it_ends_as_the_outline_says(run):
    assert run.state == "failed"
    failed = {task for task, state in run.tasks.items() if state != "success"}
    assert failed == {"bad_way.sort_tickets", "bad_way.publish_teams"}


@pytest.mark.checklist("114.7.5", "Outage vulnerability")
def test_each_retry_asks_the_one_that_is_down(run):
    assert "InternalServerError: Error code: 503" in run.log
    down = [r for r in run.requests if r["key"] == "keyless:outage"]
    # Three tries of the bad way, and three of the good one before its breaker opened.
    assert [r["status"] for r in down] == [503] * 6


@pytest.mark.checklist("114.7.5", "No fallback")
def test_without_a_fallback_nothing_is_answered(run):
    assert "bad_way.sort_tickets" not in run.xcoms and run.tasks["bad_way.publish_teams"] == "upstream_failed"
    rows = [[cell.strip() for cell in row.strip("| ").split("|")] for row in run.xcoms["compare_ways"].splitlines()[2:]]
    ways = {row[0]: row[1:] for row in rows}
    assert ways["bad_way"][:3] == ["3", "3", "0"] and ways["bad_way"][-1] == "failed"
    assert ways["good_way"][:2] == ["9", "3"] and ways["good_way"][-1] == "success"


@pytest.mark.checklist("114.7.5", "Multi-provider setup")
def test_the_next_one_answers_and_the_breaker_opens(run, run_lesson):
    counted = run.xcoms["good_way.count_providers"]
    assert counted["health before"] == dict.fromkeys(("openai_outage", "anthropic_default", "cohere_default"), "closed")
    assert counted["answered"] == {"anthropic_default": 6}
    assert (counted["asked in vain"], counted["not asked"]) == (3, 3)
    again = run_lesson(DAG, tickets=2)
    health = again.xcoms["good_way.count_providers"]
    assert health["health before"]["openai_outage"] == "open" and health["not asked"] == 2, "remembered by the next run"


@pytest.mark.checklist("114.7.5", "Provider abstraction")
def test_any_of_the_providers_will_do(run, run_lesson):
    assert set(run.xcoms["good_way.count_providers"]["teams"]) <= {"support", "sales", "accounting"}
    other = run_lesson(DAG, connections=["cohere_default", "openai_default"], tickets=2)
    assert other.state == "success", "nobody is down"
    assert other.xcoms["good_way.count_providers"]["answered"] == {"cohere_default": 2}
    assert Counter(r["provider"] for r in other.requests) == {"cohere": 4}
    assert other.xcoms["good_way.count_providers"]["teams"] == run.xcoms["good_way.count_providers"]["teams"][:2]
