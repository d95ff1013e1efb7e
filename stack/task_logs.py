"""What the tasks of a run log themselves, apart from what Airflow logs about them."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

# Lessons log as the module that Airflow makes of their file, operators and hooks below `airflow.task`.
_OWN = ("unusual_prefix_", "airflow.task.", "llmkit")
_WIDTH = 200


def tee(say: Callable[[str], None]) -> None:
    """Call ``say`` with each line of the tasks' own, once Airflow's logging is configured; secrets are masked there."""
    import structlog

    def processor(logger: Any, method: str, event: dict[str, Any]) -> dict[str, Any]:
        name = str(event.get("logger") or getattr(logger, "name", ""))
        # Marks by which Airflow's UI folds lines.
        said = str(event["event"]).removeprefix("::group::")
        if name.startswith(_OWN) and said != "::endgroup::":
            say(_text(said))
        return event

    structlog.get_config()["processors"].insert(-1, processor)
    for handler in logging.getLogger().handlers:
        if isinstance(handler.formatter, structlog.stdlib.ProcessorFormatter):
            handler.formatter.foreign_pre_chain.append(processor)


def _text(said: str) -> str:
    # Some operators log all that they return; the whole of it is in the log file.
    lines = (line if len(line) <= _WIDTH else line[: _WIDTH - 1] + "…" for line in said.splitlines())
    return "\n".join(f"    {line}" for line in lines)
