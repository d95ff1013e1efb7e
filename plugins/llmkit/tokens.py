"""Tokens before they are paid: counting offline, cutting at a sentence, fitting a budget, compressing.

OpenAI's tokenizers are there with their data (bpe-openai), so their counts are exact for a text. Other providers do not
publish theirs for current models: their counts are estimated from OpenAI's, with a stated error, and ``Count.upper`` is
the number to plan with. Exact counts come from the provider: ``count_tokens`` of Anthropic and Google, the usage of a reply.
"""

from __future__ import annotations

import math
import re
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from llmkit.similarity import Embed, cosine

PER_MESSAGE = 4
"""Tokens that a chat message takes besides its text (role and delimiters), by OpenAI's cookbook on counting."""

_EXACT = {
    "o200k_base": ("gpt-4o", "gpt-4.1", "gpt-4.5", "gpt-5", "gpt-oss", "chatgpt-4o", "o1", "o3", "o4"),
    "cl100k_base": ("gpt-4", "gpt-3.5", "text-embedding-3", "text-embedding-ada-002"),
}
# Tokens for one of o200k_base, and how far off that may be. The last family was measured on the course's own texts; the others
# are assumptions on the safe side, as their tokenizers are not to be had: measure with the provider's own counts.
_ESTIMATED = {
    "claude": (1.25, 0.25),
    "gemini": (1.1, 0.2),
    "command": (1.1, 0.2),
    "nova": (1.1, 0.25),
    "titan": (1.1, 0.25),
    "mistral": (1.15, 0.2),
    "llama": (1.05, 0.15),
    "smollm": (1.15, 0.25),
}
_OTHERS = (1.15, 0.3)


class TokenBudgetExceeded(ValueError):
    """The parts that cannot be left out are longer than the budget; the text says by how much."""


@dataclass(frozen=True)
class Count:
    """``tokens`` by ``method``; ``error`` is the share that they may be off, 0 for an exact count."""

    tokens: int
    method: str
    error: float = 0.0

    @property
    def upper(self) -> int:
        """The most that it may be."""
        return math.ceil(self.tokens * (1 + self.error))


@dataclass(frozen=True)
class Shortened:
    """``text`` of ``tokens``, which were ``original_tokens``; ``similarity`` to the original, where it was measured."""

    text: str
    tokens: int
    original_tokens: int
    similarity: float | None = None


def count(text: str, model: str = "gpt-4o-mini") -> Count:
    """The tokens of ``text`` for ``model``, which may be named like ``anthropic:claude-sonnet-5`` too."""
    return _count_of(_encoded(text, model), model)


def _encoded(text: str, model: str) -> int:
    """How many tokens ``text`` has in the model's own encoding, or in the one that its count is estimated from."""
    return len(_encoding(_own_encoding(model) or "o200k_base").encode_ordinary(text))


def _count_of(encoded: int, model: str) -> Count:
    """What so many tokens of ``_encoded`` are for ``model``."""
    if own := _own_encoding(model):
        return Count(encoded, own)
    family = next((family for family in _ESTIMATED if family in model.lower()), None)
    factor, error = _ESTIMATED.get(family or "", _OTHERS)
    return Count(math.ceil(encoded * factor), f"o200k_base × {factor}, for {family or 'an unknown family'}", error)


@cache
def _own_encoding(model: str) -> str | None:
    # A provider's name, a path or ft: may stand before the model's own name, and more behind it.
    names = re.split(r"[:/]", model.lower())
    for encoding, prefixes in _EXACT.items():
        if any(name.startswith(prefixes) for name in names):
            return encoding
    return None


@cache
def _encoding(name: str) -> Any:
    import bpe_openai

    return bpe_openai.get_encoding(name)


def sentences(text: str, language: str = "en") -> list[str]:
    """The sentences of ``text`` in order, with the white space that follows each: joined, they are the text again."""
    from sentencex import segment

    found, at = [], 0
    for sentence in segment(language, text):
        begin = text.find(sentence, at)
        if begin < 0:
            continue
        found.append(text[at : begin + len(sentence)])
        at = begin + len(sentence)
    if text[at:]:
        found.append(text[at:])
    return found


def truncate(text: str, max_tokens: int, model: str = "gpt-4o-mini", *, language: str = "en") -> Shortened:
    """As many whole sentences from the beginning as fit into ``max_tokens``; half a sentence only if the first is longer."""
    whole = count(text, model)
    if whole.upper <= max_tokens:
        return Shortened(text, whole.tokens, whole.tokens)
    parts = sentences(text, language)
    kept = "".join(parts[: _most(len(parts), lambda n: count("".join(parts[:n]).rstrip(), model).upper <= max_tokens)])
    if not kept.strip():
        characters = _most(len(text), lambda n: count(text[:n], model).upper <= max_tokens)
        kept = text[:characters]
    return Shortened(kept.rstrip(), count(kept.rstrip(), model).tokens, whole.tokens)


def _most(limit: int, fits: Any) -> int:
    """The largest n up to ``limit`` that fits, by bisection."""
    low, high = 0, limit
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


