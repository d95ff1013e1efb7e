from __future__ import annotations

from copy import deepcopy

import pytest

DAG = "114_04_04_few_shot_prompting"
WAYS = ["none, as turns", "fixed, as turns", "chosen, as turns", "chosen, as block"]
HOSTILE = "{{ 1 }} {% raw %} hums all evening"
# Each task sorts 24 labelled letters and the reader's own, one after another.
LETTERS = 25


@pytest.fixture(scope="module")
def run(run_lesson):
    return run_lesson(DAG)


@pytest.fixture(scope="module")
def other(run_lesson):
    """With another letter, and with room for few examples."""
    return run_lesson(DAG, letter=HOSTILE, budget=75)


def pairs(asked: dict) -> list[tuple[str, str]]:
    """The examples in a prompt, letter and team, as turns or in a block."""
    texts = [message["text"] for message in asked["messages"]]
    if not asked["system"]:
        texts = [line.split(": ", 1)[1] for line in texts[0].splitlines() if line.startswith(("Mail: ", "Team: "))]
    return list(zip(texts[:-1:2], texts[1::2], strict=True))


def letter_of(asked: dict) -> str:
    """The letter that the model must sort: the last turn, or the last mail of the block."""
    last = asked["messages"][-1]["text"]
    return last if asked["system"] else last.split("Mail: ")[-1].removesuffix("\nTeam:")


def kind(asked: list[dict]) -> str:
    """What one task sent, by the prompts alone."""
    shown = [pairs(one) for one in asked]
    form = {True: "turns", False: "block"}[bool(asked[0]["system"])]
    if not any(shown):
        return f"none, as {form}"
    # Fixed examples are the same for all letters, except those that a long letter leaves no room for.
    different = {pair for prompt in shown for pair in prompt}
    return f"{'fixed' if len(different) <= 6 else 'chosen'}, as {form}"


def sent(run) -> dict[str, list[dict]]:
    """What the model was asked, by the way and the format that the prompts show."""
    asked = [r["asked"] for r in run.requests if r["path"].endswith("/chat/completions")]
    assert len(asked) == LETTERS * len(WAYS)
    tasks = [asked[start : start + LETTERS] for start in range(0, len(asked), LETTERS)]
    return {kind(each): each for each in tasks}


def rows(run) -> dict[str, dict]:
    return {row["way"]: row for row in run.result}


def right(row: dict) -> int:
    return int(row["right"].split()[0])


def test_it_ends_as_the_outline_says(run):
    assert run.state == "success", run.log[-3000:]
    assert set(run.tasks.values()) == {"success"}
    assert list(rows(run)) == WAYS
    assert [r["model"] for r in run.requests if r["path"].endswith("/chat/completions")] == ["gpt-4o-mini"] * 100


@pytest.mark.checklist("114.4.4", "Add example pairs")
def test_each_prompt_holds_pairs_from_the_pool_and_none_from_the_test(run):
    pool = {(example["text"], example["team"]) for example in run.xcoms["load_examples"]}
    assert len(pool) == 24
    asked = sent(run)
    assert "none, as turns" in asked and "chosen, as turns" in asked, "with examples, and without"
    for way, prompts in asked.items():
        letters = [letter_of(one) for one in prompts]
        assert len(set(letters)) == LETTERS and letters[-1] == "My reading light hums all evening."
        assert not {text for text, _ in pool} & set(letters), "measured on letters that are no examples"
        for one in prompts:
            assert set(pairs(one)) <= pool, way
            assert (one["temperature"], one["max_tokens"]) == (0, 5)
    # Every prompt with turns tells the model what to do.
    assert all("one word: support, sales or accounting" in one["system"] for one in asked["chosen, as turns"])
    assert right(rows(run)["fixed, as turns"]) > right(rows(run)["none, as turns"])


@pytest.mark.checklist("114.4.4", "Dynamic example selection")
def test_each_letter_gets_the_examples_that_are_like_it_but_not_like_each_other(run, openai_client):
    from llmkit.similarity import cosine, mmr

    asked = sent(run)
    assert "chosen, as turns" in asked
    pool = [example["text"] for example in run.xcoms["load_examples"]]
    letters = [letter_of(one) for one in asked["chosen, as turns"]]
    vectors = openai_client.embeddings.create(model="text-embedding-3-small", input=[*letters, *pool]).data
    vectors = [each.embedding for each in vectors]
    alike = cosine(vectors[: len(letters)], vectors[len(letters) :])
    diverse = 0
    for number, one in enumerate(asked["chosen, as turns"]):
        shown = [pool.index(text) for text, _ in pairs(one)][::-1]
        assert shown[0] == alike[number].argmax(), "the nearest one stands next to the letter"
        assert shown == mmr(vectors[number], vectors[len(letters) :], len(shown))
        diverse += shown != list(alike[number].argsort()[::-1][: len(shown)])
    assert diverse > 5, "similarity alone would choose other ones"
    embedded = [r["asked"]["texts"] for r in run.requests if r["path"].endswith("/embeddings")]
    assert embedded == [[*letters, *pool]], "one call for all"
    assert right(rows(run)["chosen, as turns"]) > right(rows(run)["fixed, as turns"])
    # By Agresti and Coull: two more right and two more wrong, and two standard errors on both sides.
    known = {24: "83% to 100%", 23: "78% to 100%", 22: "72% to 99%", 21: "68% to 97%"}
    assert rows(run)["chosen, as turns"]["interval"] == known[right(rows(run)["chosen, as turns"])]


