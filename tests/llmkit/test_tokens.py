from __future__ import annotations

import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmkit import tokens
from llmkit.prompts import LIBRARY
from llmkit.similarity import cosine, mmr
from llmkit.tokens import Budget, TokenBudgetExceeded

DATA = LIBRARY.parent / "data"
LEASE = (DATA / "leases" / "lease.md").read_text()


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("gpt-4o-mini", 6),
        ("openai:gpt-5-mini", 6),
        ("openai-chat:gpt-4o", 6),
        ("gpt-4", 6),
        ("ft:gpt-4o-mini:org::id", 6),
    ],
)
def test_openai_s_counts_are_exact(model, expected):
    # The example of tiktoken's own README.
    counted = tokens.count("tiktoken is great!", model)
    assert (counted.tokens, counted.error, counted.upper) == (expected, 0.0, expected)


def test_the_encoding_is_the_model_s():
    assert tokens.count("x", "gpt-4o").method == tokens.count("x", "o3-mini").method == "o200k_base"
    assert (
        tokens.count("x", "gpt-4-turbo").method == tokens.count("x", "text-embedding-3-small").method == "cl100k_base"
    )


@pytest.mark.parametrize(
    "model",
    ["anthropic:claude-sonnet-5", "bedrock:us.anthropic.claude-sonnet-4-5", "google:gemini-2.5-flash", "something-new"],
)
def test_others_are_estimates_that_say_so(model):
    counted = tokens.count(LEASE, model)
    assert counted.error > 0 and "o200k_base ×" in counted.method
    assert counted.upper > counted.tokens > tokens.count(LEASE).tokens


def test_the_stated_error_holds_for_the_model_that_is_here(anthropic_client):
    """keyless counts with SmolLM2's own tokenizer; the words around a message are the same for each."""

    def counted(text):
        messages = [{"role": "user", "content": text}]
        return anthropic_client.messages.count_tokens(model="smollm2", messages=messages).input_tokens

    around = counted("a") - 1
    for path in [*sorted((DATA / "leases").glob("*.md")), *sorted(LIBRARY.rglob("*.j2")), *sorted(DATA.glob("*.json"))]:
        text = path.read_text()[:4000].strip()
        real, estimate = counted(text) - around, tokens.count(text, "smollm2-135m")
        assert abs(real - estimate.tokens) <= real * estimate.error + 2, (path.name, real, estimate)


def test_text_is_cut_at_a_sentence():
    text = "Dr. Berg pays 3.50 EUR. She leaves at 5 p.m. on Monday. Then comes more."
    short = tokens.truncate(text, 24)
    assert short.text == "Dr. Berg pays 3.50 EUR. She leaves at 5 p.m. on Monday."
    assert short.tokens <= 24 < short.original_tokens
    assert tokens.truncate(text, 1000).text == text
    assert tokens.truncate("supercalifragilistic " * 50, 10).tokens <= 10, "a sentence that is too long is cut within"
    assert tokens.truncate(text, 0).text == ""


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=400), st.integers(0, 60))
def test_what_is_cut_fits_and_is_the_beginning(text, most):
    short = tokens.truncate(text, most)
    assert short.tokens <= most or short.tokens == short.original_tokens <= most
    assert text.startswith(short.text)
    assert "".join(tokens.sentences(text)) == text


def test_a_budget_keeps_the_prompt_then_the_best_examples_then_the_newest_history():
    budget = Budget(context=100, answer=40)
    history = [f"message {n} of the past" for n in range(10)]
    fitted = budget.fit("Answer the question.", examples=["one example", "a second one"], history=history)
    assert fitted.examples == ["one example", "a second one"]
    assert fitted.history and fitted.history == history[-len(fitted.history) :]
    assert fitted.dropped == {"examples": 0, "history": 10 - len(fitted.history)}
    assert sum(fitted.tokens.values()) <= 100 and fitted.tokens["answer"] == 40
    # One message more would not have fitted.
    assert sum(fitted.tokens.values()) + tokens.count(history[0]).tokens + tokens.PER_MESSAGE > 100
    tight = Budget(context=55, answer=40).fit("Answer.", examples=["a very long example " * 5, "short"], history=["x"])
    assert tight.examples == [] and tight.history == ["x"], "a worse example does not overtake a better one"
    with pytest.raises(TokenBudgetExceeded, match="more than the 10 that 50 leave"):
        Budget(context=50, answer=40).fit("This prompt is a good deal longer than ten tokens can be.")


