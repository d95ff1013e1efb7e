from __future__ import annotations

import re

import pytest

DAG = "114_07_02_unbounded_tokens_antipattern"


@pytest.fixture(scope="module")
def run(run_lesson):
    return run_lesson(DAG)


def side_by_side(run) -> dict[str, list[str]]:
    rows = [[cell.strip() for cell in row.strip("| ").split("|")] for row in run.xcoms["compare_ways"].splitlines()[2:]]
    return {row[0]: row[1:] for row in rows}


def test_it_ends_as_the_outline_says(run):
    assert run.state == "failed"
    failed = {task for task, state in run.tasks.items() if state != "success"}
    assert failed == {"bad_way.read_whole", "bad_way.publish_notes"}


@pytest.mark.checklist("114.7.2", "Cost overruns")
def test_answers_without_a_limit_are_as_long_as_the_model_likes(run):
    assert min(run.xcoms["bad_way.explain_parts"]) > 3 * 40
    bad, good = side_by_side(run)["bad_way"], side_by_side(run)["good_way"]
    answered = {way[-1]: int(way[0]) - int(way[1]) for way in (bad, good)}
    assert float(bad[3]) / answered["failed"] > 2 * float(good[3]) / answered["success"], "USD an answer"
    assert (bad[-1], good[-1]) == ("failed", "success")


@pytest.mark.checklist("114.7.2", "Context overflow")
def test_what_is_too_long_is_refused_once_and_not_tried_again(run):
    refused = [r for r in run.requests if r["status"] != 200]
    assert [r["status"] for r in refused] == [400]
    assert "maximum context length is 1500 tokens" in run.log


@pytest.mark.checklist("114.7.2", "Token budgeting")
def test_the_run_stops_before_the_cap(run, run_lesson):
    counted, read = run.xcoms["good_way.count_tokens"], run.xcoms["good_way.read_until_cap"]
    assert counted["all"] == sum(counted["parts"]) > 1500
    assert 0 < read["read"] < read["of"] == 20 and read["tokens"] <= 1200
    done = [r for r in run.requests if r["status"] == 200][-read["read"] :]
    assert read["tokens"] >= sum(
        r["prompt_tokens"] + r["completion_tokens"] for r in done if r["completion_tokens"] <= 40
    )
    poor = run_lesson(DAG, cap=100, longest=30)
    assert poor.xcoms["good_way.read_until_cap"] == {"read": 0, "of": 20, "tokens": 0, "notes": []}, "not one too many"


@pytest.mark.checklist("114.7.2", "Content truncation")
def test_parts_are_cut_behind_a_sentence(run):
    parts = run.xcoms["good_way.cut_parts"]
    cut = [part for part in parts if part["tokens"] < part["of"]]
    assert len(cut) >= 5 and all(part["tokens"] <= 120 for part in parts)
    assert all(re.search(r"[.:;!?)]$", part["text"]) for part in cut), [p["text"][-30:] for p in cut]
