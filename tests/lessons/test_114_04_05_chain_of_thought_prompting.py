from __future__ import annotations

import re
from collections import Counter
from types import SimpleNamespace

import pytest

DAG = "114_04_05_chain_of_thought_prompting"
HOOKS, BULBS, CLIPS = (
    "3 hooks at 4 EUR plus 2 EUR delivery",
    "6 bulbs at 2 EUR minus 4 EUR voucher",
    "2 clips at 3 EUR and 4 plugs at 1 EUR",
)
MINE = "{{ 7 }} cords at 6 EUR plus 1 EUR delivery {% raw %}"


@pytest.fixture(scope="module")
def run(run_lesson):
    return run_lesson(DAG)


@pytest.fixture
def scripted(run_dag, settings, monkeypatch):
    """``scripted(texts, **params)`` runs the lesson with a model that says ``texts[order, seed]``; without a seed it guesses."""
    from airflow.providers.openai.hooks.openai import OpenAIHook

    def run(texts, **params):
        calls = []

        def say(self, messages, model, **asked):
            order = messages[-1]["content"]
            calls.append((order, asked.get("seed")))
            text = texts.get((order, asked.get("seed")), "I do not know.")
            return [SimpleNamespace(message=SimpleNamespace(content=text))]

        monkeypatch.setattr(OpenAIHook, "create_chat_completion", say)
        return run_dag(settings.dags, DAG, **params), calls

    return run


def chat(run, *, in_steps: bool) -> list[dict]:
    """What was asked in steps, which has a seed, or at once."""
    return [r["asked"] for r in run.requests if (r["asked"]["seed"] is not None) == in_steps]


def texts_of(asked: dict) -> list[str]:
    return [message["text"] for message in asked["messages"]]


def test_it_ends_as_the_outline_says(run):
    assert run.state == "success", run.log[-3000:]
    assert set(run.tasks.values()) == {"success"}
    assert [row["order"] for row in run.result] == [HOOKS, CLIPS]


@pytest.mark.checklist("114.4.5", "Implement CoT patterns")
def test_the_worked_examples_differ_in_the_steps_alone(run):
    direct = {texts_of(asked)[-1]: asked for asked in chat(run, in_steps=False)}
    steps = {texts_of(asked)[-1]: asked for asked in chat(run, in_steps=True)}
    assert set(direct) == set(steps) == {HOOKS, CLIPS}
    for order, asked in steps.items():
        example, chain, _ = texts_of(asked)
        assert texts_of(direct[order])[0] == example, "the same example without its steps"
        assert chain.count("\n") >= 2 and chain.endswith(f"\nAnswer: {texts_of(direct[order])[1]}")
        assert [message["role"] for message in asked["messages"]] == ["user", "assistant", "user"]
        assert "one calculation a line" in asked["system"] and "the total alone" in direct[order]["system"]
        assert (asked["temperature"], asked["max_tokens"]) == (0.3, 48)
        assert (direct[order]["temperature"], direct[order]["max_tokens"]) == (0, 5)
    # Each order gets the example of its own shape.
    shapes = {"plus": HOOKS, "and": CLIPS}
    for word, order in shapes.items():
        assert f" {word} " in texts_of(steps[order])[0]


@pytest.mark.checklist("114.4.5", "Step-by-step reasoning")
def test_steps_are_measured_against_a_guess_on_orders_of_two_shapes(run):
    rows = {row["order"]: row for row in run.result}
    for order, row in rows.items():
        # The totals by another way of calculating: the words as operators.
        formula = order.replace(" at ", "*").replace(" plus ", "+").replace(" and ", "+")
        formula = re.sub("[A-Za-z ]", "", formula)
        assert eval(formula) == row["total"]
    assert {"".join(shape(chain)) for chain in run.xcoms["reason_in_steps"][0]} == {"*+", "**+"}
    for way in ("1 chain", "by vote"):
        assert right(run, way) > right(run, "direct")
    assert [row["direct"] for row in run.result] == run.xcoms["answer_directly"]
    first = [chain["answers"][0] for chain in run.xcoms["reason_in_steps"][0]]
    assert [row["1 chain"] for row in run.result] == first, "of one chain, before any check"


def shape(chain: dict) -> list[str]:
    return [step["operation"] for step in chain["steps"]]


def right(run, way: str) -> int:
    return sum(str(row[way]) == str(row["total"]) for row in run.result)


@pytest.mark.checklist("114.4.5", "Step-by-step reasoning")
def test_your_own_order_is_asked_and_has_no_known_total(scripted):
    run, calls = scripted({(MINE, 0): "7 * 6 = 42\n42 + 1 = 43\nAnswer: 43", (MINE, None): "42"}, order=MINE, tries=1)
    assert run.state == "success", run.log[-3000:]
    assert run.result[-1] == {
        **{"order": MINE, "total": None, "direct": "42"},
        **{"1 chain": 43, "by vote": 43, "rejected": 2},
    }
    assert Counter(order for order, _ in calls) == dict.fromkeys((HOOKS, CLIPS, MINE), 4)
    # One try each: nobody is asked again.
    assert {seed for _, seed in calls} == {None, 0, 100, 200}


