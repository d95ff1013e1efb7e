"""The file that calls are noted in until the database has them.

Nothing here waits for a lock. A lock that is held while Python allocates can be asked for again by whatever the garbage
collector closes just then, and a process that is stopped while it holds one would stop all others.
"""

from __future__ import annotations

import json
import logging
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from llmkit.ledger import http_tap, replies, table

log = logging.getLogger(__name__)

_PAUSE_SECONDS = 30.0


def note(call: http_tap.Call) -> None:
    """Append ``call`` to the spool. A reply that cannot be read is a row without tokens."""
    told: dict[str, Any] = {}
    if call.status == 200:
        try:
            told = replies.facts(call.body, call.headers)
        except Exception:
            log.warning("the usage of a call to %s cannot be read", call.url, exc_info=True)
    row = {
        "id": call.id,
        "at": call.at,
        "provider": call.api.provider,
        "flavor": call.api.flavor,
        "kind": call.api.kind,
        "url": call.url,
        "model": call.model,
        "told": told,
        "seconds": call.seconds,
        "status": call.status,
        "error": call.error,
        **asdict(call.owner),
    }
    _append([row] if call.api.kind != "batch" else list(_batch_rows(row, call.body)))


def _batch_rows(row: dict[str, Any], results: bytes) -> Iterator[dict[str, Any]]:
    # .../batches/<id>/results or .../files/<id>/content
    batch = row["url"].rstrip("/").split("/")[-2]
    for custom_id, status, told in replies.batch_facts(results):
        # Results may be fetched again: the same request is the same row.
        known = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{batch}/{custom_id}"))
        yield {**row, "id": known, "kind": "chat", "batch": batch, "status": status, "told": told, "seconds": 0.0}


def _folder() -> Path:
    return Path(os.environ.get("AIRFLOW_HOME", "~/airflow")).expanduser() / "ledger"


def _append(rows: list[dict[str, Any]]) -> None:
    folder = _folder()
    lines = "".join(json.dumps(row) + "\n" for row in rows).encode()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for _ in range(10):
            if _written(folder / "calls.jsonl", lines):
                break
    except OSError as error:
        log.warning("%d calls are missing in the ledger: %s cannot be written (%s).", len(rows), folder, error.strerror)


def _written(path: Path, lines: bytes) -> bool:
    """Append ``lines`` in one piece. ``False`` when the file was set aside meanwhile: its reader may have come too early.

    Then they are written once more; rows have an id, so one that is read twice is still one.
    """
    with path.open("ab", buffering=0) as file:
        file.write(lines)
        try:
            return os.path.samestat(os.fstat(file.fileno()), path.stat())
        except FileNotFoundError:
            return False


def deliver(*, at_once: bool = False) -> int:
    """Bring spooled rows to the database and return how many were new. Never raises.

    After a failure, which is a warning, the next half minute does not try again, unless ``at_once``.
    """
    folder = _folder()
    failed = folder / "failed"
    try:
        http_tap.flush()
        if not any(folder.glob("*.jsonl")):
            return 0
        if not at_once and failed.exists() and time.time() - failed.stat().st_mtime < _PAUSE_SECONDS:
            return 0
        # Set aside, so that nothing is appended to a file that is read. Others may read it too: rows have their id.
        with suppress(FileNotFoundError):
            (folder / "calls.jsonl").rename(folder / f"{uuid.uuid4()}.jsonl")
        new = 0
        for path in folder.glob("*.jsonl"):
            if path.name == "calls.jsonl":
                continue
            try:
                lines = path.read_text().splitlines()
            except FileNotFoundError:
                continue
            new += _store_all(lines, path.with_suffix(".broken"))
            path.unlink(missing_ok=True)
        failed.unlink(missing_ok=True)
        return new
    except Exception as error:
        _later(failed, error)
        return 0


def _later(failed: Path, error: Exception) -> None:
    with suppress(OSError):
        failed.touch()
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    log.warning(
        "The ledger's database does not answer (%s): the calls stay in %s until it does.", reason, failed.parent
    )


def _store_all(lines: list[str], broken: Path) -> int:
    """Store what can be stored, and keep the other lines in ``broken``; one bad line holds up no other."""
    import psycopg

    wrong = (psycopg.DataError, KeyError, TypeError, ValueError)
    try:
        return table.store([json.loads(line) for line in lines])
    except wrong as error:
        if len(lines) == 1:
            with broken.open("a") as file:
                file.write(lines[0] + "\n")
            log.warning("the ledger cannot store a line, which is kept in %s: %s", broken, error)
            return 0
    half = len(lines) // 2
    return _store_all(lines[:half], broken) + _store_all(lines[half:], broken)