@dataclass(frozen=True)
class Fitted:
    """What fits: ``tokens`` by part, and how many ``dropped`` of each."""

    prompt: str | Sequence[str]
    examples: list[str | Sequence[str]]
    history: list[str]
    tokens: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Budget:
    """The tokens of a model's ``context``, of which ``answer`` are kept free for the completion (its ``max_tokens``)."""

    context: int
    answer: int
    model: str = "gpt-4o-mini"

    @property
    def input(self) -> int:
        """What is left for everything that is sent."""
        return self.context - self.answer

    def fit(
        self,
        prompt: str | Sequence[str],
        *,
        examples: Sequence[str | Sequence[str]] = (),
        history: Sequence[str] = (),
    ) -> Fitted:
        """The prompt whole, then as many ``examples`` as fit in their order, then the newest of ``history`` (oldest first).

        Each is a chat message. A prompt or an example of several messages, such as a question and its answer, is the list of
        their texts. Raises ``TokenBudgetExceeded`` when the prompt alone does not fit.
        """

        def cost(part: str | Sequence[str]) -> int:
            messages = [part] if isinstance(part, str) else part
            return sum(count(text, self.model).upper + PER_MESSAGE for text in messages)

        left = self.input - cost(prompt)
        if left < 0:
            raise TokenBudgetExceeded(
                f"the prompt takes {cost(prompt)} tokens, {-left} more than the {self.input} that {self.context} leave "
                f"beside an answer of {self.answer}: shorten it, or take a model with a longer context"
            )
        kept_examples = _fitting(examples, cost, left)
        left -= sum(map(cost, kept_examples))
        kept_history = _fitting(list(reversed(history)), cost, left)[::-1]
        return Fitted(
            prompt,
            kept_examples,
            kept_history,
            {
                "prompt": cost(prompt),
                "examples": sum(map(cost, kept_examples)),
                "history": sum(map(cost, kept_history)),
                "answer": self.answer,
            },
            {"examples": len(examples) - len(kept_examples), "history": len(history) - len(kept_history)},
        )


def _fitting(parts: Sequence[Any], cost: Any, left: int) -> list[Any]:
    kept = []
    for part in parts:
        left -= cost(part)
        if left < 0:
            break
        kept.append(part)
    return kept


def compress(
    text: str,
    max_tokens: int,
    embed: Embed,
    model: str = "gpt-4o-mini",
    *,
    about: Sequence[str] = (),
    language: str = "en",
) -> Shortened:
    """The sentences of ``text`` that matter most, in ``max_tokens`` and in their order (extractive: no word is changed).

    With ``about``, those that are most like one of these questions. Without, those that say most of the whole: each next
    sentence is the one that brings the mean of those kept nearest to the mean of all (centroid-based summarization, Radev et
    al., 2004, done greedily). ``similarity`` is ``likeness`` of what is kept to the whole; it says nothing about single facts.
    A text without a sentence gives an empty one. Raises ``TokenBudgetExceeded`` when no sentence fits.
    """
    import numpy as np

    parts = [part for part in sentences(text, language) if part.strip()]
    if not parts:
        return Shortened("", 0, count(text, model).tokens)
    vectors = np.asarray(embed([*(part.strip() for part in parts), *about]), dtype=float)
    vectors, questions = vectors[: len(parts)], vectors[len(parts) :]
    asked = cosine(vectors, questions).max(axis=1) if len(questions) else None
    whole = [vectors.mean(axis=0)]

    def encoded(of: list[int]) -> int:
        return _encoded(_join([parts[i] for i in of]), model)

    def fits(tokens: int) -> bool:
        return _count_of(tokens, model).upper <= max_tokens

    kept: list[int] = []
    used, left = 0, np.arange(len(parts))
    while len(left):
        nearness = cosine(vectors[left] + vectors[kept].sum(axis=0), whole)[:, 0] if asked is None else asked[left]
        order = left[np.argsort(-nearness, kind="stable")]
        for tried, best in enumerate(order, 1):
            at = bisect(kept, best)
            # One sentence more changes the text between its neighbours, so only they are counted. If it fits, the whole is.
            beside = kept[max(at - 1, 0) : at + 1]
            if fits(used - encoded(beside) + encoded(sorted([*beside, best]))):
                grown = [*kept[:at], best, *kept[at:]]
                if fits(tokens := encoded(grown)):
                    kept, used, left = grown, tokens, np.sort(order[tried:])
                    break
        else:
            break  # of all that are left none fits
    if not kept:
        raise TokenBudgetExceeded(f"no sentence fits into {max_tokens} tokens")
    short = _join([parts[i] for i in kept])
    similarity = float(cosine([vectors[kept].mean(axis=0)], whole)[0, 0])
    return Shortened(short, count(short, model).tokens, count(text, model).tokens, similarity)


def likeness(text: str, other: str, embed: Embed, *, language: str = "en") -> float:
    """How alike two texts are in meaning: the cosine of the means of their sentences' vectors, up to 1.

    By sentences, as an embedding model reads only the beginning of a long text.
    """
    of = [[part.strip() for part in sentences(each, language) if part.strip()] or [" "] for each in (text, other)]
    vectors = list(embed([*of[0], *of[1]]))
    return float(cosine([_mean(vectors[: len(of[0])])], [_mean(vectors[len(of[0]) :])])[0, 0])


def remembering(embed: Embed) -> Embed:
    """``embed`` that asks for the vector of each text only once."""
    known: dict[str, Sequence[float]] = {}

    def remembered(texts: list[str]) -> list[Sequence[float]]:
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            known.update(zip(new, embed(new), strict=True))
        return [known[text] for text in texts]

    return remembered


def _mean(vectors: Sequence[Sequence[float]]) -> list[float]:
    return [sum(column) / len(vectors) for column in zip(*vectors, strict=True)]


def _join(parts: Sequence[str]) -> str:
    return "".join(part if part[-1:].isspace() else f"{part} " for part in parts).strip()
