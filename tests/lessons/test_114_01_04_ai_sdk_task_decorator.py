from __future__ import annotations

import pytest

DAG = "114_01_04_ai_sdk_task_decorator"


@pytest.fixture(scope="module")
def run(run_lesson):
    return run_lesson(DAG)


def test_it_ends_as_the_outline_says(run):
    assert run.state == "success", run.log[-3000:]
    assert set(run.tasks.values()) == {"success"}


@pytest.mark.checklist("114.1.4", "Use @task.llm decorator")
def test_the_outline_is_typed(run, dagbag):
    outline = run.xcoms["write_outline"]
    assert set(outline) == {"headline", "points"}
    assert outline["headline"].strip() and 2 <= len(outline["points"]) <= 4
    for task_id in ("write_outline", "write_draft", "polish"):
        assert dagbag.dags[DAG].get_task(task_id).custom_operator_name == "@task.llm"


@pytest.mark.checklist("114.1.4", "Configure model parameters")
def test_each_step_has_the_settings_of_its_prompt(run, dagbag):
    dag = dagbag.dags[DAG]
    settings = {t: dag.get_task(t).model_settings for t in ("write_outline", "write_draft", "polish")}
    assert settings["write_draft"] == {"temperature": 0.3, "max_tokens": 140}
    assert settings["write_outline"]["temperature"] == settings["polish"]["temperature"] == 0.0
    for request, limit in zip(run.requests, (120, 140, 90), strict=True):
        assert request["completion_tokens"] <= limit


@pytest.mark.checklist("114.1.4", "Template prompts with Jinja")
def test_templates_loop_and_branch(run, run_lesson):
    shown = run.xcoms["show_prompts"]
    for point in run.xcoms["write_outline"]["points"]:
        assert f"- {point}" in shown["draft_announcement"]
    assert "contractions" not in shown["polish_announcement"]
    formal = run_lesson(DAG, tone="formal").xcoms["show_prompts"]
    assert "Do not use contractions." in formal["polish_announcement"]


@pytest.mark.checklist("114.1.4", "Chain LLM tasks")
def test_each_step_reads_the_one_before(run):
    headline = run.xcoms["write_outline"]["headline"]
    assert headline in run.xcoms["show_prompts"]["draft_announcement"]
    assert run.xcoms["write_draft"].strip()[:40] in run.xcoms["show_prompts"]["polish_announcement"]
    assert run.xcoms["publish"] == f"# {headline}\n\n{run.xcoms['polish']}"
    assert len(run.requests) == 3
