"""Choices by meaning: which label fits a text, whether a statement holds for it, which tool a request asks for.

A 135M language model is poor at these; comparing sentence vectors is right far more often and takes milliseconds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import yaml

from keyless.mind.embedder import Embedder
from keyless.mind.extraction import finder_for
from keyless.mind.text import sentences, words
from keyless.neutral import Tool

# Cosine similarities of MiniLM between texts of everyday length: related ones are above, unrelated ones below.
STATEMENT_HOLDS = 0.2
TOOL_FITS = 0.24

_NEGATION = re.compile(r"\b(?:not?|never|without|cannot|nothing|nobody|none|neither)\b|n['’]t\b", re.I)
_QUESTION_OPENING = re.compile(
    r"^(?:(?:how|what|when|where|which|who|whom|whose|why)\b|(?:is|are|do|does|did|can|could|will|would|should|may|have|has) "
    r"(?:i|you|we|it|he|she|they|there|this|that|the|my|your|our)\b)",
    re.I,
)
_STATEMENT_OPENING = re.compile(
    r"^(?:(?:set to )?(?:true|yes)(?: only)? (?:if|when)|whether(?: or not)?|if|is|are|does|do|did|has|have|was|were|can|should)\b",
    re.I,
)
_SUBJECT = re.compile(
    r"^\s*(?:the|this|a|an)?\s*(?:customer|user|client|message|text|ticket|e-?mail|review|author|writer|document|request|"
    r"person|sender|comment)\b",
    re.I,
)
_ASKS_WHETHER_PRESENT = re.compile(r"\b(?:contain|mention|includ|giv|provid|stat|name|has|have|with|refer)", re.I)


@dataclass(frozen=True)
class Concept:
    """An everyday meaning: the words that name it, texts that are examples of it, and its opposite."""

    names: frozenset[str]
    examples: tuple[str, ...]
    against: str | None


class Decider:
    """Decisions over an ``Embedder``. Every method is a pure function of its arguments."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    @cached_property
    def _concepts(self) -> dict[str, Concept]:
        raw = yaml.safe_load((Path(__file__).parent / "concepts.yaml").read_text())
        return {key: Concept(frozenset(c["names"]), tuple(c["examples"]), c.get("against")) for key, c in raw.items()}

    @cached_property
    def _concept_of(self) -> dict[str, str]:
        return {name: key for key, concept in self._concepts.items() for name in concept.names}

    # --- labels -----------------------------------------------------------------------------------

    def choose(self, text: str, labels: dict[str, str], examples: list[tuple[str, str]] | None = None) -> str:
        """The label of ``labels`` (name to description, which may be empty) that fits ``text`` best.

        ``examples`` are texts with the label that each was given before: a text that is like one gets its label sooner.
        """
        if len(labels) == 1:
            return next(iter(labels))
        pieces = _pieces(text)
        scores = {}
        # Where some labels are known by examples and others are not, the known ones would win by sheer number.
        use_examples = all(words(label) in self._concept_of for label in labels)
        places = {
            label: m.start() for label in labels if (m := re.search(rf"\b{re.escape(words(label))}\b", text.lower()))
        }
        for label, description in labels.items():
            name = words(label)
            # The name alone and the description alone: one may be vague where the other is plain.
            prototypes = [f"{name}: {description}", description] if description else [name]
            score = self._closeness(pieces, prototypes, best=1)
            if use_examples:
                known = list(self._concepts[self._concept_of[name]].examples)
                score = 0.35 * score + self._closeness(pieces, known, best=2)
            elif label in places:
                # Of several that are named, the first one is the likeliest, as in a list of colours by their share.
                score += 0.2 if places[label] == min(places.values()) else 0.1
            if alike := [shown for shown, given in examples or [] if given == label]:
                score += self._closeness(pieces, alike, best=1)
            scores[label] = score
        return max(scores, key=scores.__getitem__)

    def holds(self, text: str, name: str, description: str = "") -> bool:
        """Whether the statement that a boolean field's name and description make is true of ``text``."""
        question = description or words(name)
        asked = set(re.findall(r"[a-z][a-z\-]+", f"{words(name)} {description}".lower()))
        if asked & {"question", "asking"} and "for" not in asked:
            return any("?" in piece or _QUESTION_OPENING.match(piece) for piece in _pieces(text))
        if _ASKS_WHETHER_PRESENT.search(question) or _ASKS_WHETHER_PRESENT.match(words(name)):
            finder = finder_for(f"{words(name)} {description}")
            if finder is not None:
                return bool(finder(text))
        for word in sorted(asked):
            concept = self._concepts.get(self._concept_of.get(word, ""))
            if concept is not None and concept.against is not None:
                opposite = self._concepts[concept.against]
                pieces = _pieces(text)
                return self._closeness(pieces, list(concept.examples), best=2) > self._closeness(
                    pieces, list(opposite.examples), best=2
                )
        statement = _SUBJECT.sub("", _STATEMENT_OPENING.sub("", question).strip()).strip(" ?.") or question
        pieces = _pieces(text)
        vectors = self._embedder.vectors(pieces)
        statements = self._embedder.vectors([question, statement])
        similarity = (vectors @ statements.T).max(axis=1)
        best = int(similarity.argmax())
        if similarity[best] < STATEMENT_HOLDS:
            return False
        return bool(_NEGATION.search(pieces[best])) == bool(_NEGATION.search(statement))

    def alike(self, text: str, others: list[str]) -> list[float]:
        """Cosine similarity of ``text`` to each of ``others``."""
        return [float(s) for s in self._embedder.similarity(text, others)]

    def agreement(self, text: str, statement: str) -> float:
        """How near ``text`` comes to ``statement``, from 0 to 1."""
        similarity = float((self._embedder.vectors(_pieces(text)) @ self._embedder.vectors([statement])[0]).max())
        return min(1.0, max(0.0, 0.4 + similarity))

    def polarity(self, text: str) -> float:
        """0 for a very negative text, 0.5 for a neutral one, 1 for a very positive one."""
        pieces = _pieces(text)
        good = self._closeness(pieces, list(self._concepts["positive"].examples), best=2)
        bad = self._closeness(pieces, list(self._concepts["negative"].examples), best=2)
        return 1 / (1 + float(np.exp(12 * (bad - good))))

    # --- tools ------------------------------------------------------------------------------------

    def tool(self, request: str, tools: list[Tool], *, must: bool = False) -> Tool | None:
        """The tool that ``request`` asks for; ``None`` when none fits, unless one ``must`` be called."""
        scores = {tool.name: self.tool_score(request, tool) for tool in tools}
        if not scores:
            return None
        best = max(tools, key=lambda tool: scores[tool.name])
        if must or scores[best.name] >= TOOL_FITS:
            return best
        return None

    def tool_score(self, request: str, tool: Tool) -> float:
        """How likely ``request`` asks for ``tool``, by likeness of meaning."""
        name = words(tool.name)
        described = [name, *sentences(tool.description)[:2]]
        score = float(self._embedder.similarity(request, described).max())
        # A request that carries what the parameters want, or says the tool's own words, means the tool.
        spoken = set(re.findall(r"[a-z]+", request.lower()))
        if spoken & (set(name.split()) - _EVERYDAY):
            score += 0.08
        return score

    def _closeness(self, pieces: list[str], prototypes: list[str], best: int) -> float:
        """Mean of the ``best`` highest similarities of any piece to the prototypes."""
        similarity = (self._embedder.vectors(pieces) @ self._embedder.vectors(prototypes).T).max(axis=0)
        return float(np.sort(similarity)[-best:].mean())


_EVERYDAY = frozenset(
    [
        "get",
        "set",
        "list",
        "find",
        "make",
        "do",
        "run",
        "show",
        "the",
        "a",
        "an",
        "of",
        "to",
        "for",
        "with",
        "all",
        "new",
        "by",
        "id",
        "up",
    ]
)


def _pieces(text: str) -> list[str]:
    """The whole text and, where it has several, its sentences: a long text's point is often in one of them."""
    parts = [s for s in sentences(text) if len(s.split()) > 2][:40]
    return [text.strip() or " ", *parts] if len(parts) > 1 else [text.strip() or " "]
