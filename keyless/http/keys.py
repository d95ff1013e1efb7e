"""What an API key asks of keyless: quotas and faults, each key with a state of its own, so that nothing is global.

A key that begins with ``keyless:`` holds directives, joined by commas: ``keyless:rpm=20,fail=503@0.3``.
"""

from __future__ import annotations

import math
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction

from keyless.neutral import BadRequest

PREFIX = "keyless:"
REMEMBERED = 10_000
MAX_LATENCY = 600.0

DIRECTIVES = {
    "rpm=N": "N requests a minute, then 429",
    "tpm=N": "N tokens a minute, then 429",
    "minute=6s": "the minute that rpm and tpm count by is so long (ms or s), for those who cannot wait",
    "fail=STATUS[@SHARE]": "that HTTP error for that share of the requests, the first one among them",
    "outage": "every request fails as it does when the provider is overloaded or down",
    "latency=2s[@SHARE]": "so long before the answer begins (ms or s)",
    "malformed[@SHARE]": "JSON that does not parse, tool arguments that do not fit",
    "truncate[@SHARE]": "half of the answer, ended as if max_tokens had been reached",
    "context=N": "a context of N tokens",
    "name=ANY": "nothing; tells keys apart that ask for the same, each with quotas of its own",
}
"""Every directive and what it does; the README's table and the error for an unknown one come from here."""


@dataclass(frozen=True)
class Share:
    """Which of a sequence of requests are meant: ``of`` them evenly spread, the first one always."""

    of: Fraction = Fraction(1)

    def hits(self, number: int) -> bool:
        """Whether request ``number``, counted from 1, is one of them."""
        return math.ceil(number * self.of) > math.ceil((number - 1) * self.of)


@dataclass(frozen=True)
class Directives:
    """What one key asks for. ``fails`` are pairs of HTTP status and share; ``latency`` and ``minute`` are in seconds."""

    rpm: int | None = None
    tpm: int | None = None
    minute: float = 60.0
    fails: tuple[tuple[int, Share], ...] = ()
    outage: bool = False
    latency: float = 0.0
    latency_share: Share = Share()
    malformed: Share | None = None
    truncate: Share | None = None
    context: int | None = None

    @property
    def spoils(self) -> bool:
        """Whether any answer may come out broken."""
        return self.malformed is not None or self.truncate is not None


def parse(key: str) -> Directives:
    """The directives in ``key``; a key without ``keyless:`` has none. Raises ``BadRequest`` (401) that names what is wrong."""
    if not key.startswith(PREFIX):
        return Directives()
    found: dict[str, object] = {}
    fails: list[tuple[int, Share]] = []
    for written in key.removeprefix(PREFIX).split(","):
        text, at, share = written.strip().partition("@")
        name, equals, value = text.partition("=")
        match name:
            case "rpm" | "tpm" | "context" if not at:
                found[name] = _whole(written, value)
            case "fail":
                if not re.fullmatch(r"[45]\d\d", value):
                    raise _wrong(written, "give an HTTP status from 400 to 599")
                fails.append((int(value), _share(written, at, share)))
            case "outage" if not at and not equals:
                found["outage"] = True
            case "minute" if not at:
                found["minute"] = _seconds(written, value)
                if not found["minute"]:
                    raise _wrong(written, "a minute takes some time")
            case "latency":
                found |= {"latency": _seconds(written, value), "latency_share": _share(written, at, share)}
            case "malformed" | "truncate" if not equals:
                found[name] = _share(written, at, share)
            case "name" if value:
                pass
            case _:
                raise _wrong(written, f"there is {', '.join(DIRECTIVES)}")
    return Directives(fails=tuple(fails), **found)  # type: ignore[arg-type]


def _wrong(written: str, why: str) -> BadRequest:
    return BadRequest(
        f"Incorrect API key provided: keyless knows no directive {written!r}: {why}.", status=401, kind="authentication"
    )


def _whole(written: str, value: str) -> int:
    if not re.fullmatch(r"[1-9]\d{0,11}", value):
        raise _wrong(written, "give a whole number above 0")
    return int(value)


def _seconds(written: str, value: str) -> float:
    match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,3})?)(ms|s)", value)
    seconds = float(match[1]) / (1000 if match[2] == "ms" else 1) if match else MAX_LATENCY + 1
    if seconds > MAX_LATENCY:
        raise _wrong(written, f"give a time such as 250ms or 2s, at most {MAX_LATENCY:.0f}s")
    return seconds


def _share(written: str, at: str, value: str) -> Share:
    if not at:
        return Share()
    if not re.fullmatch(r"0?\.\d{1,6}|[01](?:\.0{1,6})?", value) or not 0 < Fraction(value) <= 1:
        raise _wrong(written, "give a share above 0 and up to 1 after the @")
    return Share(Fraction(value))


class Bucket:
    """A quota of ``limit`` a ``minute`` that refills continuously; a fresh one is full. Used from one thread."""

    def __init__(self, limit: int, clock: Callable[[], float] = time.monotonic, minute: float = 60.0) -> None:
        self.limit = limit
        self.minute = minute
        self._clock = clock
        self._level = float(limit)
        self._at = clock()

    @property
    def left(self) -> float:
        """What can be taken now."""
        now = self._clock()
        self._level = min(float(self.limit), self._level + (now - self._at) * self.limit / self.minute)
        self._at = now
        return self._level

    def take(self, amount: float) -> float:
        """Take ``amount`` if it is there, and return 0.0; else take nothing and return the seconds until it is there."""
        # What floating point rounds off must not cost a request that came exactly on time.
        if self.left >= amount - 1e-6:
            self._level -= amount
            return 0.0
        return self.refilled_in(amount)

    def give_back(self, amount: float) -> None:
        """Return what was taken and not used, or, if negative, take what was used beyond it."""
        self._level = min(float(self.limit), self.left + amount)

    def refilled_in(self, amount: float) -> float:
        """Seconds until ``amount`` is there."""
        return max(0.0, (amount - self.left) * self.minute / self.limit)


@dataclass
class Key:
    """A key's directives and how far it has used them up."""

    directives: Directives
    requests: Bucket | None = None
    tokens: Bucket | None = None
    _counts: dict[str, int] = field(default_factory=dict)

    def turn(self, name: str, share: Share | None) -> bool:
        """Whether the fault ``name`` hits this time; each fault counts the requests that it could hit."""
        if share is None:
            return False
        self._counts[name] = self._counts.get(name, 0) + 1
        return share.hits(self._counts[name])


class Keys:
    """The keys seen lately, by provider: the same key is another account at another provider."""

    def __init__(self) -> None:
        self._keys: OrderedDict[tuple[str, str], Key] = OrderedDict()

    def get(self, provider: str, key: str) -> Key:
        """Raises ``BadRequest`` (401) for a directive that does not exist."""
        if not key.startswith(PREFIX):
            return _PLAIN
        known = self._keys.get((provider, key))
        if known is None:
            directives = parse(key)
            known = Key(
                directives,
                Bucket(directives.rpm, minute=directives.minute) if directives.rpm else None,
                Bucket(directives.tpm, minute=directives.minute) if directives.tpm else None,
            )
            self._keys[provider, key] = known
            while len(self._keys) > REMEMBERED:
                self._keys.popitem(last=False)
        else:
            self._keys.move_to_end((provider, key))
        return known


_PLAIN = Key(Directives())
