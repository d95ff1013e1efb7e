"""Patterns for texts from outside, in time that grows as the text does, whatever it says (RE2, by google-re2).

The ``re`` module tries ways to match one after the other, and a text can be written so that there are too many of them. RE2
follows all of them at once. It has no look-around, and its ``\\w`` and ``\\b`` know ASCII only.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

_LONE_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Pattern:
    """One pattern, without regard to case; ``^`` and ``$`` are those of a line. It is compiled when it is first used.

    What is found with a group ``harmless`` is passed over: ``(?P<harmless>do you )?always answer``.
    """

    pattern: str

    def search(self, text: str) -> str | None:
        """The first words that match, ``None`` when none do."""
        # Python has texts that no UTF-8 can say.
        for match in self._compiled.finditer(_LONE_SURROGATES.sub("\ufffd", text)):
            if not match.groupdict().get("harmless"):
                return match.group(0)
        return None

    @cached_property
    def _compiled(self) -> Any:
        import re2

        return re2.compile(f"(?im){self.pattern}")
