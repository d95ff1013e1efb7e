"""The answers that a prompt allows, when it asks for one of a few: "Answer with one word: yes or no".

What counts is the request's structure: where options stand, and that the answer is asked to be one of them. A list that says how,
for whom or about what to write ("in English or French") is not a list of options.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from keyless.mind.tasks import Task

_MOST_OPTIONS, _MOST_LISTS, _FAR, _LONG = 20, 200, 120, 2_000
"""Options of a choice, and lists that are looked at; characters from a verb to its options, and of a list in lines."""
_NO_ITEM = (
    r"(?!(?:an?|the|and|or|not|without|with|in|on|at|of|for|from|by|to|about|as|if|when|whether|what|which|who|that|this|these|"
    r"it|its|is|are|be|do|does|i|you|we|they|please|then|otherwise|else|based|depending|only)\b"
    # "yes or no", but not "no markdown".
    r"|no +(?!(?:if|when|whether|to|for|and|or|based|depending)\b)\w)"
)
_WORD = rf"{_NO_ITEM}[^\W_][\w+#.&'-]{{0,29}}(?<![.'])"
_QUOTED = r"\"[^\"\n]{1,40}\"|“[^”\n]{1,40}”|(?<!\w)'[^'\n]{1,40}'(?!\w)|`[^`\n]{1,40}`|\*\*[^*\n]{1,40}\*\*"
_ITEM = rf"(?:{_QUOTED}|(?i:{_WORD}(?: {_WORD}){{0,2}}))"
_BETWEEN = r"\s*(?:,\s*(?i:or|and)\s|,|/|\||;|\s(?i:or)\s)\s*"
_LIST = re.compile(rf"\s{{0,10}}[\[({{]?\s{{0,10}}({_ITEM}(?:{_BETWEEN}{_ITEM}){{1,{_MOST_OPTIONS}}})")
_AND_LIST = re.compile(rf"\s{{0,10}}({_ITEM}(?:,\s{_ITEM}){{0,{_MOST_OPTIONS}}},?\s(?i:and)\s{_ITEM})")
# What makes a list one of things to write about, and not of answers.
_GOES_ON = re.compile(r"(?i)\s+(?:an?|the|about|of|on|for|with|by|that|which|who|to|in)\b")
_COUNT = re.compile(r"(?i)(?:one|two|three|four|five|six|seven|eight|nine|ten|\d+)\b")

_ANSWER = r"(?:answer|reply|respond|return|output|print|say|write|give|state|type|emit|produce|result|verdict)s?(?: me| back)?"
_RESTRICTED = (
    r"(?:only|just|exactly|simply|either|one|single|of|the|these|those|following|with|as|a|an|your|its|must|should|can|be|is|nothing|"
    r"but|alone|else|and|below|above|\w{3,12}ly|(?:word|label|letter|option|categor(?:y|ie)|classe?|value|name|tag|type|number|answer)s?|two|three|four)"
)
_DEMANDED = re.compile(rf"(?i)\b{_ANSWER}\b(?:[ \t]+{_RESTRICTED}\b){{0,9}}[ \t]*+[:.]?\s*+(?=\S)")
"""An answer is demanded, and all that stands before the list restricts it: no "in", no "for", no thing to write."""
_CHOSEN = re.compile(
    r"(?i)\b(?:choose|pick|select|classify|categori[sz]e|label|tag|mark|grade|rate|decide|assign|route|sort|determine|judge|set)\b"
)
_LINK = re.compile(r"(?i)\b(as|into|between|among|from|of|either|to|with)\s*:?\s+(?=\S)|:\s*(?=\S)|(?=[\[({])")
_SENTENCE_END = re.compile(r"[.?!]\s|\n")
_HEADER = re.compile(
    r"(?i)\b(?:options|choices|labels|categories|classes|values|tags|answers|departments|teams|possibilities)\b[^.\n:?]{0,40}:[ \t]*"
    r"|\b(?:valid|allowed|possible|permitted|only) [\w ]{3,30}(?::| are)[ \t]+"
)
_PLAINLY = rf"{_QUOTED}|[A-Z]{{2,20}}(?: [A-Z]{{2,20}}){{0,2}}\b"
"""An option that its form sets off from the sentence around it."""
_TO_SAY = rf"(?i:{_ANSWER}\b(?:[ \t]+{_RESTRICTED}\b){{0,6}}[ \t]+)"
_ON_CONDITION = r"\s*,?\s(?i:if|when|unless|for)\b"
_ELSE = r"(?i:\b(?:otherwise|else|if not|and|or)\b)"
_CONDITIONAL = re.compile(
    # "return X if …, otherwise Y", "if …, return X. If not, return Y", "return x if …, y if …"
    rf"{_TO_SAY}({_PLAINLY}){_ON_CONDITION}[^\n]{{1,200}}?{_ELSE},?\s*(?:{_TO_SAY})?({_PLAINLY})"
    rf"|\b(?i:if|when)\s[^\n.]{{1,200}},\s*{_TO_SAY}({_PLAINLY})[.;,]?\s[^\n]{{0,120}}?(?:{_TO_SAY}|{_ELSE},?\s*)({_PLAINLY})"
    rf"|{_TO_SAY}({_WORD}){_ON_CONDITION}[^\n]{{1,200}}?(?:[,;]|{_ELSE})\s*(?:{_TO_SAY})?({_WORD})\s+(?i:if|when|otherwise|else)\b"
)
_EITHER = re.compile(rf"(?i)\b(?:either|one of)\b[^\n.?!\"'“`]{{0,40}}(?={_QUOTED})")
_SCALE = re.compile(
    r"(?i)\b(?:rate|score|grade|rank|mark|judge|assess|scale)\b[^\n.?!]{0,120}?\b(\d{1,2})\s?(?:-|–|to|and|through)\s?(\d{1,2})\b"
)
_BRIEF = re.compile(
    r"(?i)\b(?:one|a single|1)[ -](?:word|letter)\b|\b(?:only|just|nothing but)\s+(?:with\s+)?(?:(?:the|its|a|one)\s+)?(?:\w+\s+)?"
    r"(?:word|label|letter|option|category|name|number|tag|value|class|type)\b|\b(?:only|just) the \w+(?=[.\n]|$)|\bthe \w+ (?:only|alone)\b|\b(?:word|label|letter|option|category|name|tag|value|class)\s+"
    r"(?:only|alone)\b|\bnothing else\b|\bno (?:other|further|additional) (?:text|words?)\b|\bno explanations?\b|\bwithout (?:any )?explanation"
)
"""The answer is asked to be as short as a label."""
_PROSE = re.compile(
    r"(?i)\b(?:explain|describe|justify|elaborate|summari[sz]e|(?:write|draft|compose) (?:an?|me|the) (?!(?:single |one )?(?:word|letter|label|number)\b)|give (?:a |your )?reasons?|and (?:say )?why|in (?:one|two|three|a few|\d+) (?:short )?"
    r"(?:sentence|paragraph|line)s?)\b"
)
_ASKED = re.compile(
    rf"(?i)((?:an? )?(?:{_QUOTED}|{_WORD})(?:, ?(?:an? )?(?:{_QUOTED}|{_WORD})){{0,{_MOST_OPTIONS}}},? or (?:an? )?(?:{_QUOTED}|{_WORD}))\s*$"
)
"""Options at the end of a question, or of what is to be told."""
_NEGATED = re.compile(r"(?i)\b(?:not|never|without|no need to|don['’]t)\s+(?:\w+\s+)?$")
_LETTERED = re.compile(r"(?:^|(?<=[\s({\[]))\(?([A-Za-z]|\d{1,2})[).:][ \t]+(?=\S)", re.M)
_MARK_WANTED = re.compile(r"(?i)\b(?:the|its|one|only|just)\s(?:(number|digit)|letter)\b")
_SEVERAL = re.compile(
    r"(?i)\b(?:select|choose|pick|list|give|return|name|output|mark|assign|tag)\s(?:all|every|each|one or more|several|multiple)\b|"
    r"\ball (?:that|which) (?:apply|fit|match)\b"
)
_BULLET = re.compile(r"^[ \t]*(?:[-*•]|\d{1,2}[.)])[ \t]+(\S[^\n]*)$", re.M)


def closed_choice(task: Task) -> dict[str, str]:
    """The answers that a plain-text prompt allows, each with what the prompt says it means (or ""); empty when it is open."""
    text = f"{task.instructions}\n{task.source}" if task.instructions else task.source
    for at, options in itertools.islice(_candidates(text), _MOST_LISTS):
        if 2 <= len(options) <= _MOST_OPTIONS and not _asks_for_prose(text, at):
            return options if any(options.values()) else described_labels(list(options), task.instructions, task.source)
    return {}


def wants_several(task: Task) -> bool:
    """Whether a prompt with a closed choice asks for all options that fit, and not for one."""
    return bool(_SEVERAL.search(f"{task.instructions}\n{task.source}"))


def _candidates(text: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Lists of options and where each stands, those first that are most plainly the answer."""
    for match in _CONDITIONAL.finditer(text):
        yield match.start(), _plain([_bare(option) for option in match.groups() if option])
    for match in _EITHER.finditer(text):
        if (found := _LIST.match(text, match.end())) and re.match(_QUOTED, found.group(1)):
            yield match.start(), _plain(_split(found.group(1)))
    for match in _SCALE.finditer(text):
        yield match.start(), _plain([str(n) for n in range(int(match.group(1)), min(int(match.group(2)), 100) + 1)])
    for match in _MARK_WANTED.finditer(text):
        yield 0, _lettered(text, "1") if match.group(1) else _lettered(text, "A") or _lettered(text, "a")
    for match in _DEMANDED.finditer(text):
        yield match.start(), _plain(_options_at(text, match.end()) or _bullets(text, match.end()))
    for verb in _CHOSEN.finditer(text):
        stop = _SENTENCE_END.search(text, verb.end(), verb.end() + _FAR)
        for link in _LINK.finditer(text, verb.end(), stop.start() if stop else verb.end() + _FAR):
            pair = (link.group(1) or "").lower() == "between"
            yield verb.start(), _plain(_options_at(text, link.end(), pair=pair))
    brief = _BRIEF.search(text)
    asks = bool(brief) or "?" in text or bool(_CHOSEN.search(text))
    for header in _HEADER.finditer(text):
        if options := _options_at(text, header.end(), pair=header.group().rstrip().endswith("are")):
            yield header.start(), _plain(options)
        elif (rows := _bullets(text, header.end())) and asks:
            yield header.start(), _plain(rows)
    if asks:
        yield 0, _lettered(text, "A") or _lettered(text, "a")
    if brief and (first := _BULLET.search(text)):
        yield brief.start(), _plain(_bullets(text, first.start()))
    for mark in re.finditer(r"[?.]", text):
        if mark.group() == "?" and (options := _options_at(text, mark.end(), slashes=not brief)):
            yield mark.start(), _plain(options)
        before = text[max(0, mark.start() - _FAR) : mark.start()]
        told = mark.group() == "?" or re.search(r"(?i)\bwhether\b", before)
        if brief and told and (asked := _ASKED.search(before)):
            yield mark.start(), _plain([re.sub(r"(?i)^an? ", "", option) for option in _split(asked.group(1))])