@pytest.mark.checklist("114.4.5", "Parse intermediate steps")
def test_steps_are_typed_and_prose_is_left_out(scripted):
    text = "Let me think. Step 1: 3 * 4 = 12, so\nStep 2: 12 + 2 = 14!\nAnswer: 14 EUR"
    run, _ = scripted({(HOOKS, 0): text}, tries=1)
    valid = [sample[0] for sample in run.xcoms["reason_in_steps"] if sample[0]["valid"]]
    assert len(valid) == 1, "the chain of the one seed whose text has steps"
    (chain,) = valid
    assert chain["steps"] == [
        {"left": 3, "operation": "*", "right": 4, "result": 12},
        {"left": 12, "operation": "+", "right": 2, "result": 14},
    ]
    assert chain["valid"] == 14 and chain["answers"] == [14]
    others = [sample[1] for sample in run.xcoms["reason_in_steps"]]
    assert [other["answers"] for other in others] == [[None]] * 3, "a text without an answer has none"


@pytest.mark.checklist("114.4.5", "Validate reasoning chains")
def test_each_chain_and_each_try_has_a_seed_of_its_own(run):
    samples = run.xcoms["reason_in_steps"]
    for number, order in enumerate((HOOKS, CLIPS)):
        seeds = [asked["seed"] for asked in chat(run, in_steps=True) if texts_of(asked)[-1] == order]
        expected = []
        for start, sample in zip((0, 100, 200), samples, strict=True):
            expected += range(start, start + len(sample[number]["answers"]))
            assert len(sample[number]["answers"]) <= 2, "no more tries than the form says"
        assert sorted(seeds) == expected
        assert all(asked["temperature"] > 0 for asked in chat(run, in_steps=True)), "or the seeds would not matter"
        assert run.result[number]["rejected"] == sum(len(sample[number]["rejected"]) for sample in samples)
    assert sum(row["rejected"] for row in run.result) > 0, "this model makes mistakes"


@pytest.mark.checklist("114.4.5", "Validate reasoning chains")
def test_broken_chains_are_rejected_and_asked_for_again_and_the_most_frequent_answer_wins(scripted):
    good = "3 * 4 = 12\n12 + 2 = 14\nAnswer: 14"
    run, calls = scripted(
        {
            # Valid, and misread: the vote of the others is right.
            (HOOKS, 0): "3 * 4 = 12\n12 - 2 = 10\nAnswer: 10",
            (HOOKS, 100): good,
            (HOOKS, 200): "3 * 4 = 12\n12 + 2 = 15\nAnswer: 15",
            (HOOKS, 201): good,
            # What the check finds, one by one.
            (BULBS, 0): "6 * 3 = 18\n18 - 4 = 14\nAnswer: 14",
            (BULBS, 1): "6 * 2 = 12\nAnswer: 12",
            (BULBS, 2): "6 * 2 = 12\n12 - 4 = 8\nAnswer: 12",
        },
        tries=3,
        order=BULBS,
    )
    assert run.state == "success", run.log[-3000:]
    hooks, clips, bulbs = run.result
    assert (hooks["1 chain"], hooks["by vote"], hooks["rejected"]) == (10, 14, 1)
    assert (bulbs["1 chain"], bulbs["by vote"], bulbs["rejected"]) == (14, None, 9), (
        "no answer is better than a wrong one"
    )
    assert clips["by vote"] is None
    (first,) = [sample[2]["rejected"] for sample in run.xcoms["reason_in_steps"] if sample[0]["answers"] == [10]]
    assert first == [
        "3 is neither in the order nor a result",
        "the steps leave [4, 12], and the answer is 12",
        "the steps leave [8], and the answer is 12",
    ]
    (again,) = [sample[0] for sample in run.xcoms["reason_in_steps"] if sample[0]["answers"] == [15, 14]]
    assert again["rejected"] == ["12 + 2 is not 15"] and again["valid"] == 14
    asked = Counter(seed for order, seed in calls if order == HOOKS)
    assert asked == dict.fromkeys((None, 0, 100, 200, 201), 1), "a valid chain is not asked for again"


@pytest.mark.checklist("114.4.5", "Validate reasoning chains")
@pytest.mark.parametrize(
    ("valid", "winner"), [([10, 14, 14], 14), ([10, 14, None], 10), ([None, None, 14], 14), ([None] * 3, None)]
)
def test_one_valid_chain_is_enough_and_the_earliest_wins_a_tie(dagbag, valid, winner):
    chains = [[{"answers": [answer or 1], "rejected": [], "valid": answer}] for answer in valid]
    vote = dagbag.dags[DAG].get_task("vote").python_callable
    (row,) = vote([{"order": HOOKS, "total": 14}], ["8"], chains)
    assert row["by vote"] == winner
