from __future__ import annotations

import checks
import pytest

from llmkit import prompts

DAG = "114_07_04_hardcoded_prompts_antipattern"


@pytest.fixture(scope="module")
def run(run_lesson):
    return run_lesson(DAG)


def test_it_ends_as_the_outline_says(run):
    assert run.state == "failed"
    failed = {task for task, state in run.tasks.items() if state != "success"}
    assert failed == {"bad_way.sort_phone", "bad_way.call_back"}


@pytest.mark.checklist("114.7.4", "Difficult iteration")
def test_copies_drift_and_one_breaks_by_a_brace(run):
    assert run.xcoms["bad_way.compare_channels"] == {"mail": "sales", "chat": "billing"}
    assert "KeyError: 'SPRING-10'" in run.log
    # The task broke before it called anybody: two calls of the bad way, and four of the good one.
    assert len(run.requests) == 2 + 4 and {r["status"] for r in run.requests} == {200}


@pytest.mark.checklist("114.7.4", "No versioning")
def test_nobody_knows_which_text_was_in_use(run):
    found = run.xcoms["bad_way.ask_which_version"]
    assert len(found) == 2 and set(found.values()) == {None}


@pytest.mark.checklist("114.7.4", "External prompt storage")
def test_the_prompt_is_a_file_with_a_digest(run, settings):
    loaded = run.xcoms["good_way.load_prompt"]
    assert loaded["digest"] == prompts.load("sort_ticket", 1).digest
    assert run.xcoms["good_way.change_prompt"] == {"before": "sales", "after": "accounting", "version": 2}
    # The check that finds prompts in the code finds this lesson's, and no other's.
    import ast

    tree = ast.parse((settings.dags / f"{DAG}.py").read_text())
    assert len(checks.long_texts(tree)) >= 2


@pytest.mark.checklist("114.7.4", "Prompt templating")
def test_one_template_serves_all_channels_and_takes_braces_as_they_are(run, run_lesson):
    answers = run.xcoms["good_way.sort_channel"]
    assert [a["channel"] for a in answers] == ["mail", "chat", "phone"]
    assert {(a["team"], a["version"]) for a in answers} == {("sales", 1)}
    plain = run_lesson(DAG, message="Where is the invoice for my lamp?")
    assert plain.state == "success", "without a brace nothing breaks, until somebody writes one"
    assert len(set(plain.xcoms["bad_way.compare_channels"].values())) == 2, "and the drift is still there"
