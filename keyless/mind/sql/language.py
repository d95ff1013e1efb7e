"""The words of questions about tables: what to count, to compare, to group and to order by. They are the language's own, not a trade's."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from decimal import Decimal

MOST_FOUND = 12
"""Places where one kind of words is looked for: no question has more, and each takes its time."""

STOP = (
    r"(?:per|by|for|each|every|in|of|with|without|where|that|which|whose|who|from|since|before|after|over|under|above|below|between|during|than|"
    r"and|or|to|on|at|ordered|sorted|grouped|having|is|are|was|were|has|have|had|did|do|does|the|an?|all|their|its|there)"
)
NP = rf"(?:(?:the|an?|all|their|its)\s+)?((?:(?!{STOP}\b)[\w-]+(?:['’]s)?\s*){{1,5}})"
_NUMBER_WORDS = {
    w: n for n, w in enumerate(["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"], 1)
}
COUNTED = rf"(\d{{1,4}}|{'|'.join(_NUMBER_WORDS)})"
NUM = r"(-?\d+(?:,\d{3})*(?:\.\d+)?)\s*(%|k\b)?"
QUOTED = r"(?:'([^'\n]+)'|\"([^\"\n]+)\"|“([^”\n]+)”|‘([^’\n]+)’)"
# What an adjective measures, and whether more of it is more.
ADJECTIVES = {
    **dict.fromkeys(("high", "large", "big", "great", "top", "good", "strong"), ("", True)),
    **dict.fromkeys(("low", "small", "few", "bad", "weak"), ("", False)),
    **dict.fromkeys(("expensive", "pricey", "costly", "dear"), ("price", True)), "cheap": ("price", False),
    "heavy": ("weight", True), "light": ("weight", False), "long": ("length", True), "short": ("length", False),
    "tall": ("height", True), "fast": ("speed", True), "slow": ("speed", False), "old": ("age", True), "young": ("age", False),
    **dict.fromkeys(("late", "new", "recent"), ("date", True)), "early": ("date", False),
}  # fmt: skip
_IRREGULAR = {
    "best": "good",
    "better": "good",
    "worst": "bad",
    "worse": "bad",
    "least": "few",
    "most": "high",
    "latest": "late",
}
SUPERLATIVE = re.compile(
    rf"(?i)\b(?:(?:the|with)\s+)*(?:{COUNTED}\s+)?(most|least)\s+({'|'.join(a for a in ADJECTIVES if len(a) > 5)})(?:ly)?\b"
    rf"|\b(?:the\s+)?(?:{COUNTED}\s+)?(most|least|fewest|best|worst|top|bottom|first|last|maximum|max|minimum|min|[a-z]{{3,9}}est)\b(?:\s+{COUNTED}\b)?"
)
COMPARED = re.compile(
    r"(?i)(?P<op>\b(?:(?:more|greater|higher|larger|bigger|less|fewer|lower|smaller) than(?: or equal to)?|over|above|exceed(?:s|ing)?|at least|no less than|under|"
    r"below|at most|no more than|up to|exactly|equal(?:s| to)|between|[a-z]{3,9}er than|more expensive than|less expensive than)\b|>=|<=|<>|!=|[<>=])"
    rf"\s*(?:[$€£]\s*)?{NUM}(?:\s*(?:and|to|-)\s*(?:[$€£]\s*)?{NUM})?"
)
AGGREGATE = re.compile(
    r"(?i)\b(?:(?P<COUNT>how many|(?:total )?numbers? of|counts? of|counts?(?= the| all| how)|count\b)|(?P<AVG>average|mean|avg)|"
    r"(?P<SUM>total|sum of|sum|overall|combined|how much)|(?P<MAX>maximum|max)|(?P<MIN>minimum|min))\b\s*(?:of\s+)?"
)
REVENUE = re.compile(r"(?i)\b(?:revenue|turnover|sales|spend(?:ing)?|spent|earnings|income)\b")
UNIT = r"(?:hour|day of week|weekday|day|week|month|quarter|year)"
GROUPED = re.compile(
    rf"(?i)\b(?:grouped by|broken down by|for each|for every|in each|of each|by each|per|by|each|every|across)\s+{NP}"
)
EVERY = {
    "hourly": "hour",
    "daily": "day",
    "weekly": "week",
    "monthly": "month",
    "quarterly": "quarter",
    "yearly": "year",
    "annual": "year",
}
SORTED = re.compile(
    rf"(?i)\b(?:(?:sort|order|rank)ed|(?:sort|order|rank)(?: (?:them|it|the results?|results?))?) by\s+{NP}"
)
DOWN = re.compile(r"(?i)\b(?:descending|desc|decreasing|from (?:high|larg|new|lat)\w+ to \w+|z to a|z-a)\b")
MATCHED = re.compile(
    r"\b(?P<op>(?i:(?:start|begin)(?:s|ning|ing)? with|end(?:s|ing)? (?:with|in)|contain(?:s|ing)?|includ(?:es|ing)|like))\s+"
    rf"(?:the (?:word|text|letters?) )?(?:{QUOTED}|([A-Z][\w.@-]*))"
)
LACKING = re.compile(
    r"(?i)\b(?:without|with no|ha(?:ve|s|ving) no|lack(?:s|ing)?|missing|never|(?:do|does|did|has|have|is|are|was|were)(?: not|n['’]t)|not)\b"
    r"((?:\s+(?:an?|any|been|yet|have|had|the|placed|made)\b)*)\s+([\w-]+(?:\s(?!(?:and|or|in|by|per|since|for)\b)[\w-]+)?)"
)
NEGATION = re.compile(
    r"(?i)\b(?:not|except(?: for)?|excluding|other than|outside(?: of)?|isn['’]t|aren['’]t|but)(?:\s+(?:in|from|the|those))*\s*$"
)
CAPITAL = re.compile(
    r"(?<![\w'\"])(?:[A-Z][\w'’&.-]*\w|[A-Z])(?:\s+(?:[A-Z][\w'’&.-]*\w|de|da|von|van))*(?<! de)(?<! da)(?<! van)(?<! von)"
)
WRITES = re.compile(
    r"(?i)^\W*(?:please\s+|can you\s+|could you\s+)?(?:delete|drop|insert|update|truncate|alter|remove|create|rename)\b"
)


def found_in(pattern: re.Pattern[str], text: str) -> Iterator[re.Match[str]]:
    """The first places where ``pattern`` matches: no question has more, and each takes its time."""
    return itertools.islice(pattern.finditer(text), MOST_FOUND)


def adjective_of(word: str) -> tuple[str, bool] | None:
    """What a superlative or comparative measures, and whether it wants more of it."""
    word = word.lower()
    if word in ("maximum", "max", "top", "most", "first"):
        return "", True
    if word in ("minimum", "min", "bottom", "least", "last"):
        return "", False
    root = _IRREGULAR.get(word) or re.sub(r"(?:est|er)$", "", word)
    forms = (root, word, f"{root}e", re.sub(r"i$", "y", root), re.sub(r"(.)\1$", r"\1", root))
    return next((ADJECTIVES[f] for f in forms if f in ADJECTIVES), None)


def many(said: str | None) -> int | None:
    """The number that is said in digits or as a word."""
    return None if not said else _NUMBER_WORDS.get(said.lower()) or int(said)


def is_singular(noun: str) -> bool:
    """Whether a noun phrase is of one thing."""
    last = (noun.split() or [""])[-1].lower().removesuffix("'s").removesuffix("’s")
    return not last.endswith("s") or last.endswith(("ss", "us", "is"))


def number_of(said: str, factor: str | None) -> str:
    """A number as SQL writes it; ``factor`` may be k for a thousand."""
    number = said.replace(",", "")
    return f"{Decimal(number) * 1000:f}" if factor and factor.lower() == "k" else number
