"""What the UI says about the course: on the home page where to begin, and there and on each lesson's page who answers."""

from __future__ import annotations

import os

WHO_ANSWERS = (
    "**A small model on this machine answers, not OpenAI, Anthropic or another provider.** Any model name is accepted, and the same "
    "model answers to all of them. To ask a real provider, put your key into a connection under "
    "[Admin → Connections](/connections); each connection's description says how, and the README has the table."
)
WHERE_TO_BEGIN = "**Begin with [114.1.1](/dags/114_01_01_ai_sdk_overview).** The lessons of section 7 show what goes wrong and end red on purpose."


def keyless() -> bool:
    """Whether the offline provider answers."""
    return os.environ.get("KEYLESS", "1") not in ("0", "no", "false")


def banners() -> list[str]:
    """The home page's messages, in Markdown."""
    return [WHO_ANSWERS, WHERE_TO_BEGIN] if keyless() else [WHERE_TO_BEGIN]


def with_note(doc: str) -> str:
    """A lesson's page with the note on who answers, once."""
    return f"{doc.rstrip()}\n\n---\n\n{WHO_ANSWERS}\n" if keyless() and WHO_ANSWERS not in doc else doc
