"""Questions with a few answers as decision models take them: how probable each answer is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from keyless.mind.decisions import Decider
from keyless.mind.embedder import Embedder

SHARPNESS = 10.0
"""What a difference of likeness counts for: by 0.2, and an answer is seven times as probable as the other."""


@dataclass(frozen=True)
class Question:
    """``answers`` are names with what each means, which may be ``""``; a question of yes or no has "yes" and "no"."""

    instructions: str
    answers: dict[str, str]


class Judge:
    """Answers ``Question``s by likeness. It holds no state."""

    def __init__(self, embedder: Embedder) -> None:
        self._decider = Decider(embedder)

    def probabilities(self, state: str, question: Question) -> list[float]:
        """The probability of each answer, in their order; together they are 1."""
        answers = question.answers
        if set(answers) == {"yes", "no"} and not all(answers.values()):
            holds = self._decider.holds(state, "", question.instructions)
            near = self._decider.agreement(state, question.instructions)
            yes = 0.55 + 0.4 * near if holds else 0.45 - 0.4 * abs(near - 0.5)
            return [yes if name == "yes" else 1 - yes for name in answers]
        scores = np.array(list(self._decider.weigh(state, answers, about=question.instructions).values()))
        weights = np.exp(SHARPNESS * (scores - scores.max()))
        return [float(p) for p in weights / weights.sum()]