@pytest.mark.checklist("114.4.4", "Example formatting")
def test_the_same_examples_are_sent_in_both_formats(run):
    asked = sent(run)
    assert set(asked) == set(WAYS)
    for turns, block in zip(asked["chosen, as turns"], asked["chosen, as block"], strict=True):
        roles = [message["role"] for message in turns["messages"]]
        assert roles == [*["user", "assistant"] * len(pairs(turns)), "user"]
        assert [message["role"] for message in block["messages"]] == ["user"]
        assert pairs(block) == pairs(turns) and letter_of(block) == letter_of(turns)
    as_turns, as_block = rows(run)["chosen, as turns"], rows(run)["chosen, as block"]
    assert as_turns["tokens"] != as_block["tokens"] and as_turns["shots"] == as_block["shots"]
    # What is reported is what keyless counted for these prompts.
    counted = sorted(r["prompt_tokens"] for r in run.requests if r["path"].endswith("/chat/completions"))
    assert round(sum(counted) / 100) == round(sum(row["tokens"] for row in run.result) / 4)


@pytest.mark.checklist("114.4.4", "Token budget management")
def test_a_small_budget_leaves_out_the_worse_examples(run, other):
    from llmkit import tokens

    assert other.state == "success"
    for one, budget in ((run, 130), (other, 75)):
        asked = sent(one)
        assert set(asked) == set(WAYS)
        for way in ("fixed, as turns", "chosen, as turns"):
            counts = [whole_call(prompt, tokens) for prompt in asked[way]]
            assert max(counts) <= budget
            assert max(counts) > budget - 30, "the budget is used"
    for few, more in zip(sent(other)["chosen, as turns"][:-1], sent(run)["chosen, as turns"][:-1], strict=True):
        kept = pairs(few)
        assert kept == pairs(more)[len(pairs(more)) - len(kept) :], "the nearest ones stay"
    assert rows(other)["chosen, as turns"]["shots"] < rows(run)["chosen, as turns"]["shots"] - 1


@pytest.mark.checklist("114.4.4", "Token budget management")
def test_a_letter_that_does_not_fit_fails_before_any_prompt_is_sent(run_lesson):
    # Digits and spaces take about a token each: 120 characters are far more than the 60 tokens of the whole call.
    full = run_lesson(DAG, letter="7 " * 60, budget=60)
    assert full.state == "failed" and full.tasks["fit_into_budget"] == "failed"
    assert "shorten it, or take a model with a longer context" in full.log
    assert not [r for r in full.requests if r["path"].endswith("/chat/completions")]


@pytest.mark.checklist("114.4.4", "Token budget management")
def test_60_tokens_leave_room_for_one_example_at_most(run, lesson_module):
    """What the page says of that budget, and the letter of the form fits too."""
    fit = lesson_module(DAG).few_shot_prompting().get_task("fit_into_budget").python_callable
    fitted = fit(deepcopy(run.xcoms["choose_examples"]), {"budget": 60})
    assert len(fitted) == LETTERS
    for letter in fitted:
        assert max(len(letter[way]) for way in ("fixed", "chosen")) <= 1


def whole_call(asked: dict, tokens) -> int:
    """Tokens of a call with its answer: each message and what it takes besides its text, as OpenAI counts."""
    texts = [asked["system"], letter_of(asked)]
    for pair in pairs(asked):
        texts += pair
    return sum(tokens.count(text).tokens + tokens.PER_MESSAGE for text in texts) + asked["max_tokens"]


def test_your_letter_is_sent_as_it_is(run, other):
    assert {letter_of(prompts[-1]) for prompts in sent(other).values()} == {HOSTILE}
    assert {row["your letter"] for row in run.result} <= {"support", "sales", "accounting"}
    assert "Your letter is sent as" in run.log and "My reading light hums" in run.log
