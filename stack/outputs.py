"""``make outputs``: each lesson's page shows the result of a real offline run, written there by this command.

The lessons run on a state of their own, as on a newcomer's machine: nothing of an earlier run is in the result. It stands in the
lesson's docstring below ``**You should see**``. A test holds a lesson's run against it (``shape``).
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stack.outline import find, outline
from stack.ports import free_port
from stack.settings import Settings, StackError

HEADING = "**You should see** (offline):"
_BLOCK = re.compile(rf"^{re.escape(HEADING)}\n(?P<block>.*?)(?=^\*\*)", re.MULTILINE | re.DOTALL)


def written(source: str) -> str | None:
    """The block in a lesson's source, as the page shows it; None when it has no such part."""
    found = _BLOCK.search(source)
    return found["block"].strip().replace("\\\\", "\\") if found else None


def with_block(source: str, block: str) -> str:
    """``source`` with ``block`` in its docstring. Raises ``ValueError`` when it has no place for it."""
    if not _BLOCK.search(source):
        raise ValueError(f"the docstring has no line '{HEADING}' with another part after it")
    text = block.replace("\\", "\\\\").replace('"""', "'''")
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
            kept.append(_without_numbers(line))
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
    from stack.terminal import Terminal

    own = Settings.load()
    if not own.keyless:
        raise StackError("A page shows what an offline run gives: leave KEYLESS as it is.")
    dag_ids = [find(own, name) for name in wanted] or sorted(path.stem for path in own.dags.glob("*.py"))
    own.prepare()
    log = own.logs / "outputs.log"
    log.write_text("")
    terminal = Terminal(log)
    try:
        done = _run_all(dag_ids, terminal.say)
    except Exception as error:
        terminal.failed(error, log)
        return 1
    if done < len(dag_ids):
        terminal.say(f"The tasks' logs: {log}")
    return int(done < len(dag_ids))


def _run_all(dag_ids: list[str], say: Callable[[str], None]) -> int:
    """Run the lessons on a state of their own. How many pages could be written."""
    from stack.use import in_use

    with tempfile.TemporaryDirectory(prefix="course-outputs-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        # The commands that prepare the state read these too.
        state = str(Path(folder) / ".state")
        os.environ.update(COURSE_STATE=state, PORT=str(free_port()), KEYLESS_PORT=str(free_port()))
        settings = Settings.load()
        with in_use(settings, say):
            return sum(_write(settings, dag_id, say) for dag_id in dag_ids)


def _write(settings: Settings, dag_id: str, say: Callable[[str], None]) -> bool:
    """Run one lesson and write what it concludes into its file. Whether that could be done."""
    from llmkit import tables
    from stack.provider import answers
    from stack.runs import execute

    path = settings.dags / f"{dag_id}.py"
    expected = outline().get(dag_id, {}).get("outcome", "success")
    outcome = execute(settings, dag_id)
    try:
        if outcome.state != expected or outcome.result is None:
            raise ValueError(outcome.error or f"the run ended {outcome.state}, with the result {outcome.result}")
        if not answers(settings):
            # A lesson that fails on purpose fails without keyless too, and has a result.
            raise ValueError("keyless does not answer any more: nothing was written")
        block = tables.markdown(_without_this_machine(outcome.result, settings, outcome.run_id))
        path.write_text(with_block(path.read_text(), block))
    except ValueError as error:
        say(f"✗ {dag_id}: {error}")
        return False
    say(f"✓ {dag_id} ({outcome.seconds:.1f} s)")
    return True


def _without_this_machine(value: Any, settings: Settings, run_id: str) -> Any:
    """``value`` without where the state lies here, on which port keyless answers, and the folder that is named by the run."""
    from llmkit import storage

    if isinstance(value, dict):
        return {name: _without_this_machine(inner, settings, run_id) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_this_machine(inner, settings, run_id) for inner in value]
    if not isinstance(value, str):
        return value
    value = value.replace(f"{settings.state.parent}/", "").replace(settings.keyless_url, "http://127.0.0.1:11400")
    return re.sub(rf"\S*/{re.escape(storage.folder_name(run_id))}/", "…/", value)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except StackError as problem:
        sys.exit(str(problem))
