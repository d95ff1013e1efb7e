from __future__ import annotations

import pytest

from llmkit import prompts

DAG = "114_04_02_prompt_versioning"


@pytest.fixture(scope="module")
def run(run_lesson):
    return run_lesson(DAG)


def test_it_ends_as_the_outline_says(run):
    assert run.state == "success", run.log[-3000:]
    assert set(run.tasks.values()) == {"success"}


@pytest.mark.checklist("114.4.2", "Store prompts externally")
def test_the_code_knows_an_alias_and_the_text_is_a_file(run, settings):
    assert run.xcoms["library.show_current"] == {"production": 1, "candidate": 2}
    lesson = (settings.dags / f"{DAG}.py").read_text()
    assert "Answer with one word" in prompts.load("sort_ticket").template and "Answer with one word" not in lesson


@pytest.mark.checklist("114.4.2", "Version control prompts")
def test_versions_are_named_by_their_text(run):
    listed = {v["version"]: v["digest"] for v in run.xcoms["library.list_versions"]}
    assert listed == {p.version: p.digest for p in prompts.versions("sort_ticket")} and len(set(listed.values())) == 2
    assert any(listed[1] in line and "promote version 1" in line for line in run.xcoms["show_history"])


@pytest.mark.checklist("114.4.2", "A/B testing prompts")
def test_each_arm_is_measured_on_its_own_share_and_the_better_one_promoted(run):
    scores = run.xcoms["experiment.score_arms"]
    assert scores["production"]["tickets"] + scores["candidate"]["tickets"] == 48
    assert 15 <= scores["candidate"]["tickets"] <= 33
    assert scores["candidate"]["score"] > scores["production"]["score"] + 0.05
    assert run.xcoms["rollout.promote_candidate"] is True
    arms = run.xcoms["experiment.assign_arms"]
    assert not {t["id"] for t in arms["production"]} & {t["id"] for t in arms["candidate"]}
    # One call a ticket, and two for the proofs.
    assert len(run.requests) == 48 + 2


@pytest.mark.checklist("114.4.2", "Rollback prompt versions")
def test_a_rollback_is_in_force_at_once_and_in_the_next_run(run, run_lesson):
    assert run.xcoms["rollout.use_promoted"]["version"] == 2 and run.xcoms["rollout.use_rolled_back"]["version"] == 1
    assert run.xcoms["rollout.use_promoted"]["team"] == "accounting"
    assert "rollback version 1" in run.xcoms["show_history"][-1]
    kept = run_lesson(DAG, keep=True, share=0.6)
    assert kept.xcoms["library.show_current"]["production"] == 1, "the roll-back of the run before"
    assert kept.state == "success" and kept.tasks["rollout.roll_back"] == "skipped"
    history = kept.xcoms["show_history"]
    assert history[: len(run.xcoms["show_history"])] == run.xcoms["show_history"], "nothing is ever taken out"
    after = run_lesson(DAG, share=0.0)
    assert after.xcoms["library.show_current"]["production"] == 2, "what was kept is what the next run finds"
    assert after.state == "success" and after.tasks["rollout.promote_candidate"] == "skipped"
    # As it was, for whoever runs the lesson next.
    from llmkit.prompts import releases

    releases.rollback(prompts.load("sort_ticket", 2), who="test", why="the end")
