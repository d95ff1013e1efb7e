"""Which answers a prompt allows, and which of them a conversation's worked examples speak for."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from keyless.mind.choices import closed_choice
from keyless.mind.decisions import Decider
from keyless.mind.tasks import understand
from keyless.neutral import Message

PROMPTS = yaml.safe_load((Path(__file__).parent / "data" / "choices.yaml").read_text())


def allowed(prompt):
    return closed_choice(understand((Message("user", prompt),)))


@pytest.mark.parametrize("prompt", PROMPTS["open"])
def test_an_open_prompt_is_open(prompt):
    assert allowed(prompt) == {}


@pytest.mark.parametrize("case", PROMPTS["choices"], ids=lambda case: case["prompt"][:40])
def test_a_choice_has_its_options(case):
    assert list(allowed(case["prompt"])) == case["options"]


def test_options_come_with_what_the_prompt_says_of_them():
    prompt = (
        "Answer with one word: support or sales.\n- support: broken, late, lost, damaged or missing\n- sales: offers"
    )
    assert allowed(prompt) == {"support": "broken, late, lost, damaged or missing", "sales": "offers"}
    assert allowed("Which is a mammal?\nA) shark\nB) dolphin") == {"A": "shark", "B": "dolphin"}


def test_what_also_asks_for_prose_is_open():
    assert allowed("Answer yes or no, and explain in one sentence: is it late?") == {}
    assert list(allowed("Answer yes or no, do not explain: is it late?")) == ["yes", "no"]


def test_worked_examples_speak_for_their_label(embedder):
    decider = Decider(embedder)
    labels = {"red": "", "green": ""}
    shown = [("The chair squeaks at every move.", "green"), ("Do you sell gift cards?", "red")]
    assert decider.choose("My chair makes a noise when I move.", labels, shown) == "green"
    assert decider.choose("My chair makes a noise when I move.", labels, [(t, "red") for t, _ in shown[:1]]) == "red"


def test_a_conversation_s_turns_are_worked_examples(openai_client):
    system = "Answer with one word: red or green."

    def ask(*turns):
        messages = [{"role": "system", "content": system}]
        for asked, answered in turns:
            messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
        messages.append({"role": "user", "content": "My chair makes a noise when I move."})
        return openai_client.chat.completions.create(model="gpt-4o-mini", messages=messages).choices[0].message.content

    assert ask(("The chair squeaks at every move.", "green"), ("Do you sell gift cards?", "red")) == "green"
    assert ask(("The chair squeaks at every move.", "Red."), ("Do you sell gift cards?", "green")) == "red"


def answered(openai_client, prompt):
    messages = [{"role": "user", "content": prompt}]
    return openai_client.chat.completions.create(model="gpt-4o-mini", messages=messages).choices[0].message.content


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [
        ("Select all categories that apply: shipping, packaging, billing. Reply with the names only.\n\nShipping was slow and "
         "the box was damaged.", "shipping, packaging"),
        ("Which department should get this?\n1. Accounts\n2. Workshop\n3. Reception\nReply with the number only.\n\n"
         "The drill is broken.", "2"),
        ("How full is the tank: low, medium or high? One word.\n\nThe tank is nearly empty.", "low"),
        ("Rate how happy the guest is from 1 to 5, just the number.\n\nI love it, best hotel ever!", "45"),
        ("Rate how happy the guest is from 1 to 5, just the number.\n\nWorst hotel of my life, never again.", "12"),
    ],
)  # fmt: skip
def test_a_choice_is_answered_as_it_is_asked(openai_client, prompt, answer):
    got = answered(openai_client, prompt)
    assert got in answer if answer.isdecimal() else got == answer
