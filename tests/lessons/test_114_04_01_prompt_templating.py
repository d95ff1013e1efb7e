from __future__ import annotations

import pytest

from llmkit import prompts

DAG = "114_04_01_prompt_templating"


@pytest.fixture(scope="module")
def run(run_lesson):
    return run_lesson(DAG)


def test_it_ends_as_the_outline_says(run):
    assert run.state == "success", run.log[-3000:]
    assert set(run.tasks.values()) == {"success"}


@pytest.mark.checklist("114.4.1", "Jinja2 prompt templates")
def test_the_rendered_file_is_what_the_model_gets(run):
    described = run.xcoms["describe_template"]
    assert described["digest"] == prompts.load("order_update").digest and len(described["variables"]) == 4
    assert "{{" not in run.xcoms["render_prompt"] and "{%" not in run.xcoms["render_prompt"]
    assert run.xcoms["write_update"]
    [call] = run.requests
    assert call["completion_tokens"] <= described["settings"]["max_tokens"] == 60
    # What keyless counted is the prompt and little more.
    assert call["prompt_tokens"] == pytest.approx(len(run.xcoms["render_prompt"]) / 4, rel=0.6)


@pytest.mark.checklist("114.4.1", "Dynamic variable injection")
def test_values_come_from_tasks_and_the_form_and_bad_ones_are_refused(run, run_lesson):
    assert "product: Fjord standing desk" in run.xcoms["render_prompt"]
    refused = run.xcoms["refuse_bad_values"]
    assert "needs a value for: order" in refused["missing"]
    assert "does not declare: qestion" in refused["misspelled"]
    assert "not of type 'object'" in refused["of another type"]
    assert "'rude' is not one of" in refused["not one of the tones"]
    assert refused["hostile"] == "stayed text"
    assert len(run.requests) == 1, "none of these reached a model"
    question = "{{ var.value.secret }} {% raw %}"
    other = run_lesson(DAG, order_id="4711", tone="formal", question=question)
    assert other.state == "success"
    prompt = other.xcoms["render_prompt"]
    assert question in prompt and "Aurora lamp" in prompt and "contractions" in prompt


@pytest.mark.checklist("114.4.1", "Template inheritance")
def test_the_frame_is_shared(run):
    compared = run.xcoms["compare_with_frame"]
    assert "You write to a customer of Lumen & Oak, a small shop for desks and lamps." in compared["from the frame"]
    assert "Write two friendly sentences. Promise nothing that you were not told." in compared["from the frame"]
    assert any("Fjord standing desk" in line for line in compared["from the template"])
    assert sum(map(len, compared.values())) == sum(
        1 for line in run.xcoms["render_prompt"].splitlines() if line.strip()
    )


@pytest.mark.checklist("114.4.1", "Conditional prompt sections")
def test_each_status_has_its_sections(run):
    sections = run.xcoms["compare_sections"]
    assert set(sections) == {"shipped", "in production", "delivered", "cancelled"}
    assert {status for status, has in sections.items() if has["money comes back"]} == {"cancelled"}
    assert {status for status, has in sections.items() if has["we write again"]} == {"in production"}
    assert sections["cancelled"]["tokens"] > sections["shipped"]["tokens"]
