"""Texts that are made to keep a pattern busy, and how the time that they take grows."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Iterator
from re import _parser as parser

MEGABYTE = 2**20


def beginnings(pattern: str) -> Iterator[str]:
    """For each alternative of ``pattern`` what matches its beginning: of one part, of two, and so on."""
    dice = random.Random(pattern)
    tree = list(parser.parse(pattern, re.IGNORECASE))
    alternatives = [tree]
    for at, (kind, value) in enumerate(tree):
        if kind is parser.BRANCH:  # the parser takes out what all alternatives begin with
            alternatives = [[*tree[:at], *option, *tree[at + 1 :]] for option in value[1]]
            break
    for alternative in alternatives:
        parts = [_sample([node], dice) for node in alternative]
        for end in range(1, len(parts) + 1):
            if text := "".join(parts[:end]):
                yield text


def _sample(nodes, dice: random.Random) -> str:
    found = ""
    for kind, value in nodes:
        if kind is parser.LITERAL:
            found += chr(value)
        elif kind is parser.IN:
            found += _one_of(value)
        elif kind is parser.NOT_LITERAL:
            found += "a" if value != ord("a") else "b"
        elif kind is parser.SUBPATTERN:
            found += _sample(value[-1], dice)
        elif kind is parser.BRANCH:
            found += _sample(dice.choice(value[1]), dice)
        elif kind in (parser.MAX_REPEAT, parser.MIN_REPEAT):
            found += _sample(value[2], dice) * max(value[0], min(1, value[1]))
        elif kind in (parser.AT, parser.ASSERT, parser.ASSERT_NOT):
            pass
        else:
            raise NotImplementedError(kind)
    return found


def _one_of(items) -> str:
    kind, value = items[0]
    if kind is parser.NEGATE:
        return " "
    if kind is parser.CATEGORY:
        return {parser.CATEGORY_SPACE: " ", parser.CATEGORY_DIGIT: "1", parser.CATEGORY_NOT_WORD: "#"}.get(value, "a")
    return chr(value[0] if kind is parser.RANGE else value)


def growth(work: Callable[[str], object], unit: str, most: int = MEGABYTE) -> float:
    """By how much the time of ``work`` grows at worst when ``unit``, repeated, gets twice as long, up to ``most`` bytes.

    It begins with a short text and ends with the first doubling that is far from linear, so that what never ends is not
    waited for. Times too short to be told from fixed costs do not count.
    """
    size, worst, before = 1024, 0.0, None
    while size <= most:
        best = _seconds(work, unit, size)
        if before is not None and before > 0.01:
            for _ in range(5):  # a busy machine makes single times long
                if best <= 2.5 * before:
                    break
                before = min(before, _seconds(work, unit, size // 2))
                best = min(best, _seconds(work, unit, size))
            worst = max(worst, best / before)
            if worst > 2.5:
                return worst
        before, size = best, 2 * size
    return worst


def _seconds(work: Callable[[str], object], unit: str, size: int) -> float:
    text = (unit * (size // len(unit.encode()) + 1)).encode()[:size].decode(errors="ignore")
    began = time.thread_time()
    work(text)
    return time.thread_time() - began
