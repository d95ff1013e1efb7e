"""What a request wants done: its steps, in order, and whether a step asks for a change or only for knowledge."""

from __future__ import annotations

import re

from keyless.mind.text import sentences, words
from keyless.neutral import Tool

_MOST_STEPS = 12
_LONGEST = 4_000
"""Characters of a request in which steps are looked for; what follows is material."""

# Verbs that requests and tools have in common. A verb of the first row changes nothing; those of a later row do the same sort of thing.
_READS = frozenset(
    [
        "get",
        "list",
        "find",
        "fetch",
        "look",
        "search",
        "read",
        "show",
        "check",
        "query",
        "count",
        "describe",
        "calculate",
        "compute",
        "convert",
        "translate",
        "retrieve",
        "lookup",
        "view",
        "see",
        "inspect",
        "explore",
        "browse",
        "compare",
        "evaluate",
        "summarize",
        "summarise",
        "analyze",
        "verify",
        "validate",
        "measure",
        "estimate",
        "forecast",
        "explain",
        "determine",
        "tell",
        "give",
        "say",
        "answer",
        "report",
        "use",
        "select",
        "identify",
        "investigate",
        "review",
        "examine",
        "head",
        "sum",
        "detect",
        "parse",
        "extract",
        "load",
        "scan",
        "test",
    ]
)
_CHANGES = tuple(
    frozenset(row.split())
    for row in (
        "create open add new file log record register submit raise post insert write put book schedule set save store reserve plan "
        "arrange make note remember invite start append upload",
        "send mail email message notify forward reply inform text publish share alert remind write post contact page",
        "update change set edit modify rename move replace assign adjust correct mark extend reschedule raise lower increase decrease "
        "reset append approve reject upgrade downgrade restock enable turn",
        "delete remove drop erase cancel clear purge terminate disable revoke block unsubscribe wipe destroy close stop kill truncate "
        "deactivate uninstall shut turn",
        "refund pay transfer charge buy order purchase reimburse reorder return credit donate",
        "restart deploy trigger start launch retry reboot rerun run roll execute",
        "escalate hand transfer forward page connect",
    )
)
_ANY_CHANGE = frozenset().union(*_CHANGES)
_WH = "what|which|who|whom|whose|when|where|why|how|is|are|was|were|does|do|did|has|have|will|should|can"
_LEAD = r"(?:(?:please|then|also|finally|next|afterwards?|now|first(?:ly)?|second(?:ly)?|third(?:ly)?|lastly|after that|so|just|and|kindly)\b[\s,:]*)"
_VERB = "|".join(
    sorted(
        _READS | _ANY_CHANGE | {"translate", "draft", "let", "if", "once", "try", "go", "call", "ask", "resolve", "fix"}
    )
)
_CUT = re.compile(
    rf"\s*;\s+|,?\s+(?:and\s+)?then\s+|,?\s+after that,?\s+|\s+afterwards,?\s+|,\s+(?:and\s+|but\s+)?(?={_LEAD}{{0,2}}(?:{_VERB}|{_WH})\b)"
    rf"|\s+and\s+(?={_LEAD}{{0,2}}(?:{_VERB}|{_WH})\b)|(?m:^)\s*(?:\d{{1,2}}[.)]|[-*•])\s+",
    re.I,
)
_AND = re.compile(r",?\s{1,9}and\s{1,9}(?:also\s{1,9})?(?=\w{1,40} )", re.I)
_REFUSED = re.compile(
    r"\b(?:(?:but )?(?:please )?(?:do not|don['’]t|never|must not|mustn['’]t|should not|shouldn['’]t|no need to)|without|instead of|"
    r"rather than|but not)\b[^.;!?\n,]*",
    re.I,
)
_HOW_TO = re.compile(
    r"(?i)^\W*(?:how|what|which|who|whose|why|when|where|is|are|was|were|did|does|has|have|had|should|may|am)\b"
)
_ABILITY = re.compile(r"(?i)^\W*(?:can|could|may|do|would|will) (?:i|we|they|he|she|it|the|my|our)\b")
_POLITE = re.compile(
    rf"(?i)^\W*{_LEAD}*(?:(?:i|we)(?:['’]d| would)? (?:want|need|like|wish)(?: you)? to|(?:can|could|would|will) you(?: please)?|please|"
    r"go ahead and|let['’]?s|you (?:should|must)|make sure to|help me(?: to)?|i have to)\s+"
)
CONDITION = re.compile(r"(?i)^\W*(?:if|in case|should it|when|unless|once)\b\s*([^,]*),\s*(.+)$", re.S)


def steps(text: str) -> list[str]:
    """The things that a request asks for, one a step and in order; what it asks not to do is left out."""
    found: list[str] = []
    for sentence in sentences(text[:_LONGEST]):
        if conditional := CONDITION.match(sentence):
            # What is to be done under a condition is one step: it must not lose its condition.
            found.append(conditional.group())
            continue
        for piece in _CUT.split(sentence):
            plain = re.sub(rf"(?i)^\W*{_LEAD}+", "", _REFUSED.sub("", piece)).strip(" ,")
            if re.search(r"\w", plain):
                found.append(plain)
    return found[:_MOST_STEPS]


def halves(step: str) -> list[str]:
    """``step`` at each "and" that may join two things to do, or only two things."""
    return [part for part in _AND.split(step) if part.strip()]


def asks_to_act(step: str) -> bool:
    """Whether ``step`` asks that something is done, and is no question on how or whether to."""
    step = _POLITE.sub("", step)
    return not (_HOW_TO.match(step) or _ABILITY.match(step))


def verb_of(step: str) -> str:
    """The first word of a command, without what is polite around it."""
    match = re.match(rf"(?i)\W*{_LEAD}*([a-z]+)", _POLITE.sub("", step))
    return match.group(1).lower() if match else ""


def _tool_verbs(tool: Tool) -> list[str]:
    name = words(tool.name).split()
    opening = re.findall(r"[a-z]+", tool.description.lower())[:1]
    stems = [w.removesuffix("s") if w.removesuffix("s") in _READS | _ANY_CHANGE else w for w in opening]
    # A name's verb stands first, or after the prefix of a server (``s3_delete_key``).
    return [w for w in (*name, *stems) if w in _READS | _ANY_CHANGE]


def changes(tool: Tool) -> bool:
    """Whether a call may change, send or delete something; a tool of which nothing says so only reads."""
    verbs = _tool_verbs(tool)
    described = re.match(r"\W*(\w+)", tool.description.lower())
    plainly_reads = bool(verbs) and verbs[0] in _READS
    return not plainly_reads and (
        any(v in _ANY_CHANGE - {"run", "execute"} for v in verbs)
        or bool(described and described.group(1) in _CHANGES[3])
    )


def is_kin(step: str, tool: Tool) -> bool:
    """Whether the verb of ``step`` means what the tool does: "remove" and a tool that deletes."""
    verb = verb_of(step)
    if verb in _READS - _ANY_CHANGE:
        return False
    asked = (
        verb if verb in _ANY_CHANGE else next((w for w in re.findall(r"[a-z]+", step.lower()) if w in _ANY_CHANGE), "")
    )
    verbs = _tool_verbs(tool)
    return asked in verbs or any(asked in row and any(v in row for v in verbs) for row in _CHANGES)


def undoes(tool: Tool) -> bool:
    """Whether a call takes something away for good or moves money: never on a mere likeness of words."""
    return any(v in _CHANGES[3] | _CHANGES[4] for v in _tool_verbs(tool))
