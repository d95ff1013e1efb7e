"""What a request wants done: its steps, in order, and whether a step asks for a change or only for knowledge."""

from __future__ import annotations

import re
from typing import NamedTuple

from keyless.mind.text import sentences, stem, words
from keyless.neutral import Tool

_MOST_STEPS = 12
_LONGEST = 4_000
"""Characters of a request in which steps are looked for; what follows is material."""

# Verbs that requests and tools have in common. Those of the first list change nothing; the verbs in one row of the second do the same
# sort of thing.
_READS = frozenset(
    re.findall(
        r"\w+",
        "get list find fetch look search read show check query count describe calculate compute convert translate retrieve lookup view see "
        "inspect explore browse compare evaluate summarize summarise analyze verify validate measure estimate forecast explain determine "
        "tell give say answer report use select identify investigate review examine head sum detect parse extract load scan test",
    )
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
        "deactivate uninstall shut turn suspend ban lock expel evict dismiss fire withdraw void format discard archive",
        "refund pay transfer charge buy order purchase reimburse reorder return credit donate sell wire settle",
        "restart deploy trigger start launch retry reboot rerun run roll execute",
        "escalate hand transfer forward page connect talk speak request call",
    )
)
_ANY_CHANGE = frozenset().union(*_CHANGES)
_EVERYWHERE = frozenset(
    re.findall(
        r"\w+", "the and for from with all this that these those please its his her our your not one good number name"
    )
)
_NOUNS = frozenset(
    re.findall(
        r"\w+",
        "order file mail email message record log book page schedule note plan post report contact text alert charge credit transfer share reserve "
        "purchase return release register store request call format fire lock ban stop set test run start view search open",
    )
)
"""Verbs that are as often nouns."""
_WH = "what|which|who|whom|whose|when|where|why|how|is|are|was|were|does|do|did|has|have|will|should|can"
_LEAD = r"(?:(?:please|then|also|finally|next|afterwards?|now|first(?:ly)?|second(?:ly)?|third(?:ly)?|lastly|after that|so|just|and|kindly)\b[\s,:]*)"
_VERB = "|".join(
    sorted(
        (_READS | _ANY_CHANGE | {"draft", "let", "if", "once", "try", "go", "ask", "resolve", "fix"})
        - {"format", "void", "lock", "fire", "request", "wire", "settle"}
    )
)
_CUT = re.compile(
    rf"\s*;\s+|,?\s+(?:and\s+)?then\s+|,?\s+after that,?\s+|\s+afterwards,?\s+|,\s+(?:and\s+|but\s+)?(?={_LEAD}{{0,2}}(?:{_VERB}|{_WH})\b)"
    rf"|\s+and\s+(?={_LEAD}{{0,2}}(?:{_VERB}|{_WH})\b)|(?m:^)\s*(?:\d{{1,2}}[.)]|[-*•])\s+",
    re.I,
)
_AND = re.compile(r",?\s{1,9}and\s{1,9}(?:also\s{1,9})?(?=\w{1,40} )", re.I)
_REFUSED = re.compile(
    r"\b(?:(?:but )?(?:please )?(?:do not|don['’]t|never|must not|mustn['’]t|should not|shouldn['’]t|no need to)(?! forget| hesitate)|without|"
    r"instead of|rather than|but not|not to)\b[^.;!?\n,]*",
    re.I,
)
_HOW_TO = re.compile(
    r"(?i)^\W*(?:how|what|which|who|whose|why|when|where|is|are|was|were|did|does|has|have|had|should|may|am)\b"
)
_ABILITY = re.compile(r"(?i)^\W*(?:can|could|may|do|would|will) (?:i|we|they|he|she|it|the|my|our)\b")
_TEXT_ONLY = re.compile(
    rf"(?i)^\W*{_LEAD}*(?:draft|compose|suggest|propose|simulate|preview|imagine|pretend|"
    r"write (?:me )?(?:an? )?(?:\w{1,20} )?(?:poem|haiku|rhyme|song|story|joke|essay|sentence|paragraph))\b"
)
_POLITE = re.compile(
    rf"(?i)^\W*{_LEAD}*(?:(?:i|we)(?:['’]d| would)? (?:want|need|like|wish)(?: you)? to|(?:can|could|would|will) you(?: please)?|please|"
    r"go ahead and|let['’]?s|you (?:should|must)|make sure to|help me(?: to)?|i have to|(?:do not|don['’]t) forget to)\s+"
)
# "If you can" and "if you could …, that would be great" are no conditions; nor is what somebody is asked.
_COURTESY = re.compile(
    r",?\s{0,9}\b(?:if|when|whenever|as soon as|once) (?:(?:it|that)(?:['’]s| is) )?(?:possible|ok(?:ay)?|all right|fine|convenient|you (?:can|could|may|"
    r"please|would|will|like|want|wish|don['’]t mind|do not mind|(?:get|have) (?:a|the|some) (?:chance|moment|minute|second|time)))(?=\s{0,9}(?:[,.!?;]|$)),?",
    re.I,
)
_WISH = re.compile(
    r"(?i)^\W*(?:it (?:would|['’]d) be \w+|(?:i|we)(?:['’]d| would) (?:appreciate it|be \w+)|(?:i|we)(?:['’]m| am| was| were)? wonder(?:ing)?) "
    r"if you (?:could|would|can)\s+|^\W*if you (?:could|would|can)\s+(?=[^,]+, (?:that|it|this)(?: would|['’]d) be )"
)
_ASKED_IF = re.compile(r"(?i)\b(let (?:me|us) know|tell (?:me|us)|ask(?:s|ing)?(?: \w{1,30}){0,3}) if\b")
_CONDITION = re.compile(
    r"\b(?:if|unless|in (?:that |this |which )?case|otherwise|provided|assuming|as long as|as soon as|only when|once (?:it|they|the|he|she)|"
    r"(?:check|see|verify|find out) whether|should (?:it|they|he|she|there|the))\b",
    re.I,
)
_LEADING_CONDITION = re.compile(r"(?i)^\W*(?:if|in case|should|when|whenever|unless|once|as soon as)\b[^,]*,")
_SO = re.compile(r"(?i)^\W*(?:then|so)\b")
_QUOTED = re.compile(
    r"\"[^\"\n]{1,400}\"|“[^”\n]{1,400}”|«[^»\n]{1,400}»|`[^`\n]{1,400}`|(?<!\w)['‘][^'’\n]{1,400}['’](?!\w)"
)
_NEED = re.compile(
    r"\b(?:needs?|wants?|would like|out of|run(?:s|ning)? (?:out|low)|left|broken?|breaks?|crash\w*|fail\w*|errors?|jam(?:s|med|ming)?|stuck|lost|"
    r"forg[eo]t\w*|cannot|not|no longer|stopped|keeps?|down|leak\w*|hurts?|sick|ill|fever|late|missing|wrong|problems?|issues?|trouble|"
    r"complain\w*|help|urgent\w*|damaged|faulty|dead)\b|n['’]t\b|['’]d (?:like|rather)\b",
    re.I,
)
_CONTENTED = re.compile(r"(?i)\b(?:thanks?|thank you|solved|(?:works?|working|fine) (?:now|again))\b")
_SUBJECT_OF = re.compile(
    r"(?i)(?: (?:number |no\.? )?#?[\w-]*\d[\w-]*)? (?:is|was|has|had|does|did|will|can|could|must|should|arrived|came)\b"
)
_FILE_NAME = re.compile(r"\w\.[a-z]\w{1,4}\b")
_NOTHING = re.compile(r"(?i)\b(?:nothing|none|nobody)\b")
_PERSON = re.compile(
    r"(?i)\b(?:talk|speak|chat|connect me|put me through)\b(?: \w{1,20})? (?:to|with) (?:an? |the |some )?(?:\w{1,20} )?"
    r"(?:person|human|agent|operator|representative|someone|somebody|colleague|manager)\b"
)
_TO_PEOPLE = re.compile(r"(?i)\b(?:human|operator|tickets?|escalates?|support case)\b")
_HANDS_OVER = re.compile(r"(?i)\b(?:transfer|hand)\b.{0,40}\b(?:human|person|agent|operator|staff|colleague|team)\b")
_MARK = "\ue000"


