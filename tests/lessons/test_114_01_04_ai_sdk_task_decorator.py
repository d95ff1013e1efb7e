from __future__ import annotations

import pytest

DAG = "114_01_04_ai_sdk_task_decorator"
STEPS = ["write_outline", "write_draft", "polish_draft"]
FACTS = ["The Lyra reading lamp costs 49 EUR.", "It {{ 6 * 7 }} never flickers."]


@pytest.fixture(scope="module")
def run(run_lesson):
    return run_lesson(DAG)


@pytest.fixture(scope="module")
def other(run_lesson):
    """Each form field with another value."""
    return run_lesson(DAG, facts=FACTS, tone="formal", temperature=0.9)


def sent(run) -> list[str]:
    """What the model was told in each step, in their order."""
    assert len(run.requests) == 3, run.log[-2000:]
    return [request["asked"]["messages"][-1]["text"] for request in run.requests]


def settings_of(run) -> list[tuple]:
    asked = [request["asked"] for request in run.requests]
    return [(step["temperature"], step["max_tokens"], step["seed"]) for step in asked]


def test_it_ends_as_the_outline_says(run, other):
    assert run.state == other.state == "success", run.log[-3000:]
    assert set(run.tasks.values()) == {"success"}


@pytest.mark.checklist("114.1.4", "Use @task.llm decorator")
def test_a_function_that_returns_a_prompt_becomes_a_typed_task(run, other, dagbag):
    for done, facts in ((run, ["without a sound", "oak from Norway", "399 EUR"]), (other, FACTS)):
        assert all(fact in sent(done)[0] for fact in facts)
        outline = done.xcoms["write_outline"]
        assert set(outline) == {"headline", "points"}
        assert outline["headline"].strip() and 2 <= len(outline["points"]) <= 4
        # The SDK offers the type as a function that the model has to call.
        (function,) = done.requests[0]["asked"]["tools"]
        assert set(function["parameters"]["properties"]) == {"headline", "points"}
        assert not done.requests[1]["asked"]["tools"] and not done.requests[2]["asked"]["tools"]
    for task_id in STEPS:
        assert dagbag.dags[DAG].get_task(task_id).custom_operator_name == "@task.llm"


@pytest.mark.checklist("114.1.4", "Configure model parameters")
def test_each_step_is_asked_with_its_own_settings(run, other):
    assert settings_of(run) == [(0.0, 300, None), (0.3, 150, 7), (0.0, 80, None)]
    assert settings_of(other) == [(0.0, 300, None), (0.9, 150, 7), (0.0, 80, None)]


@pytest.mark.checklist("114.1.4", "Template prompts with Jinja")
def test_templates_loop_and_branch(run, other):
    for done in (run, other):
        points = "\n".join(f"- {point}" for point in done.xcoms["write_outline"]["points"])
        assert sent(done)[1].endswith(f"\n{points.rstrip()}"), "all of them, in the outline's order"
    assert "Do not use contractions." not in sent(run)[2]
    assert "Do not use contractions." in sent(other)[2]
    assert "{{ 6 * 7 }}" in sent(other)[0], "a fact is no template"


@pytest.mark.checklist("114.1.4", "Chain LLM tasks")
def test_each_step_reads_the_answer_before_it(run, other):
    for done in (run, other):
        assert done.xcoms["write_outline"]["points"][0] in sent(done)[1]
        draft = done.xcoms["write_draft"].strip()
        assert draft and sent(done)[2].strip().endswith(draft)
        result = done.xcoms["publish"]
        assert result["headline"] and result["text"]
        assert done.xcoms["write_outline"]["headline"].startswith(result["headline"].removesuffix(" …"))
        assert " ".join(done.xcoms["polish_draft"].split()).startswith(result["text"].removesuffix(" …"))


@pytest.mark.checklist("114.1.4", "Chain LLM tasks")
def test_the_tokens_of_each_step_are_those_that_the_provider_counted(run, other):
    for done in (run, other):
        rows = done.xcoms["publish"]["steps"]
        assert [row["step"] for row in rows] == STEPS
        for row, request in zip(rows, done.requests, strict=True):
            assert row["calls"] == 1
            assert (row["input_tokens"], row["output_tokens"]) == (
                request["prompt_tokens"],
                request["completion_tokens"],
            )