def _options_at(text: str, at: int, *, pair: bool = False, slashes: bool = False) -> list[str]:
    """The list that begins at ``at``, if one does and it can be one of answers."""
    match = (_AND_LIST.match(text, at) if pair else None) or _LIST.match(text, at)
    if match is None or _GOES_ON.match(text, match.end()):
        return []
    raw = match.group(1)
    if slashes and not re.search(r"[/|]", raw):
        return []
    if (
        match.re is _LIST
        and not re.search(r"(?i)\sor\s|[/|]", raw)
        and not re.search(r"[:\[({]\s*$", text[: match.start(1)][-3:])
    ):
        # A plain enumeration is one of options only where a colon or a bracket sets it off.
        return []
    options = _split(raw, pair=pair)
    counts = [bool(_COUNT.match(option)) for option in options]
    return [] if any(counts) and not all(option.isdigit() for option in options) else options


def _split(raw: str, *, pair: bool = False) -> list[str]:
    between = rf"{_BETWEEN}|\s(?i:and)\s" if pair else _BETWEEN
    return [_bare(option) for option in re.split(between, raw)]


def _bare(option: str) -> str:
    return option.strip(" \t\n`'\"“”*.")


def _bullets(text: str, at: int) -> list[str]:
    """The names in the bullets from ``at`` on, without what is said of each; none if one is longer than a name."""
    rows: list[str] = []
    end = at
    for bullet in _BULLET.finditer(text, at, at + _LONG):
        if text[end : bullet.start()].strip():
            break
        end = bullet.end()
        rows.append(_bare(re.split(r"\s*(?::| - | – | — |=|\()", bullet.group(1), maxsplit=1)[0]))
    return rows if all(0 < len(row.split()) <= 4 for row in rows) else []


