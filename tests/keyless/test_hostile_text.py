"""Whatever a prompt says, the time to look through it grows no faster than the prompt does, and nothing breaks."""

from __future__ import annotations

import time

import pytest

from keyless.mind import choices, extraction, filling, goals, results, tasks, text, tools, written
from keyless.mind.extraction import Wanted
from keyless.mind.filling import Filler
from keyless.neutral import Message

UNITS = [
    "Mr. ", "(", "“", "A1111111", "a:                    ",
    "<a>", "</a>", "``", "```", '"', '"""', "{", '{"a":', "[", "\n", " ", "\t", "\n a", "a, ", "a or ", "either ", "only ",
    "answer with ", "Aa ", "A", "Aa", "1", "1.", "1,", "1,111", "-", "-a", "A1-", "a.", "a@", "a@a.", "+1 ", "(1", "www.",
    "http://", ":", "a:", "a: ", "- a\n", "1 jan ", "EUR ", "€", "1 000 ", "may ", "1 de ", "name is ", "12:", "#", "'", ";", "the ", "á", "Ä ", "x\u200b", "as", "with ", "a:\n", "\n\n- ", "- \n",
    "choose ", "label a as ", "classify a as b or c. ", "options: ", "labels:\n- a\n", "? ", "A) ", "A) a\n", "return \"a\" if ", "say A if ", "rate 1 to 5 ", "either \"a\" ", "1. a\n", "whether a or b. ", "if a, say A. ", "explain ", "one word ",
]  # fmt: skip


def look_through(prompt: str) -> None:
    """All that is looked for in a prompt without a model."""
    task = tasks.understand((Message("user", prompt),))
    choices.closed_choice(task)
    tasks.schema_in(f"json {task.instructions} {task.source}")
    choices.described_labels(["red", "green"], prompt)
    text.sentences(prompt), text.words(prompt), text.pieces(prompt), text.up_to_last_stop(prompt)
    for kind in (*extraction._PATTERNS, "money"):
        extraction.find_all(kind, prompt)
    extraction._labelled(prompt)
    written.month_first(prompt), written.decimal_mark(prompt)
    filler = Filler(None, extraction.Extractor(None), tasks.Task(prompt, prompt))  # type: ignore[arg-type]
    facts = [Wanted("total", type="number"), Wanted("due", format="date"), Wanted("customer"), Wanted("colour")]
    filler._rows(facts, prompt), filling._leftovers(prompt, {"total": 1}), filler._listed({"type": "string"}, "colour")
    filler._mapping({}, prompt)
    filler._as_asked("expression", prompt), filler._as_asked("query", prompt)
    filling._whole_sentences(prompt)
    # An e-mail is found by its form alone, so this asks no model.
    filler._strings({"type": "string", "format": "email"}, "items", "", prompt, 3)
    results.readable(prompt), results.listing(prompt), goals.steps(prompt), goals.halves(prompt)
    tasks.without_material(prompt)
    tools._OFFERED.search(prompt[:4_000]), tools._siblings({"city": "A", "id": "1"}, prompt)


def seconds(prompt: str) -> float:
    best = float("inf")
    for _ in range(3):
        # What is remembered costs nothing the second time.
        extraction._found.cache_clear(), extraction._surroundings.cache_clear()
        began = time.process_time()
        look_through(prompt)
        best = min(best, time.process_time() - began)
    return best


@pytest.mark.parametrize("around", ["json {}", "answer only with one of {}", "Extract: {} x", "Sum up:{}"])
@pytest.mark.parametrize("unit", UNITS)
def test_twice_the_prompt_takes_about_twice_as_long(unit, around):
    small, large = (around.format(unit * (size // len(unit))) for size in (6_000, 24_000))
    # Four times as much: quadratic would be sixteen times. What takes milliseconds measures the clock and the machine.
    assert seconds(large) < max(8 * seconds(small), 0.05), "not linear"


def test_a_block_is_found_beside_tags_that_are_never_closed():
    task = tasks.understand((Message("user", "Sum up <b> this: <text>\n The lamp.\n</text> and <i> nothing else."),))
    assert task.source == "The lamp." and "nothing else" in task.instructions


@pytest.mark.parametrize(
    ("prompt", "source"),
    [
        ("Sum up.\n```text\nOne.\n```\nThen\n```\nTwo.\n```", "One.\nTwo."),
        ('Sum up """ One. """', "One."),
        ("Sum up <a-b>One. <c>Two.</c></a-b>", "One. <c>Two.</c>"),
        ("<empty></empty> <full>One.</full> Sum up", "\nOne."),
    ],
)
def test_blocks(prompt, source):
    assert tasks.understand((Message("user", prompt),)).source == source


def test_braces_without_an_end_are_no_schema():
    assert tasks.schema_in("json " + '{"a":' * 4000) is None
    found = tasks.schema_in('Answer with JSON like {this}: {"type": "object", "properties": {"a": {"type": "string"}}}')
    assert found is not None and "a" in found["properties"]
