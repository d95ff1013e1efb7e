"""Personal data out of a prompt, and back into the answer.

Found are e-mail addresses, phone numbers (phonenumbers), IBANs and card numbers (python-stdnum, by their check digits), VAT
numbers of the EU and IP addresses: what has a form. Names and postal addresses have none and are not found; a model for
named entities, such as Presidio's, finds most of them and needs weights of its own.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

# Lengths are limited as RFC 5321 does, so that a long text without spaces is read in linear time.
_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
_CARD = re.compile(r"\b\d(?:[ -]?\d){12,18}\b")
_VAT = re.compile(r"\b[A-Z]{2}[A-Z0-9]{8,12}\b")
_IP = re.compile(r"\b\d{1,3}(?:\.\d{1,3}){3}\b|(?<![\w:])(?:[0-9a-fA-F]{0,4}:){2,7}[0-9a-fA-F]{0,4}(?![\w:])")
_PLACEHOLDER = re.compile(r"[\[<({]?\b([A-Z]+)_(\d+)\b[\]>)}]?")


@dataclass(frozen=True)
class Masked:
    """``text`` with placeholders such as ``[EMAIL_1]``, and what each of them stands for. Keep ``values`` out of logs."""

    text: str
    values: dict[str, str] = field(default_factory=dict, repr=False)

    def unmask(self, answer: str) -> str:
        """``answer`` with the values in place of their placeholders, also where the model lost their brackets."""

        def value(match: re.Match[str]) -> str:
            name = f"[{match[1]}_{match[2]}]"
            return self.values.get(name, match[0])

        return _PLACEHOLDER.sub(value, answer)


def mask(text: str, *, region: str = "DE") -> Masked:
    """``text`` without personal data. The same value gets the same placeholder, so that a model can tell who is who.

    ``region`` is where a phone number without a country's prefix is from (ISO 3166).
    """
    values: dict[str, str] = {}
    names: dict[tuple[str, str], str] = {}
    last: Counter[str] = Counter()
    taken = {f"[{kind}_{number}]" for kind, number in _PLACEHOLDER.findall(text)}
    pieces, at = [], 0
    for begin, end, kind in _without_overlaps(_found(text, region), len(text)):
        value = text[begin:end]
        name = names.get((kind, re.sub(r"[\s-]", "", value)))
        if name is None:
            # What looks like a placeholder and was written by the author stays what it is.
            while name is None or name in taken:
                last[kind] += 1
                name = f"[{kind}_{last[kind]}]"
            names[kind, re.sub(r"[\s-]", "", value)] = name
            values[name] = value
        pieces += [text[at:begin], name]
        at = end
    return Masked("".join([*pieces, text[at:]]), values)


def _found(text: str, region: str) -> Iterator[tuple[int, int, str]]:
    """Begin, end and kind of everything found; where two overlap, the earlier kind in this order is meant."""
    import phonenumbers
    from stdnum import iban, luhn
    from stdnum.eu import vat

    checks: list[tuple[str, re.Pattern[str], Callable[[str], bool]]] = [
        ("EMAIL", _EMAIL, lambda value: True),
        ("IBAN", _IBAN, iban.is_valid),
        ("CARD", _CARD, lambda value: luhn.is_valid(re.sub(r"\D", "", value))),
        ("VAT", _VAT, vat.is_valid),
        ("IP", _IP, _is_ip),
    ]
    for kind, pattern, is_valid in checks:
        for match in pattern.finditer(text):
            begin, end = match.span()
            # A code that follows an IBAN without a comma may look like its last group.
            while end > begin and not is_valid(text[begin:end]):
                end = max(text.rfind(" ", begin, end), begin) if kind == "IBAN" else begin
            if end > begin:
                yield begin, end, kind
    # By default it gives up after 65535 tries, and all that follows would go out unmasked.
    for number in phonenumbers.PhoneNumberMatcher(text, region, max_tries=len(text) + 1):
        yield number.start, number.end, "PHONE"


def _is_ip(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return value != "::"


def _without_overlaps(found: Iterator[tuple[int, int, str]], length: int) -> list[tuple[int, int, str]]:
    kept = []
    taken = bytearray(length)
    for begin, end, kind in found:
        if taken.find(1, begin, end) < 0:
            taken[begin:end] = b"\1" * (end - begin)
            kept.append((begin, end, kind))
    return sorted(kept)