class Step(NamedTuple):
    """One thing that a request asks for. It is ``certain`` when it is to be done in any case: under no condition."""

    text: str
    certain: bool = True


def steps(text: str) -> list[Step]:
    """The things that a request asks for, in order; what it asks not to do is left out."""
    found: list[Step] = []
    after_question = False
    hidden, quotes = _hidden(text[:_LONGEST])
    for sentence in sentences(hidden):
        sentence = _ASKED_IF.sub(r"\1 whether", _WISH.sub("", _COURTESY.sub("", sentence)))
        certain = not (_CONDITION.search(sentence) or (after_question and _SO.match(sentence)))
        after_question = sentence.endswith("?") and not _POLITE.match(sentence)
        if _LEADING_CONDITION.match(sentence):
            # What is to be done under a condition is one step: it must not lose its condition.
            found.append(Step(_shown(sentence, quotes), certain=False))
            continue
        refused_first = bool(_REFUSED.match(sentence))
        for piece in _CUT.split(sentence):
            plain = re.sub(rf"(?i)^\W*{_LEAD}+", "", _REFUSED.sub("", piece)).strip(" ,")
            if re.search(r"\w", plain):
                # "Do not cancel the order and delete the account" asks for neither.
                found.append(Step(_shown(plain, quotes), certain and not refused_first))
    return found[:_MOST_STEPS]


def halves(step: str) -> list[str]:
    """``step`` at each "and" that may join two things to do, or only two things."""
    hidden, quotes = _hidden(step)
    return [_shown(part, quotes) for part in _AND.split(hidden) if part.strip()]