def test_each_message_of_a_prompt_and_of_an_example_takes_its_tokens():
    prompt, examples = ["Answer in a word.", "Is it broken?"], [["It hums.", "support"], ["A price?", "sales"]]
    cost = lambda texts: sum(tokens.count(text).tokens + tokens.PER_MESSAGE for text in texts)  # noqa: E731
    whole = cost(prompt) + cost(examples[0]) + cost(examples[1])
    fitted = Budget(context=whole + 40, answer=40).fit(prompt, examples=examples)
    assert fitted.examples == examples and fitted.tokens["prompt"] == cost(prompt)
    assert sum(fitted.tokens.values()) == whole + 40
    assert Budget(context=whole + 39, answer=40).fit(prompt, examples=examples).examples == examples[:1]


def test_compression_keeps_the_meaning_and_the_words(embedder):
    embed = lambda texts: embedder.vectors(texts).tolist()  # noqa: E731
    short = tokens.compress(LEASE, 300, embed)
    assert short.tokens <= 300 < short.original_tokens
    assert short.similarity > 0.8
    words = iter(LEASE.split())
    assert all(word in words for word in short.text.split()), "each word is the author's, in the author's order"
    beginning = tokens.truncate(LEASE, 300).text
    assert short.similarity > tokens.likeness(LEASE, beginning, embed), "better than only cutting it off"
    assert tokens.likeness(LEASE, LEASE, embed) == pytest.approx(1.0)
    with pytest.raises(TokenBudgetExceeded):
        tokens.compress(LEASE, 1, embed)


def test_compression_about_a_question_keeps_its_answer(embedder):
    embed = lambda texts: embedder.vectors(texts).tolist()  # noqa: E731
    about = ["The monthly rent in EUR", "The notice period in months"]
    short = tokens.compress(LEASE, 100, embed, about=about)
    assert short.tokens <= 100 and "2,400 EUR" in short.text and "6 months" in short.text
    by_meaning = tokens.compress(LEASE, 100, embed)
    assert "2,400 EUR" not in by_meaning.text and by_meaning.similarity > short.similarity
    words = iter(LEASE.split())
    assert all(word in words for word in short.text.split())


def test_of_no_text_nothing_is_left():
    for text in ("", " \n"):
        short = tokens.compress(text, 100, lambda texts: [[1.0] for _ in texts])
        assert (short.text, short.tokens, short.original_tokens) == ("", 0, tokens.count(text).tokens)


@pytest.mark.parametrize("about", [[], ["The monthly rent in EUR"]])
def test_a_long_text_is_compressed_in_the_time_of_its_length(about):
    def embed(texts):
        return [[math.sin(n * sum(text.encode())) for n in range(1, 9)] for text in texts]

    def seconds(times: int) -> float:
        text = "\n\n".join(LEASE.replace("EUR", f"EUR{n}") for n in range(times))
        took = []
        for _ in range(3):
            began = time.process_time()
            tokens.compress(text, 150 * times, embed, about=about)
            took.append(time.process_time() - began)
        return min(took)

    seconds(1)  # the tokenizer is loaded
    assert seconds(8) < 16 * seconds(1)


def test_a_remembered_text_is_not_embedded_again():
    asked = []

    def embed(texts):
        asked.append(texts)
        return [[float(len(text))] for text in texts]

    remembered = tokens.remembering(embed)
    assert remembered(["a", "bb", "a"]) == [[1.0], [2.0], [1.0]]
    assert remembered(["bb", "ccc"]) == [[2.0], [3.0]] and remembered(["a"]) == [[1.0]]
    assert asked == [["a", "bb"], ["ccc"]]


def test_mmr_wants_what_is_like_the_query_and_not_like_the_rest():
    candidates = [[1, 0.1], [1, 0.1], [0.7, -0.7], [-1, 0]]
    assert mmr([1, 0], candidates, 2, balance=1.0) == [0, 1]
    assert mmr([1, 0], candidates, 2, balance=0.5) == [0, 2]
    assert mmr([1, 0], candidates, 9) == sorted(mmr([1, 0], candidates, 9), key=mmr([1, 0], candidates, 9).index)
    assert mmr([1, 0], [], 3) == []
    assert cosine([[0, 0]], [[1, 0]])[0, 0] == 0
