from __future__ import annotations

import json
from collections import Counter
from unittest.mock import patch

import pytest

from llmkit import prompts

DAG = "114_07_05_single_provider_antipattern"
CHAIN = ["openai_outage", "anthropic_default", "cohere_default"]


@pytest.fixture(scope="module")
def breakers(running_stack):
    """Every connection's breaker, closed as on the first run."""
    from llmkit.routing import Chain

    chain = Chain(CHAIN)
    found = [chain.breaker(conn_id) for conn_id in CHAIN]
    for breaker in found:
        breaker.reset()
    return found


@pytest.fixture(scope="module")
def run(breakers, run_lesson):
    return run_lesson(DAG)


@pytest.fixture(scope="module")
def reordered(run, run_lesson):
    """Cohere first, which is not down, and fewer tickets."""
    return run_lesson(DAG, connections=["cohere_default", "anthropic_default", "openai_outage"], tickets=2)


def texts(run, provider: str) -> list[str]:
    """What a provider was asked, outages included."""
    return [r["body"]["messages"][0]["content"] for r in run.requests if r["provider"] == provider]


def wanted(settings, tickets: int) -> list[str]:
    """The prompts for the shop's first tickets."""
    data = json.loads((settings.dags.parent / "include" / "data" / "tickets.json").read_text())
    return [prompts.load("sort_ticket", 2).render(ticket=each["text"]) for each in data[:tickets]]


def test_it_ends_as_the_outline_says(run):
    assert run.state == "failed"
    failed = {task for task, state in run.tasks.items() if state != "success"}
    assert failed == {"bad_way.sort_tickets", "bad_way.publish_teams"}


@pytest.mark.checklist("114.7.5", "Outage vulnerability")
def test_each_retry_asks_the_one_that_is_down(run, settings):
    assert "bad_way.sort_tickets" not in run.xcoms and run.tasks["bad_way.publish_teams"] == "upstream_failed"
    down = [r for r in run.requests if r["key"] == "keyless:outage"]
    # Two tries of the bad way with three calls each, and three calls of the good way before its breaker opened.
    assert [r["status"] for r in down] == [503] * 9
    assert texts(run, "openai").count(wanted(settings, 1)[0]) >= 6, "it never gets beyond the first ticket"
    last = [line for line in run.log.splitlines() if "sort_tickets failed with" in line][-1]
    assert "InternalServerError" in last and "6 calls (6 refused)" in last and "no ticket was sorted" in last


@pytest.mark.checklist("114.7.5", "No fallback")
def test_the_same_tickets_are_lost_by_one_way_and_sorted_by_the_other(run, reordered):
    bad, good = run.result["ways"]
    assert (bad["way"], bad["calls"], bad["tokens"], bad["lost"]) == (
        "bad_way",
        6,
        0,
        "6 of 6 tickets",
    )
    assert (good["way"], good["calls"], good["lost"]) == ("good_way", 9, "0 of 6 tickets")
    assert good["tokens"] == sum((r["prompt_tokens"] or 0) + (r["completion_tokens"] or 0) for r in run.requests)
    assert set(bad) == {"way", "calls", "refused", "tokens", "usd", "seconds", "lost"} and good["usd"] > bad["usd"] == 0
    assert run.result["verdict"] == ("The bad way lost 6 of 6 tickets, the good way lost 0 of 6 tickets.")
    # Without an outage nothing is lost.
    assert reordered.state == "success"
    assert [row["lost"] for row in reordered.result["ways"]] == ["0 of 2 tickets"] * 2


@pytest.mark.checklist("114.7.5", "Multi-provider setup")
def test_the_next_one_answers_and_all_tasks_remember_who_is_down(run, run_lesson):
    assert run.result["answered by"] == {"anthropic_default": 6}
    assert (run.result["failed calls"], run.result["calls saved by the breaker"]) == (3, 3)
    # With a long cooldown the next run does not ask either; the bad way does.
    again = run_lesson(DAG, tickets=2, cooldown=600)
    assert (again.result["failed calls"], again.result["calls saved by the breaker"]) == (0, 2)
    assert Counter(r["provider"] for r in again.requests) == {"openai": 6, "anthropic": 2}


@pytest.mark.checklist("114.7.5", "Multi-provider setup")
def test_a_chain_of_one_is_no_better_and_a_short_cooldown_ends(run, run_lesson):
    alone = run_lesson(DAG, connections=["openai_outage"], tickets=1, cooldown=1)
    assert alone.tasks["good_way.sort_ticket[0]"] == "failed" and "no connection answers" in alone.log
    assert [row["lost"] for row in alone.result["ways"]] == ["1 of 1 tickets"] * 2
    assert alone.result["answered by"] == {}
    # After a second it is tried again: more calls than the bad way's six.
    assert len(alone.requests) > 6


@pytest.mark.checklist("114.7.5", "Multi-provider setup")
def test_one_ticket_that_fails_does_not_lose_the_others(breakers, run_dag, settings):
    from anthropic.resources.messages import Messages

    create, lost = Messages.create, wanted(settings, 3)[1]

    def refuse(self, **asked):
        if asked["messages"][0]["content"] == lost:
            raise ValueError("This ticket is too much.")
        return create(self, **asked)

    with patch.object(Messages, "create", refuse):
        run = run_dag(settings.dags, DAG, connections=["anthropic_default"], tickets=3)
    sorted_by_good_way = [run.tasks[f"good_way.sort_ticket[{n}]"] for n in range(3)]
    assert sorted_by_good_way == ["success", "failed", "success"]
    assert len(run.xcoms["good_way.sort_ticket"]) == 2, "a mapped task that failed leaves no XCom"
    assert run.tasks["good_way.count_providers"] == "success"
    assert run.result["answered by"] == {"anthropic_default": 2}
    assert [row["lost"] for row in run.result["ways"]] == ["3 of 3 tickets", "1 of 3 tickets"]


@pytest.mark.checklist("114.7.5", "Provider abstraction")
def test_the_form_says_who_answers_and_all_are_asked_the_same(run, reordered, settings):
    assert sorted(texts(run, "anthropic")) == sorted(wanted(settings, 6))
    assert {r["model"] for r in run.requests if r["status"] == 200} == {"claude-sonnet-5"}
    assert {r["asked"]["max_tokens"] for r in run.requests if r["status"] == 200} == {5}
    assert [r["provider"] for r in reordered.requests] == ["cohere"] * 4, "both ways ask the first one"
    assert sorted(texts(reordered, "cohere")) == sorted(wanted(settings, 2) * 2)
    assert reordered.result["answered by"] == {"cohere_default": 2}
    teams = [answer["team"] for answer in run.xcoms["good_way.sort_ticket"]]
    assert len(teams) == 6 and set(teams) <= {"support", "sales", "accounting"}
    # Offline all providers have the same model, so that the answers must be the same.
    assert [answer["team"] for answer in reordered.xcoms["good_way.sort_ticket"]] == teams[:2]
    assert [answer.strip().lower() for answer in reordered.xcoms["bad_way.sort_tickets"]] == teams[:2]
