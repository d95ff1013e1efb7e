"""What a prompt is about and what it asks for: the material, the instructions, and the schema it spells out."""

from __future__ import annotations

import bisect
import itertools
import json
import re
from dataclasses import dataclass
from typing import Any

from keyless.mind.text import sentences
from keyless.neutral import Message

_OPENING = re.compile(r"```[\w-]*\n?|<(\w[\w-]*)>|\"\"\"")
_CLOSING = re.compile(r"```|</\w[\w-]*>|\"\"\"")
_MOST_BRACES = 200
"""A prompt that spells out a schema does so before its 200th brace; trying each would never end."""
_LABEL = re.compile(
    r"(?im)^[ \t]*(?:here is |this is )?(?:the |a |an )?(?:[\w'-]+ ){0,3}(?:text|ticket|message|review|document|input|e-?mail|comment|"
    r"article|question|invoice|contract|transcript|content|note|notes|headline|feedback|passage|report|diff|code|brief)\s*:\s*"
)
_QUOTED_BELOW = re.compile(
    r"(?i)\b(?:this|these|following|below)(?: \w{1,30}){0,2} KINDS(?: \w{1,30}){0,3}:\s+|\bKINDS:[ \t]*\n".replace(
        "KINDS",
        "(?:texts?|tickets?|messages?|reviews?|documents?|e-?mails?|comments?|articles?|invoices?|contracts?|transcripts?|passages?|reports?)",
    )
)
_ASKING_TAG = re.compile(r"(?i)<(?:\w*_)?(?:question|query|request|task|goal|instructions?|user|input)>")
_INSTRUCTION = re.compile(
    r"^(?:please |now |then |your task is to |i want you to |can you |could you )?(?:classify|categori[sz]e|extract|summari[sz]e|label|identify|"
    r"determine|decide|route|assign|rate|score|analy[sz]e|read|return|respond|reply with|answer with|answer only|output|"
    r"use|pick|choose|select|find out|tell|translate|rewrite|judge|evaluate|grade|set|parse|fill|produce|generate|you are|"
    r"do not|only|what is the (?:sentiment|intent|topic|category|priority)|which (?:category|section|team|label)|what kind of)\b",
    re.I,
)
# pydantic-ai asks for a better answer in these words; the material is in the turn before.
_RETRY = re.compile(
    r"fix the errors and try again|validation errors?:|please (?:return text|include your response)", re.I
)


@dataclass(frozen=True)
class Task:
    """``source`` is the material to work on; ``instructions`` all that says what to do with it."""

    source: str
    instructions: str


def understand(messages: tuple[Message, ...]) -> Task:
    """Split a conversation into material and instructions.

    Material is the latest question's fenced, tagged or labelled block if it has one, else its sentences that are not
    commands; the results of tools called since then belong to it too.
    """
    systems = [m.text for m in messages if m.role == "system"]
    asked = [i for i, m in enumerate(messages) if m.role == "user" and (m.text.strip() or m.pictures)]
    real = [i for i in asked if not _RETRY.search(messages[i].text)] or asked
    if not real:
        return Task("", "\n".join(systems))
    pictures = messages[real[-1]].pictures
    source, told = _split(messages[real[-1]].text, alone=not pictures)
    if pictures:
        # With a picture the words are the question, unless they hold material of their own too.
        source = f"{source}\n" if told else ""
        told = [messages[real[-1]].text]
        source += "\n".join(p.material for p in pictures)
    results = [m.content for m in messages[real[-1] :] if m.role == "tool" and not _RETRY.search(m.text)]
    return Task("\n".join([source, *results]), "\n".join([*systems, *told]))


def without_material(text: str) -> tuple[str, str]:
    """What a request says itself, and the fenced, tagged or announced text in it, which asks for nothing."""
    if not _ASKING_TAG.search(text):
        blocks, around = _blocks(text)
        if any(blocks) and re.search(r"\w", around):
            return around, "\n".join(blocks)
    if (match := _QUOTED_BELOW.search(text)) and re.search(r"\w", text[: match.start()]):
        return text[: match.end()].strip(), text[match.end() :].strip()
    return text, ""


def _split(text: str, *, alone: bool) -> tuple[str, list[str]]:
    """``alone``: there is nothing but ``text`` that could be the material."""
    blocks, around = _blocks(text)
    if any(blocks):
        return "\n".join(blocks), [around]
    # Without what is blank at its end, over which the pattern would otherwise go once for each line.
    if match := re.match(r"(?s)(.*\S:)[ \t]*\n+(.*\S)", text.rstrip()):
        # The usual shape: what to do, a colon, and below it the material.
        return match.group(2), [match.group(1)]
    if match := _LABEL.search(text):
        rest = text[match.end() :].strip()
        before = text[: match.start()].strip()
        # A label in the middle of a form ("Name: …\nTicket: …") begins nothing; one below an instruction does.
        if rest and before and any(_INSTRUCTION.match(s) or s.endswith("?") for s in sentences(before)):
            return rest, [before]
    told, material = [], []
    for piece in sentences(text):
        (told if _INSTRUCTION.match(piece) or piece.endswith(":") else material).append(piece)
    if not material and alone:
        # "Classify this ticket: the printer is on fire" on one line.
        head, _, tail = text.partition(": ")
        return (tail, [head]) if _INSTRUCTION.match(head) and len(tail.split()) > 1 else (text, [])
    return "\n".join(material), told


def _blocks(text: str) -> tuple[list[str], str]:
    """What stands in fences, tags and triple quotes, and the text around them."""
    blocks: list[str] = []
    around: list[str] = []
    closings: dict[str, list[int]] = {}
    for tag in _CLOSING.finditer(text):
        closings.setdefault(tag.group(), []).append(tag.start())
    end = 0
    for opening in _OPENING.finditer(text):
        closing = f"</{opening.group(1)}>" if opening.group(1) else opening.group()[:3]
        if opening.start() < end:
            continue
        # One pattern for the whole block, or a search for each tag, would look for the ends of all that are never closed.
        places = closings.get(closing, [])
        index = bisect.bisect_left(places, opening.end())
        if index == len(places):
            continue
        at = places[index]
        blocks.append(text[opening.end() : at].strip())
        around.append(text[end : opening.start()])
        end = at + len(closing)
    return blocks, " ".join([*around, text[end:]]).strip()


def schema_in(text: str) -> dict[str, Any] | None:
    """The JSON Schema of an object that a prompt spells out ("Answer with JSON that fits this schema: …"), if it does."""
    if not re.search(r"\bjson\b", text, re.I):
        return None
    decoder = json.JSONDecoder()
    for match in itertools.islice(re.finditer(r"\{", text), _MOST_BRACES):
        try:
            found, _ = decoder.raw_decode(text, match.start())
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict) and isinstance(found.get("properties"), dict):
            return found
    return None
