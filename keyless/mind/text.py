"""Words and sentences: the one place where texts are taken apart."""

from __future__ import annotations

import re


def words(name: str) -> str:
    """``refundRequested`` and ``refund_requested`` as ``refund requested``."""
    return re.sub(r"[_\-\s]+", " ", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)).strip().lower()


def stem(word: str) -> str:
    """``dropped``, ``drops`` and ``drop`` as one: the word without its ending."""
    for end in ("ings", "ing", "ied", "ies", "ed", "es", "s", "e"):
        if word.endswith(end) and len(word) - len(end) >= 3:
            word = word[: -len(end)]
            break
    return word[:-1] if len(word) > 3 and word[-1] == word[-2] else word


def sentences(text: str) -> list[str]:
    """The sentences and lines of ``text``, without empty ones."""
    parts = re.split(r"(?<!^\d\.)(?<!^\d\d\.)(?<=[.!?])\s+(?=[A-Z0-9\"'(À-Þ])|\n+", text, flags=re.M)
    return [p.strip() for p in parts if p.strip()]


def first_sentence(text: str) -> str:
    """The first of ``sentences``; ``text`` itself where there is none."""
    return next(iter(sentences(text)), text.strip())


def up_to_last_stop(text: str) -> str:
    """``text`` without the sentence that breaks off at its end; all of it where no sentence ends."""
    match = re.match(r"^(.*[.!?])(?:\s|$)", text, re.S)
    return match.group(1) if match else text


def pieces(text: str) -> list[str]:
    """``text`` as a stream brings it: a word at a time, each with the space before it."""
    return re.findall(r"\s*\S+|\s+$", text)
