"""Choices by meaning: which label fits a text, whether a statement holds for it, which tool a request asks for.

A 135M language model is poor at these; comparing sentence vectors is right far more often and takes milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from keyless.mind.embedder import Embedder
from keyless.mind.extraction import finder_for
from keyless.mind.text import sentences, stem, words
from keyless.neutral import Tool

# Cosine similarities of MiniLM between texts of everyday length: related ones are above, unrelated ones below.
STATEMENT_HOLDS = 0.2
TOOL_FITS = 0.24
# What it counts for a label that the text says it, or its opposite.
OPPOSITE = 0.15

_NEGATION = re.compile(
    r"\b(?:not?|never|without|cannot|nothing|nobody|none|neither|hardly|barely|nicht|nie|niemand|kein\w*|ohne|pas|jamais|"
    r"aucune?|sans|nunca|nadie|sin)\b|n['’]t\b",
    re.I,
)
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
_ASKS_FOR_QUESTION = re.compile(
    r"\b(?:ask(?:s|ing)?|is|has|contains?|includes?)(?: (?:this|it|an?|any|some))* questions?\b", re.I
)
_ASKS_WHETHER_PRESENT = re.compile(r"\b(?:contain|mention|includ|giv|provid|stat|name|has|have|with|refer)", re.I)


@dataclass(frozen=True)
class Concept:
    """An everyday meaning: the words that name it, texts that are examples of it, and its opposite.

    ``of`` are words of which a question has to have one, where the name alone may be said of anything: a low price is no incident.
    """

    names: frozenset[str]
    examples: tuple[str, ...]
    against: str | None = None
    of: frozenset[str] = frozenset()


class Decider:
    """Decisions over an ``Embedder``. Every method is a pure function of its arguments."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    @cached_property
    def _concepts(self) -> dict[str, Concept]:
        def concept(of: dict[str, Any]) -> Concept:
            examples = tuple(example.rstrip(".") for example in sentences(of["examples"]))
            return Concept(frozenset(of["names"]), examples, of.get("against"), frozenset(of.get("of", ())))

        return {key: concept(of) for key, of in self._knowledge["concepts"].items()}

    @cached_property
    def _knowledge(self) -> dict[str, Any]:
        return yaml.safe_load((Path(__file__).parent / "concepts.yaml").read_text())

    @cached_property
    def _opposites(self) -> list[tuple[re.Pattern[str], re.Pattern[str]]]:
        def said(side: str) -> re.Pattern[str]:
            return re.compile("|".join(w[:-1] + r"\w*" if w.endswith("*") else f"{w}|{stem(w)}" for w in side.split()))

        return [(said(one), said(other)) for one, other in (row.split("|") for row in self._knowledge["opposites"])]

    def _concept(self, name: str, about: str) -> Concept | None:
        """What ``name`` means in an answer to the question ``about``, if that is known."""
        asked = set(re.findall(r"\w+", about.lower()))
        return next((c for c in self._concepts.values() if name in c.names and (not c.of or c.of & asked)), None)

    def _leaning(self, text: str, pair: tuple[re.Pattern[str], re.Pattern[str]]) -> int:
        """1 where ``text`` says the first of two opposites more than the second, -1 where less, 0 where neither."""
        # A mark is a word here, so that "nobody answers. Shame" denies no shame.
        tokens = re.findall(r"[^\W\d_]+(?:['’]t)?|[.!?;]", text.lower())
        total = 0
        for at, token in enumerate(tokens):
            for side, sign in zip(pair, (1, -1), strict=True):
                if side.fullmatch(token) or side.fullmatch(stem(token)):
                    before = re.split(r"[.!?;]", " ".join(tokens[max(0, at - 4) : at]))[-1]
                    total += -sign if _NEGATION.search(before) else sign
        return (total > 0) - (total < 0)

    # --- labels -----------------------------------------------------------------------------------

    def choose(
        self, text: str, labels: dict[str, str], examples: list[tuple[str, str]] | None = None, about: str = ""
    ) -> str:
        """The one that ``weigh`` finds to fit best; on a scale of bare numbers the one that the text's praise comes to."""
        if all(label.isdecimal() and not said for label, said in labels.items()) and not (
            set(labels) & set(re.findall(r"\d+", text))
        ):
            return list(labels)[round(self.polarity(text) * (len(labels) - 1))]
        scores = self.weigh(text, labels, examples, about)
        return max(scores, key=scores.__getitem__)

    def weigh(
        self, text: str, labels: dict[str, str], examples: list[tuple[str, str]] | None = None, about: str = ""
    ) -> dict[str, float]:
        """How well each label of ``labels`` (name to description, which may be empty) answers the question ``about``.

        ``examples`` are texts with the label that each was given before: a text that is like one gets its label sooner.
        """
        if len(labels) == 1:
            return dict.fromkeys(labels, 1.0)
        pieces = _pieces(text)
        asked = [f"{about} {piece}" for piece in pieces]
        scores = {}
        names = _distinct(labels)
        # Where some labels are known by examples and others are not, the known ones would win by sheer number.
        known = {label: self._concept(name, f"{about} {' '.join(names.values())}") for label, name in names.items()}
        # Of "desk mat" the desk is not what it names.
        other = re.compile(rf" (?:{'|'.join(map(re.escape, names.values()))})\b")
        said = text.lower()
        found = {
            label: [m.start() for m in re.finditer(rf"\b{re.escape(n)}\b", said) if not other.match(said, m.end())]
            for label, n in names.items()
        }
        places = {label: starts[0] for label, starts in found.items() if starts}
        for label, description in labels.items():
            name = names[label]
            # The name alone and the description alone: one may be vague where the other is plain.
            alone = [f"{name}: {description}", description] if description else [name]
            score = self._closeness(pieces, alone, best=1)
            score += self._closeness(pieces, alone if description else [f"{about} {name}"], best=1)
            score = (score + self._closeness(asked, [f"{about} {name}. {description}"], best=1)) / 3
            if all(known.values()):
                known_by = list(known[label].examples)
                score = 0.35 * score + 0.7 * self._closeness(pieces, known_by, best=2)
            elif label in places:
                # Of several that are named, the first one is the likeliest, as in a list of colours by their share.
                score += 0.2 if places[label] == min(places.values()) else 0.1
            if alike := [shown for shown, given in examples or [] if given == label]:
                score += self._closeness(pieces, alike, best=1)
            scores[label] = score
        for pair in self._opposites:
            sides = {label: self._leaning(name, pair) for label, name in names.items()}
            if set(sides.values()) >= {1, -1} and (leaning := self._leaning(text, pair)):
                for label, side in sides.items():
                    scores[label] += OPPOSITE * side * leaning
        return scores

    def several(self, text: str, labels: dict[str, str], about: str = "") -> list[str]:
        """The labels that parts of ``text`` speak of, and those that it names; at least one."""
        chosen = {label for label in labels if re.search(rf"(?i)\b{re.escape(words(label))}\b", text)}
        names = _distinct(labels)
        for part in re.split(r"(?<=[.!?])\s|[,;]\s|\s(?:and|but)\s|\n", text):
            if len(part.split()) > 1:
                label = self.choose(part, labels, about=about)
                if self._closeness([part], [names[label], labels[label] or names[label]], best=1) >= STATEMENT_HOLDS:
                    chosen.add(label)
        return [label for label in labels if label in chosen] or [self.choose(text, labels, about=about)]

    def holds(self, text: str, name: str, description: str = "") -> bool:
        """Whether the statement that a boolean field's name and description make is true of ``text``."""
        question = description or words(name)
        pieces = _pieces(text)
        if _ASKS_FOR_QUESTION.search(question):
            return any("?" in piece or _QUESTION_OPENING.match(piece) for piece in pieces)
        if _ASKS_WHETHER_PRESENT.search(question) or _ASKS_WHETHER_PRESENT.match(words(name)):
            finder = finder_for(f"{words(name)} {description}")
            if finder is not None:
                return bool(finder(text))
        for word in sorted(set(re.findall(r"[a-z][a-z\-]+", f"{words(name)} {description}".lower()))):
            concept = self._concept(word, "")
            if concept is not None and concept.against is not None:
                opposite = self._concepts[concept.against]
                return self._closeness(pieces, list(concept.examples), best=2) > self._closeness(
                    pieces, list(opposite.examples), best=2
                )
        statement = _SUBJECT.sub("", _STATEMENT_OPENING.sub("", question).strip()).strip(" ?.") or question
        vectors = self._embedder.vectors(pieces)
        statements = self._embedder.vectors([question, statement])
        similarity = (vectors @ statements.T).max(axis=1)
        best = int(similarity.argmax())
        if similarity[best] < STATEMENT_HOLDS:
            return False
        for pair in self._opposites:
            if (claimed := self._leaning(statement, pair)) and (said := self._leaning(pieces[best], pair)):
                return claimed == said
        return bool(_NEGATION.search(pieces[best])) == bool(_NEGATION.search(statement))

    def alike(self, text: str, others: list[str]) -> list[float]:
        """Cosine similarity of ``text`` to each of ``others``."""
        return [float(s) for s in self._embedder.similarity(text, others)]

    def nearest(self, text: str, others: list[str]) -> str:
        """The one of ``others`` that is most alike to ``text``."""
        return max(zip(self.alike(text, others), others, strict=True), key=lambda pair: pair[0])[1]

    def agreement(self, text: str, statement: str) -> float:
        """How near ``text`` comes to ``statement``, from 0 to 1."""
        similarity = float((self._embedder.vectors(_pieces(text)) @ self._embedder.vectors([statement])[0]).max())
        return min(1.0, max(0.0, 0.4 + similarity))

    def polarity(self, text: str) -> float:
        """0 for a very negative text, 0.5 for a neutral one, 1 for a very positive one."""
        pieces = _pieces(text)
        good = self._closeness(pieces, list(self._concepts["positive"].examples), best=2)
        bad = self._closeness(pieces, list(self._concepts["negative"].examples), best=2)
        said = OPPOSITE * self._leaning(text, self._opposites[0])
        return 1 / (1 + float(np.exp(12 * (bad - good - said))))

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


_EVERYDAY = frozenset(re.findall(r"\w+", "get set list find make do run show the a an of to for with all new by id up"))


def _distinct(labels: Iterable[str]) -> dict[str, str]:
    """The words of each label without those that all have: "handle billing" beside "handle sales" is "billing"."""
    split = {label: words(label).split() for label in labels}
    shared = set.intersection(*map(set, split.values()))
    return {label: " ".join(w for w in said if w not in shared) or " ".join(said) for label, said in split.items()}


def _pieces(text: str) -> list[str]:
    """The whole text and, where it has several, its sentences: a long text's point is often in one of them."""
    parts = [s for s in sentences(text) if len(s.split()) > 2][:40]
    return [text.strip() or " ", *parts] if len(parts) > 1 else [text.strip() or " "]
