"""What the UI says about the course: on the home page where to begin, and there and on each lesson's page who answers.

A lesson's page is its docstring, where links to other lessons are file names, as on a repository's page; in the UI they
lead to the other lesson's page.
"""

from __future__ import annotations

import inspect
import os
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow.sdk import DAG

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


def with_links(doc: str) -> str:
    """A lesson's page whose links to the files of other lessons lead to their pages in the UI."""
    return re.sub(r"\]\((114_\w+)\.py\)", r"](/dags/\1)", doc)


def document(dag: DAG) -> None:
    """Complete what the UI shows of a DAG: links and note on its page, and the docstrings of its mapped tasks."""
    if dag.doc_md:
        dag.doc_md = with_note(with_links(dag.doc_md))
    for task in dag.tasks:
        # Airflow 3.3 shows the docstring of a TaskFlow function on the task's page, but not that of a mapped one.
        if task.is_mapped and not task.doc_md:
            function = task.partial_kwargs.get("python_callable") or getattr(task, "python_callable", None)
            if function is not None:
                task.partial_kwargs["doc_md"] = inspect.getdoc(function)
