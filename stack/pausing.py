"""Keep a running scheduler away from a DAG while this process runs it.

``airflow dags test`` sets its tasks to *scheduled* in the database, where a scheduler that runs at the same time finds
them and runs some of them too. A scheduler leaves the runs of a paused DAG alone, and ``dags test`` does not mind.

Each DAG has a file below ``paused`` in the state folder. Who runs the DAG shares its lock, and it is not empty if the
DAG is paused because of that. A run that was killed leaves such a file that nobody locks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stack.database import connected
from stack.locks import Lock
from stack.settings import Settings


def _folder(settings: Settings) -> Path:
    folder = settings.state / "paused"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _is_paused(settings: Settings, dag_id: str) -> bool | None:
    with connected(settings, "airflow") as connection:
        row = connection.execute("SELECT is_paused FROM dag WHERE dag_id = %s", [dag_id]).fetchone()
    return row[0] if row else None


def _set(settings: Settings, dag_id: str, paused: bool) -> None:
    with connected(settings, "airflow") as connection:
        connection.execute("UPDATE dag SET is_paused = %s WHERE dag_id = %s", [paused, dag_id])


def _unpause_if_unused(settings: Settings, lock: Lock) -> None:
    if lock.note and lock.holder() is None:
        _set(settings, lock.path.name, False)
        lock.note = ""


@contextmanager
def paused(settings: Settings, dag_id: str) -> Iterator[None]:
    """Pause ``dag_id`` for the time of the block, unless the reader has paused it; the last of several runs unpauses it."""
    changing = Lock(settings.state / "pausing.lock")
    lock = Lock(_folder(settings) / dag_id)
    with changing.alone():
        lock.share()
        if _is_paused(settings, dag_id) is False:
            lock.note = "paused by a run"
            _set(settings, dag_id, True)
    try:
        yield
    finally:
        with changing.alone():
            lock.release()
            _unpause_if_unused(settings, lock)


def mend(settings: Settings) -> None:
    """Unpause what a killed run left paused. What the reader paused stays."""
    with Lock(settings.state / "pausing.lock").alone():
        for path in _folder(settings).iterdir():
            _unpause_if_unused(settings, Lock(path))
