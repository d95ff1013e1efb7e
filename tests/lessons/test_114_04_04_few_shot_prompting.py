from __future__ import annotations

import re

import pytest

DAG = "114_04_04_few_shot_prompting"


@pytest.fixture(scope="module")
def run(run_lesson):
    return run_lesson(DAG)


def accuracy(run) -> dict[str, list[int]]:
    """Right answers by way: as turns, in a block."""
    rows = run.xcoms["report_accuracy"].splitlines()[2:]
    return {row.split("|")[1].strip(): [int(n) for n in re.findall(r"(\d+) of 24", row)] for row in rows}


def test_it_ends_as_the_outline_says(run):
    assert run.state == "success", run.log[-3000:]
    assert set(run.tasks.values()) == {"success"}


@pytest.mark.checklist("114.4.4", "Add example pairs")
def test_examples_are_data_that_the_test_does_not_contain(run):
    pool = run.xcoms["load_examples"]
    assert len(pool) == 24 and {e["team"] for e in pool} == {"support", "sales", "accounting"}
    found = accuracy(run)
    assert found["fixed"][0] > found["none"][0], "examples help"
    # 24 letters in 3 ways and 2 formats, and one call for all vectors.
    assert sum(r["path"].endswith("/chat/completions") for r in run.requests) == 24 * 6
    assert sum(r["path"].endswith("/embeddings") for r in run.requests) == 1


@pytest.mark.checklist("114.4.4", "Dynamic example selection")
def test_chosen_examples_are_near_the_letter_and_do_better(run):
    assert accuracy(run)["chosen"][0] > accuracy(run)["fixed"][0]
    chosen = run.xcoms["choose_examples"]
    assert len({tuple(ids) for ids in chosen["chosen"]}) > 15 and len({tuple(ids) for ids in chosen["fixed"]}) == 1
    # "My reading light hums all evening": a colleague's lamp and motor are what it is like.
    shown = run.xcoms["format_examples"]["block"][0]["content"]
    assert "lamp" in shown.lower()


@pytest.mark.checklist("114.4.4", "Example formatting")
def test_the_same_examples_in_two_formats(run):
    turns, block = (run.xcoms["format_examples"][each] for each in ("turns", "block"))
    assert [m["role"] for m in turns] == ["system", *["user", "assistant"] * 3, "user"] and len(block) == 1
    for message in turns[1:]:
        assert message["content"] in block[0]["content"]
    assert block[0]["content"].endswith("Team:")


@pytest.mark.checklist("114.4.4", "Token budget management")
def test_a_small_budget_leaves_out_the_worse_examples(run, run_lesson):
    from llmkit import tokens

    assert run.xcoms["fit_into_budget"]["letters by how many examples fit"]["chosen"] == {"3": 25}
    small = run_lesson(DAG, budget=60, letter="{{ 1 }} {% raw %} costs nothing")
    assert small.state == "success"
    fitted = small.xcoms["fit_into_budget"]
    assert set(fitted["letters by how many examples fit"]["chosen"]) <= {"0", "1", "2"}
    whole = run.xcoms["fit_into_budget"]["examples"]["chosen"]
    for few, all_of_them in zip(fitted["examples"]["chosen"][:24], whole[:24], strict=True):
        assert few == all_of_them[len(all_of_them) - len(few) :], "the nearest ones stay"
    assert accuracy(small)["chosen"][0] < accuracy(run)["chosen"][0]
    sent = small.xcoms["format_examples"]["turns"]
    assert sum(tokens.count(m["content"]).tokens for m in sent) <= 60
