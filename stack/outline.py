"""The curriculum's lessons, and how a reader names one."""

from __future__ import annotations

from typing import Any

import yaml

from stack.settings import REPO, Settings, StackError


def outline() -> dict[str, dict[str, Any]]:
    """The curriculum's lessons by dag_id."""
    course = yaml.safe_load((REPO / "include" / "curriculum.yaml").read_text())
    return {lesson["dag_id"]: lesson for section in course["sections"] for lesson in section["lessons"]}


def find(settings: Settings, wanted: str) -> str:
    """The dag_id that ``wanted`` begins. Raises ``StackError`` when none or several do."""
    if not wanted:
        raise StackError("Say which lesson: make lesson DAG=114_01_03")
    there = sorted(path.stem for path in settings.dags.glob("*.py"))
    # 114.1.3, as the outline writes it, is 114_01_03 as files are named.
    if "." in wanted and all(part.isdigit() for part in wanted.split(".")):
        wanted = "_".join(part.zfill(2) if len(part) < 3 else part for part in wanted.split("."))
    matches = [name for name in there if name == wanted] or [name for name in there if name.startswith(wanted)]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise StackError(f"{wanted} fits several lessons: {', '.join(matches)}.")
    hint = (
        "it is in the outline, but not written yet"
        if any(d.startswith(wanted) for d in outline())
        else "the README's table lists them"
    )
    raise StackError(f"There is no lesson {wanted} ({hint}).")
