"""Whether a text is harmful, by its likeness to example sentences. Rough: good enough to see a moderation step at work."""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path

import yaml

from keyless.mind.embedder import Embedder
from keyless.mind.text import sentences

FLAGGED_FROM = 0.5
_NOTHING_ALIKE = 0.42
"""Cosine similarity of MiniLM below which a sentence counts as harmless whatever it is nearest to."""
_STEEPNESS = 14
_BESIDE_THE_NEAREST = 0.08


@cache
def _examples() -> dict[str, list[str]]:
    return yaml.safe_load((Path(__file__).parent / "moderation.yaml").read_text())


CATEGORIES = tuple(name for name in _examples() if name != "harmless")


def scores(embedder: Embedder, texts: list[str]) -> list[dict[str, float]]:
    """For each text a score from 0 to 1 for each category; the worst sentence counts."""
    return [_score(embedder, text) for text in texts]


def _score(embedder: Embedder, text: str) -> dict[str, float]:
    worst = dict.fromkeys(CATEGORIES, 0.0)
    examples = _examples()
    for sentence in sentences(text)[:200] or [text]:
        harmless = max(_NOTHING_ALIKE, float(embedder.similarity(sentence, examples["harmless"]).max()))
        alike = {name: float(embedder.similarity(sentence, examples[name]).max()) for name in CATEGORIES}
        # What is nearest to one category speaks of the same things as its neighbours do, and is not therefore in them too.
        threshold = max(harmless, max(alike.values()) - _BESIDE_THE_NEAREST)
        for name, likeness in alike.items():
            score = 1 / (1 + math.exp(-_STEEPNESS * (likeness - threshold)))
            worst[name] = max(worst[name], round(score, 6))
    return worst
