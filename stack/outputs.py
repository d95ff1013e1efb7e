"""``make outputs``: each lesson's page shows the result of a real offline run, written there by this command.

It stands in the lesson's docstring below ``**You should see**``. A test holds a lesson's run against it (``shape``).
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from stack.outline import find
from stack.settings import REPO, Settings, StackError

HEADING = "**You should see** (offline):"
_BLOCK = re.compile(rf"^{re.escape(HEADING)}\n(?P<block>.*?)(?=^\*\*)", re.MULTILINE | re.DOTALL)


def block(result: Any) -> str:
    """A result in Markdown, as a lesson's page shows it."""
    from llmkit import tables

    if isinstance(result, str):
        return "\n".join(f"> {line}".rstrip() for line in result.strip().splitlines())
    return tables.markdown(result)


def written(source: str) -> str | None:
    """The block in a lesson's source; None when it has no such part."""
    found = _BLOCK.search(source)
    return found["block"].strip() if found else None


def with_block(source: str, result: Any) -> str:
    """``source`` with ``result`` in its docstring. Raises ``ValueError`` when it has no place for it."""
    if not _BLOCK.search(source):
        raise ValueError(f"the docstring has no line '{HEADING}' with another part after it")
    # Paths on this machine mean nothing on another.
    text = block(result).replace(f"{REPO}/", "").replace("\\", "\\\\").replace('"""', "'''")
    return _BLOCK.sub(lambda _: f"{HEADING}\n\n{text}\n\n", source, count=1)


def shape(markdown: str) -> list[str]:
    """What of a block is the same in every run: names of columns and facts, labels of rows, and where a number stands.

    A row's label is its first cell. Of every other cell and fact only its kind remains: a number, a text, yes or no, or nothing.
    """
    lines = [line.strip() for line in markdown.strip().splitlines()]
    kept = []
    for n, line in enumerate(lines):
        if line.startswith("|"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            if n == 0 or not lines[n - 1].startswith("|"):
                kept.append(" | ".join(cells))
            elif not re.fullmatch(r"[|:\- ]+", line):
                kept.append(" | ".join([_without_numbers(cells[0]), *map(_kind, cells[1:])]))
        elif line.startswith("- ") and ": " in line:
            name, fact = line[2:].split(": ", 1)
            kept.append(f"{name}: {_kind(fact)}")
        elif line:
            kept.append(line[:1] if line.startswith(">") else _without_numbers(line))
    return kept


def _without_numbers(text: str) -> str:
    return re.sub(r"\d+(?:\.\d+)?", "0", text)


def _kind(cell: str) -> str:
    if cell in ("–", ""):
        return "nothing"
    if cell in ("yes", "no"):
        return "yes or no"
    return "number" if re.fullmatch(r"[-+]?[\d.,]+(?:\s?(?:%|s|ms|USD|EUR))?", cell) else "text"


def main(wanted: list[str]) -> int:
    """Run the lessons named, or all, and write what they conclude into their files. Exit status 1 if one could not."""
    from stack.runs import execute
    from stack.terminal import Terminal
    from stack.use import in_use

    settings = Settings.load()
    if not settings.keyless:
        raise StackError("A page shows what an offline run gives: leave KEYLESS as it is.")
    dag_ids = [find(settings, name) for name in wanted] or sorted(path.stem for path in settings.dags.glob("*.py"))
    settings.prepare()
    terminal = Terminal(settings.logs / "outputs.log")
    failed = 0
    with in_use(settings, terminal.say):
        for dag_id in dag_ids:
            path: Path = settings.dags / f"{dag_id}.py"
            outcome = execute(settings, dag_id)
            try:
                if outcome.result is None:
                    raise ValueError(
                        outcome.error
                        or f"the run ended {outcome.state} without a result; {settings.logs / 'outputs.log'} has it"
                    )
                path.write_text(with_block(path.read_text(), outcome.result))
            except ValueError as error:
                failed += 1
                terminal.say(f"✗ {dag_id}: {error}")
            else:
                terminal.say(f"✓ {dag_id} ({outcome.seconds:.1f} s)")
    return int(failed > 0)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except StackError as problem:
        sys.exit(str(problem))