def _lettered(text: str, first: str) -> dict[str, str]:
    """``A) shark B) dolphin``: the marks from ``first`` on, each with its text."""
    marks = list(_LETTERED.finditer(text))
    for begin in (at for at, mark in enumerate(marks) if mark.group(1) == first):
        options: dict[str, str] = {}
        for mark, following in itertools.zip_longest(
            marks[begin : begin + _MOST_OPTIONS], marks[begin + 1 : begin + _MOST_OPTIONS + 1]
        ):
            place = len(options)
            if mark is None or mark.group(1) != (str(1 + place) if first == "1" else chr(ord(first) + place)):
                break
            said = text[mark.end() : following.start() if following else len(text)]
            options[mark.group(1)] = said.split("\n", 1)[0].strip(" ,;(.{}[]")
        if len(options) > 1:
            return options
    return {}


def _plain(options: list[str]) -> dict[str, str]:
    """Options of which nothing is said where they stand."""
    return dict.fromkeys(filter(None, options), "")


def _asks_for_prose(text: str, at: int) -> bool:
    """Whether the sentence of the demand, or one after it, wants more than a label."""
    begin = max(text.rfind(stop, 0, at) for stop in ("\n", ". ", "? ", "! "))
    return any(not _NEGATED.search(text[: match.start()][-40:]) for match in _PROSE.finditer(text, max(begin, 0)))


def described_labels(labels: list[str], *texts: str) -> dict[str, str]:
    """Each label with what ``texts`` say it means (``billing: about invoices``, ``billing = …``), or ``""``."""
    described = dict.fromkeys(labels, "")
    for label in labels:
        name = re.escape(label).replace("_", r"[_ ]")
        pattern = re.compile(
            rf"(?i)(?:^|[\n;,(]|\s[-*•]\s|[-*•]\s|\. )[ \t]*[`'\"*]*{name}[`'\"*]*\s*(?::|=|→|->| – | — | - |\bmeans\b|\bif\b|\bwhen\b)\s*([^\n;]+)"
        )
        for text in texts:
            if match := pattern.search(text):
                meaning = match.group(1)
                # Where labels follow one another on a line, a meaning ends where the next label begins.
                others = "|".join(re.escape(o) for o in labels if o != label)
                meaning = re.split(rf"[,.]\s*[`'\"]?(?:{others})[`'\"]?\s*[:=]", meaning)[0] if others else meaning
                described[label] = meaning.strip(" .,'\"`")
                break
    return described