def _hidden(text: str) -> tuple[str, list[str]]:
    """``text`` with a mark for each quotation, which asks for nothing, and the quotations."""
    quotes: list[str] = []

    def hide(match: re.Match[str]) -> str:
        quotes.append(match.group())
        return f"{_MARK}{len(quotes) - 1}{_MARK}"

    return _QUOTED.sub(hide, text.replace(_MARK, "")), quotes


def _shown(text: str, quotes: list[str]) -> str:
    return re.sub(f"{_MARK}(\\d+){_MARK}", lambda match: quotes[int(match.group(1))], text)


def asks_to_act(step: str) -> bool:
    """Whether ``step`` asks that something is done: it is no question on how or whether to, and wants more than a text."""
    step = _POLITE.sub("", step)
    return not (_HOW_TO.match(step) or _ABILITY.match(step) or _TEXT_ONLY.match(step))


def asks_for_a_person(step: str, tool: Tool) -> bool:
    """Whether ``step`` asks to talk to somebody, and a call of ``tool`` brings it to people."""
    return bool(
        _PERSON.search(step) and only_adds(tool) and _TO_PEOPLE.search(f"{words(tool.name)} {tool.description[:500]}")
    )


def states_a_need(step: str) -> bool:
    """Whether ``step`` tells of something that is wrong or wanted, as people do who ask for help."""
    return bool(_NEED.search(step)) and not _CONTENTED.search(step)


def only_adds(tool: Tool) -> bool:
    """Whether a call makes, sends or hands over something and alters nothing that is there."""
    adding = _CHANGES[0] | _CHANGES[1] | _CHANGES[6]
    return not undoes(tool) and all(v in adding for v in _tool_verbs(tool))


def verb_of(step: str) -> str:
    """The first word of a command, without what is polite around it."""
    match = re.match(rf"(?i)\W*{_LEAD}*([a-z]+)(.{{0,60}})", _POLITE.sub("", step))
    if not match:
        return ""
    verb = match.group(1).lower()
    # "Order A-100 was cancelled" begins with a noun.
    return "" if verb in _NOUNS and _SUBJECT_OF.match(match.group(2)) else verb


def _tool_verbs(tool: Tool) -> list[str]:
    """What the tool does: the verbs of its name, else the verb that opens its description.

    A name's verb may stand behind the prefix of a server or a noun (``s3_delete_key``). A word that is a noun as well
    (``order_status``) counts only where there is no other.
    """
    name = [w for w in words(tool.name).split() if w in _READS | _ANY_CHANGE]
    opening = re.findall(r"[a-z]+", tool.description.lower()[:200])[:1]
    opening = [w.removesuffix("s") if w not in _READS | _ANY_CHANGE else w for w in opening]
    opening = [w for w in opening if w in _READS | _ANY_CHANGE]
    return [w for w in name if w not in _NOUNS] or opening or name


def changes(tool: Tool) -> bool:
    """Whether a call may change, send or delete something; a tool of which nothing says so only reads."""
    verbs = _tool_verbs(tool)
    only_first = not {"and", "or"} & set(words(tool.name).split())
    # "run a query" only reads.
    return any(v in _ANY_CHANGE - {"run", "execute"} for v in (verbs[:1] if only_first else verbs))


def is_kin(step: str, tool: Tool) -> bool:
    """Whether a verb of ``step`` means what the tool does: "remove" and a tool that deletes.

    For a tool that ``undoes``, it is the verb of the command: "The order was cancelled" orders nothing.
    """
    verb = verb_of(step)
    if verb in _READS - _ANY_CHANGE:
        return False
    if undoes(tool) and (_NOTHING.search(step) or (step.endswith("?") and not _POLITE.match(step))):
        return False
    others = [] if undoes(tool) or verb in _ANY_CHANGE else re.findall(r"[a-z]+", _QUOTED.sub("", step).lower())
    asked = next((w for w in (verb, *others) if w in _ANY_CHANGE), "")
    verbs = _tool_verbs(tool)
    return asked in verbs or any(asked in row and any(v in row for v in verbs) for row in _CHANGES)


def undoes(tool: Tool) -> bool:
    """Whether a call takes something away for good or moves money: never on a mere likeness of words."""
    taking = any(v in _CHANGES[3] | _CHANGES[4] for v in _tool_verbs(tool))
    return taking and changes(tool) and not _HANDS_OVER.search(f"{words(tool.name)} {tool.description[:200]}")


def names_its_thing(step: str, tool: Tool) -> bool:
    """Whether ``step`` has a word of the tool's name, description or parameters that is neither a verb nor in every text."""

    def things(text: str) -> set[str]:
        return {
            stem(w)
            for w in re.findall(r"[a-z]{3,}", text.lower())
            if w not in _ANY_CHANGE - _NOUNS and w not in _EVERYWHERE
        }

    of_tool = words(" ".join([tool.name, tool.description[:500], *tool.parameters.get("properties", {})]))
    if _FILE_NAME.search(step):
        step += " file"
    return bool(things(step.removeprefix(verb_of(step))) & things(of_tool))
