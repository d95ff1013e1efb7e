"""What two ways of a run cost, by rows of the ledger that are written here."""

from __future__ import annotations

import uuid
from types import SimpleNamespace
from typing import Any

import pytest

from llmkit.course import side_by_side
from llmkit.ledger import table

USED = {"model": "gpt-4o-mini", "usage": {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}}


def call(run_id: str, task_id: str, at: float, status: int = 200, **changed: Any) -> dict[str, Any]:
    told = USED if status == 200 else {}
    row = {"id": str(uuid.uuid4()), "at": 1_000_000 + at, "provider": "openai", "flavor": "chat", "kind": "chat"}
    row |= {"url": "http://127.0.0.1/openai/v1/chat/completions", "model": "gpt-4o-mini", "told": told, "seconds": 0.5}
    row |= {"status": status, "error": None, "dag_id": "d", "task_id": task_id, "run_id": run_id, "map_index": -1}
    return {**row, "try_number": 1, **changed}


@pytest.fixture
def context(running_stack) -> dict[str, Any]:
    """A run in which both ways did the same, and the bad way was refused once and tried again."""
    run_id = str(uuid.uuid4())
    table.store(
        [
            call(run_id, "write_prompts", 0),
            call(run_id, "bad_way.ask", 1),
            call(run_id, "bad_way.ask", 2, status=429),
            call(run_id, "bad_way.ask", 4, try_number=2),
            call(run_id, "good_way.ask", 1.2, map_index=0),
            call(run_id, "good_way.ask", 1.4, map_index=1),
            call(run_id, "good_way.judge", 1.3, told={}),
            call(f"another {run_id}", "bad_way.ask", 9),
            call(run_id, "bad_way.ask", 9, dag_id="another"),
        ]
    )
    return {"ti": SimpleNamespace(dag_id="d", run_id=run_id)}


def test_a_row_for_each_way_has_all_calls_of_its_group_in_every_try(context):
    bad, good = side_by_side.rows(context, bad_way="bad_way.ask", good_way="good_way")
    # gpt-4o-mini: 0.15 USD for a million tokens that go in, 0.60 for those that come out.
    usd = (100 * 0.15 + 50 * 0.60) / 1_000_000 * 2
    assert bad == {"way": "bad_way", "calls": 3, "refused": 1, "tokens": 300, "usd": pytest.approx(usd), "seconds": 3.5}
    assert good == {**bad, "way": "good_way", "refused": 0, "seconds": 0.7}, "a call without usage counts as a call"
    assert [type(value) for value in bad.values()] == [str, int, int, int, float, float], "so that an XCom can hold it"


def test_calls_that_two_ways_share_count_for_both(context):
    bad, good = side_by_side.rows(context, bad=["write_prompts", "bad_way"], good=["write_prompts", "good_way.ask"])
    assert (bad["calls"], good["calls"]) == (1 + 3, 1 + 3)
    assert (bad["seconds"], good["seconds"]) == (4.5, 1.9)


def test_a_way_without_calls_is_a_row_of_zeros(context):
    (none,) = side_by_side.rows(context, idle="idle.ask")
    assert none == {"way": "idle", "calls": 0, "refused": 0, "tokens": 0, "usd": 0.0, "seconds": 0.0}


def test_the_last_line_says_what_failed_and_what_it_cost(context, caplog):
    context = {**context, "exception": ValueError("too many\nrequests")}
    context["ti"].task_id = "bad_way.ask"
    side_by_side.last_line("no answer was kept")(context)
    side_by_side.last_line("nothing was written", of="good_way.judge")(context)
    assert caplog.messages[-4:] == [
        "::endgroup::",  # The end of Airflow's folded part of the log: the sentence stands below it.
        "bad_way.ask failed with ValueError: too many. 3 calls (1 refused) cost 0.000090 USD, and no answer was kept.",
        "::endgroup::",
        "bad_way.ask failed with ValueError: too many. 1 call cost 0.000000 USD, and nothing was written.",
    ]
