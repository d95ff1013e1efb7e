"""Which answers a prompt allows, and which of them a conversation's worked examples speak for."""

from __future__ import annotations

import pytest

from keyless.mind.decisions import Decider
from keyless.mind.tasks import closed_choice, understand
from keyless.neutral import Message


@pytest.mark.parametrize(
    ("prompt", "options"),
    [
        ("Answer with one word: support, sales or accounting.\n\nIt broke.", ["support", "sales", "accounting"]),
        ("Is it late? Answer only yes or no.", ["yes", "no"]),
        (
            "Answer with one word: support or sales.\n- support: broken, late, lost, damaged or missing\n- sales: offers",
            ["support", "sales"],
        ),
        ("Describe the lamp, the desk or the chair.", []),
    ],
)
def test_the_options_are_those_of_the_demand(prompt, options):
    assert closed_choice(understand((Message("user", prompt),))) == options


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
