"""Prompt injection: text from outside that gives orders to the model.

A text is read as a person could mean it to be read: without invisible characters and look-alike letters, and decoded from
base64, hexadecimal, percent-encoding, rot13, leetspeak, l e t t e r s p a c i n g and reversal. Each reading is held against
patterns of orders, and the plain one against known attacks by meaning. No screening finds every attack: give a model that
reads foreign text no tool and no data that the text's author should not have.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote

import yaml

from llmkit.guardrails.patterns import Pattern
from llmkit.similarity import Embed, cosine

_RULES = r"(?:instruct|prompt|rule|direction|guideline|command|polic|restriction|filter|safeguard|safety|constraint|programming|training|orders)\w*"
PATTERNS: dict[str, Pattern] = {
    name: Pattern(pattern)
    for name, pattern in {
        "overrides the instructions": rf"\b(?:ignore|disregard|forget|override|overrule|bypass|neglect|discard|abandon|(?:do not|don't|stop|no longer) (?:follow|obey)\w*)\b[^.!?\n]{{0,50}}\b{_RULES}"
        rf"|\b(?:ignore|disregard|forget) (?:everything|anything|all)\b[^.!?\n]{{0,30}}\b(?:above|before|previous|prior|said|told|learned)"
        rf"|\b{_RULES}\b[^.!?\n]{{0,40}}\b(?:no longer|do not|don't|not) (?:apply|count|hold|matter)\b"
        rf"|\b(?:new|updated|real|actual) {_RULES} ?(?:are|is|follow|:)"
        r"|\b(?:ignoriere|vergiss)\b[^.!?\n]{0,40}\b(?:anweisung|regel)\w*|\b(?:ignore[zs]?|oublie[zs]?)\b[^.!?\n]{0,40}\b(?:instructions|consignes|regles)|\b(?:ignora|olvida)\b[^.!?\n]{0,40}\b(?:instrucciones|reglas)",
        "asks for the instructions": rf"\b(?:reveal|show|print|repeat|output|display|leak|recite|dump|write (?:out|down)|translate|disclose|tell me|give me|what (?:is|are|was|were))\b[^.!?\n]{{0,40}}\b(?:your|system|initial|hidden|secret|original|internal)\b[^.!?\n]{{0,25}}(?:{_RULES}|system message|message|configuration)|\b(?:tell|give|show|say)\b[^.!?\n]{{0,20}}\bwhat you (?:were|are|have been) (?:told|given|configured|instructed)"
        r"|\b(?:repeat|print|output|copy) (?:all |everything |the )?(?:text |words |lines )?(?:above|before this)",
        "gives the model another role": r"\b(?:you are now|from now on,? you|act as|pretend (?:to be|that you are|you are)|role-?play as|simulate|imagine you are)\b[^.!?\n]{0,80}\b(?:unrestricted|uncensored|unfiltered|no (?:rules|limits|restrictions|filters?|morals|ethics)|without (?:any )?(?:rules|limits|restrictions|filters?)|anything|jailbr\w+|evil|root|admin\w*|dan)\b"
        r"|\b(?:developer|debug|god|sudo|maintenance|admin) mode\b[^.!?\n]{0,40}\b(?:on|enabled?|activated?|enter|now)|\b(?:enter|enable|activate|switch (?:in)?to) (?:developer|debug|god|sudo|maintenance|admin) mode|\bdo anything now\b",
        "forges a message": r"<\|?/?(?:im_start|im_end|system|endoftext|assistant)\|?>|\[/?inst\]|<</?sys>>|^\W{0,4}(?:system|assistant|developer) (?:message|prompt|override|note)\s*:|^\W{0,4}system\s*:\s*(?:the |you|user|ignore|override|approve|new |please|from )|(?:begin|end|start) (?:of )?(?:the )?(?:system prompt|user input|untrusted)",
        "speaks to the model": r"\b(?:note|attention|message|instructions?|reminder|important|hello|hey|dear|to)\b[^.!?\n]{0,15}\b(?:ai|llm|language models?|assistants?|chatbots?|gpt|claude|copilot|bots?)\b\s*[:,;-]|\b(?:if you are|any|every|all) (?:an? )?(?:ai|llm|language models?|chatbots?|automated (?:system|reviewer)s?)\b[^.!?\n]{0,50}\b(?:must|should|reading|read|processing|rate|say|reply|approve)",
        "carries data away": r"!\[[^\]]*\]\(\s*https?://[^)]*[?&=][^)]*\)|\b(?:send|post|forward|e-?mail|upload|transmit|exfiltrate|append|include|put)\b[^.!?\n]{0,60}\b(?:conversation|chat history|passwords?|credentials?|api keys?|secrets?|tokens?|customer (?:data|list)|database|system prompt)\b[^.!?\n]{0,60}(?:https?://|@|\burl\b|\blink\b|\bto (?:this|my|the following)\b)",
        "orders a verdict": r"\b(?:rate|classify|score|mark|label|grade|approve|rank|summari[sz]e)\b[^.!?\n]{0,50}\b(?:regardless|no matter|whatever|always|only as|10/10|highest|without (?:checking|review|question))|(?P<harmless>do you )?\balways (?:answer|reply|respond|say|approve)\b",
        "orders harm by tools": r"\brm -rf\b|;\s*drop table\b|\b(?:call|run|execute|invoke|use) (?:the |your |a )?[\w -]{0,25}(?:tool|function|command|shell|api)\b[^.!?\n]{0,50}\b(?:delete|drop|erase|wipe|transfer|refund|without (?:asking|confirm\w*))",
        "keeps it from the user": r"\b(?:do not|don't|never) (?:tell|inform|mention|reveal|show|say)\b[^.!?\n]{0,40}\b(?:user|customer|human|anyone|this (?:message|instruction|note))",
    }.items()
}  # fmt: skip

# Tuned on the examples themselves, each left out in turn: of the attacks in plain words that no pattern finds, half are found
# by their meaning, and 2 % of the harmless texts are too.
_NEIGHBOURS, _NEARER, _AT_LEAST = 3, 0.1, 0.3


@dataclass(frozen=True)
class Examples:
    """Texts to compare with: ``attacks``, and ``harmless`` ones of the kind that is usually received."""

    attacks: tuple[str, ...]
    harmless: tuple[str, ...]

    @classmethod
    def load(cls, path: Path | str = Path(__file__).parent / "examples.yaml") -> Examples:
        """Those in a YAML file with these two lists; by default the ones that come with this module."""
        raw = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        return cls(tuple(raw["attacks"]), tuple(raw["harmless"]))


@dataclass(frozen=True)
class Reason:
    """Why a text is suspicious: what it does, the words that show it, and the reading in which they were found."""

    what: str
    evidence: str
    reading: str = "as it is"


@dataclass(frozen=True)
class Verdict:
    """``reasons`` are empty for a text that nothing was found in."""

    reasons: tuple[Reason, ...] = ()

    @property
    def suspicious(self) -> bool:
        """Whether there is a reason not to hand the text to a model."""
        return bool(self.reasons)


class InjectionScreen:
    """Screens texts; with ``embed`` also by their meaning, against ``examples``, which are embedded once."""

    def __init__(self, embed: Embed | None = None, *, examples: Examples | None = None) -> None:
        self._embed, self._examples = embed, examples or Examples.load()

    def screen(self, text: str) -> Verdict:
        """Every reason once, with the reading that shows it first."""
        found: dict[str, Reason] = {}
        for reading, words in readings(text):
            for what, pattern in PATTERNS.items():
                if what not in found and (evidence := pattern.search(words)):
                    found[what] = Reason(what, evidence[:120], reading)
        if any("\U000e0000" <= character <= "\U000e007f" for character in text):
            found["hides text"] = Reason("hides text", "characters that no screen shows", "invisible characters")
        if self._embed is not None and not found and (near := self._nearest(text)):
            found["is like known attacks"] = near
        return Verdict(tuple(found.values()))

    @cached_property
    def _vectors(self) -> list[list[float]]:
        texts = [*self._examples.attacks, *self._examples.harmless]
        return [list(vector) for vector in self._embed([_plain(text) for text in texts])]  # type: ignore[misc]

    def _nearest(self, text: str) -> Reason | None:
        """The piece of ``text`` that is most clearly nearer to attacks than to harmless texts, by the mean of the nearest."""
        import numpy as np

        from llmkit.tokens import sentences

        plain = _plain(text)
        pieces = [piece.strip() for piece in sentences(plain) if len(piece.split()) > 2][:200] or [plain[:1000] or " "]
        similarity = cosine(self._embed(pieces), self._vectors)  # type: ignore[misc]
        attacks, harmless = np.split(similarity, [len(self._examples.attacks)], axis=1)
        near, usual = (np.sort(part, axis=1)[:, -_NEIGHBOURS:].mean(axis=1) for part in (attacks, harmless))
        worst = int((near - usual).argmax())
        if near[worst] - usual[worst] <= _NEARER or near[worst] <= _AT_LEAST:
            return None
        closest = int(attacks[worst].argmax())
        return Reason(
            "is like known attacks",
            f"{pieces[worst][:80]} ({attacks[worst, closest]:.2f} to: {self._examples.attacks[closest]})",
        )


def readings(text: str) -> Iterator[tuple[str, str]]:
    """The text as it may be meant, each with the name of the reading; the plain one first."""
    plain = _plain(text)
    yield "as it is", plain
    hidden = "".join(chr(ord(c) - 0xE0000) for c in text if "\U000e0020" <= c <= "\U000e007e")
    if hidden:
        yield "invisible characters", hidden
    if re.search(r"(?:\b\w[ ._-]){5,}\w\b", plain):
        yield "letter spacing", _plain(re.sub(r"\b(\w)[ ._-](?=\w\b)", r"\1", text))
    if re.search(r"[a-z][013457@$][a-z]", plain, re.IGNORECASE):
        yield "leetspeak", plain.translate(str.maketrans("013457@$", "oieastas"))
    for name, decode, pattern in _CODES:
        for match in pattern.finditer(text):
            decoded = decode(match.group(0))
            if decoded and sum(c.isprintable() or c.isspace() for c in decoded) > 0.95 * len(decoded):
                yield name, _plain(decoded)
    if len(re.findall(r"%[0-9a-fA-F]{2}", text)) > 2:
        yield "percent-encoding", _plain(unquote(text))
    yield "rot13", codecs.decode(plain, "rot13")
    yield "reversed", plain[::-1]


# Cyrillic and Greek letters that look like Latin ones, as Unicode's confusables (UTS 39) list them.
_LOOKALIKES = str.maketrans(
    "аеорсухіѕјһԁԛԝӏвкмнтАВЕКМНОРСТХУЅІЈαορνικτυΑΒΕΖΗΙΚΜΝΟΡΤΥΧ",
    "aeopcyxisjhdqwlbkmhtABEKMHOPCTXYSIJaopviktuABEZHIKMNOPTYX",
)


def _plain(text: str) -> str:
    """Visible characters as plain Latin letters, where they look like them."""
    # Before and after: Python sorts a run of combining characters in quadratic time.
    visible = _visible(unicodedata.normalize("NFKD", _visible(text)))
    return re.sub(r"[ \t]+", " ", visible.translate(_LOOKALIKES))


def _visible(text: str) -> str:
    return "".join(c for c in text if unicodedata.category(c) not in ("Cf", "Mn") and not unicodedata.combining(c))


def _base64(text: str) -> str:
    try:
        raw = base64.b64decode(text.replace("-", "+").replace("_", "/") + "=" * (-len(text) % 4), validate=True)
        return raw.decode()
    except (binascii.Error, UnicodeDecodeError):
        return ""


def _hex(text: str) -> str:
    try:
        return bytes.fromhex(re.sub(r"0x|\\x|[\s,]", "", text)).decode()
    except (ValueError, UnicodeDecodeError):
        return ""


_CODES = (
    ("base64", _base64, re.compile(r"[A-Za-z0-9+/_-]{16,}={0,2}")),
    ("hexadecimal", _hex, re.compile(r"(?:(?:0x|\\x)?[0-9a-fA-F]{2}[\s,]?){12,}")),
)
