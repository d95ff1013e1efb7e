from __future__ import annotations

import importlib.util

import pytest

DAG = "114_04_05_chain_of_thought_prompting"


@pytest.fixture(scope="module")
def run(run_lesson):
    return run_lesson(DAG)


@pytest.fixture(scope="module")
def lesson(running_stack, settings):
    """The file as a module, for its functions."""
    spec = importlib.util.spec_from_file_location("lesson", settings.dags / f"{DAG}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_it_ends_as_the_outline_says(run):
    assert run.state == "success", run.log[-3000:]
    assert set(run.tasks.values()) == {"success"}


@pytest.mark.checklist("114.4.5", "Implement CoT patterns")
def test_the_examples_differ_in_the_steps_alone(run):
    patterns = run.xcoms["compare_patterns"]
    assert patterns == {"add_up": "7", "add_up_in_steps": "Step 1: 3 * 2 = 6\nStep 2: 6 + 1 = 7\nAnswer: 7"}
    assert len(run.xcoms["reason_in_steps"]) == 3 and len(run.xcoms["reason_in_steps"][0]) == 5


@pytest.mark.checklist("114.4.5", "Step-by-step reasoning")
def test_steps_are_measured_against_a_guess(run):
    right = {way: int(text.split()[0]) for way, text in run.xcoms["report_accuracy"].items()}
    assert right["by the first chain"] > right["directly"]
    assert right["by vote"] >= right["by the first chain"]
    orders, direct = run.xcoms["list_orders"], run.xcoms["answer_directly"]
    assert right["directly"] == sum(d == str(o["total"]) for d, o in zip(direct, orders, strict=True))


@pytest.mark.checklist("114.4.5", "Parse intermediate steps")
def test_steps_are_typed(run, lesson):
    steps = run.xcoms["list_steps"]
    assert steps["4 cups at 3 EUR, delivery 2 EUR"] == ["4 * 3 = 12", "12 + 2 = 14"]
    parsed, answer = lesson.parse("Let me think. Step 1: 6 * 2 = 12, so\nStep 2: 12 + 4 = 16!\nAnswer: 16 EUR")
    assert [s.model_dump() for s in parsed] == [
        {"left": 6, "operation": "*", "right": 2, "result": 12},
        {"left": 12, "operation": "+", "right": 4, "result": 16},
    ]
    assert answer == 16
    assert lesson.parse("I do not know.") == ([], None)


@pytest.mark.checklist("114.4.5", "Validate reasoning chains")
def test_broken_chains_are_rejected_and_asked_for_again(run, lesson):
    order = "6 pens at 2 EUR, delivery 4 EUR"

    def fault(text):
        return lesson.fault(order, *lesson.parse(text))

    assert fault("6 * 2 = 12\n12 + 4 = 16\nAnswer: 16") is None
    assert fault("6 * 2 = 13\n13 + 4 = 17\nAnswer: 17") == "6 * 2 is not 13"
    assert fault("6 * 3 = 18\n18 + 4 = 22\nAnswer: 22") == "3 is neither in the order nor a result"
    assert fault("6 * 2 = 12\n12 + 4 = 16\nAnswer: 20") == fault("16") == "the answer is not what the last step gives"
    votes, chains = run.xcoms["vote"], run.xcoms["reason_in_steps"]
    rejected = [why for vote in votes.values() for why in vote["rejected"]]
    assert rejected, "this model makes mistakes"
    # One call for each guess, each chain that stands, and each that was rejected before it or for good.
    kept = sum(chain["valid"] for sample in chains for chain in sample)
    assert len(run.requests) == 5 + kept + len(rejected)


def test_an_order_that_nobody_can_add_up_has_no_answer(run_lesson):
    hard = run_lesson(DAG, chains=1, tries=1, order="{{ 731 }} desks at 8914 EUR, delivery 377 EUR {% raw %}")
    assert hard.state == "success"
    vote = hard.xcoms["vote"]["{{ 731 }} desks at 8914 EUR, delivery 377 EUR {% raw %}"]
    assert vote["answer"] is None and len(vote["rejected"]) == 1
    assert hard.xcoms["reason_in_steps"][0][-1]["valid"] is False
