"""Several commands at once on one state folder: the first starts what is needed, the last stops it.

Each command shares the lock ``users`` while it uses something. What starts or stops a process holds the lock ``start``
alone. Both are the kernel's, so a killed command is no user any more and blocks nobody; what it started is used by the
next one.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from stack import processes, provider
from stack.database import Database, check_disk
from stack.locks import Lock
from stack.pausing import mend
from stack.settings import REPO, Settings, StackError


def start_lock(settings: Settings) -> Lock:
    """Held by who starts or stops something."""
    return Lock(settings.state / "start.lock")


def users_lock(settings: Settings) -> Lock:
    """Shared by all who use something."""
    return Lock(settings.state / "users.lock")


def up_lock(settings: Settings) -> Lock:
    """Held by `make up`."""
    return Lock(settings.state / "up.lock")


def become(settings: Settings, socket_dir: Path | str) -> None:
    """Make the environment of this process Airflow's; Airflow reads it when it is imported."""
    os.environ.update(settings.environment(str(socket_dir)))
    sys.path[:0] = [*os.environ["PYTHONPATH"].split(os.pathsep), os.environ["AIRFLOW__CORE__PLUGINS_FOLDER"]]


def prepare(settings: Settings) -> None:
    """Tables, connections and pools, in a process of its own. Raises ``StackError`` with what it said last."""
    done = subprocess.run(
        [sys.executable, "-m", "stack.airflow_setup"], cwd=REPO, capture_output=True, text=True, check=False
    )
    (settings.logs / "setup.log").write_text(done.stdout + done.stderr)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise StackError(
            f"Airflow's database could not be prepared ({last}); {settings.logs / 'setup.log'} has the whole story."
        )


@contextmanager
def database_in_use(settings: Settings, say: Callable[[str], None] | None = None) -> Iterator[Database]:
    """PostgreSQL for the time of the block. The environment of this process becomes Airflow's. Raises ``StackError``."""
    with _in_use(settings, say) as database:
        yield database


@contextmanager
def in_use(
    settings: Settings,
    say: Callable[[str], None] | None = None,
    *,
    check: Callable[[Settings], None] = lambda settings: None,
    again: bool = False,
) -> Iterator[Database]:
    """PostgreSQL with Airflow's tables, and keyless, for the time of the block. Raises ``StackError``.

    ``check`` is called before anything starts. Tables and connections are looked after once for each start of
    PostgreSQL, and ``again`` if that is wanted.
    """

    def start(database: Database) -> None:
        # keyless loads its models while Airflow's database is looked after.
        server = provider.start(settings) if settings.keyless else None
        prepared = settings.state / "prepared"
        if again or not prepared.exists() or prepared.read_text() != database.start_id:
            prepare(settings)
            mend(settings)
            prepared.write_text(database.start_id)
        if server is not None:
            provider.wait_for(settings, server)

    with _in_use(settings, say, check, start) as database:
        yield database


@contextmanager
def _in_use(
    settings: Settings,
    say: Callable[[str], None] | None,
    check: Callable[[Settings], None] = lambda settings: None,
    start: Callable[[Database], None] = lambda database: None,
) -> Iterator[Database]:
    settings.prepare()
    check_disk(settings)
    users, starting = users_lock(settings), start_lock(settings)
    if not starting.take(wait=False):
        if say:
            say("Another command is starting or stopping the database: this one goes on after it.")
        starting.take(wait=True)
    database = None
    try:
        try:
            users.share()
            check(settings)
            database = Database(settings)
            become(settings, database.start())
            start(database)
        finally:
            starting.release()
        yield database
    finally:
        users.release()
        if database:
            stop_unused(settings, database)


def stop_unused(settings: Settings, database: Database) -> None:
    """Stop keyless and PostgreSQL when nobody uses them. Never waits for another command."""
    users, starting = users_lock(settings), start_lock(settings)
    # Again after each try: of two that leave at once, one may have seen the other still there, and the other that the
    # lock was taken.
    while users.holder() is None:
        if not starting.take(wait=False):
            return  # by one that starts, and so uses and later stops all this, or by one that is here too
        try:
            if users.holder() is None:
                provider.stop(settings)
                if not is_kept(settings, database):
                    database.stop()
                return
        finally:
            starting.release()


def keep(settings: Settings, database: Database) -> None:
    """The reader's own shell uses this PostgreSQL until `make down` or the end of `make up`."""
    (settings.state / "kept").write_text(database.start_id)


def is_kept(settings: Settings, database: Database) -> bool:
    """Whether a shell uses the PostgreSQL that runs."""
    kept = settings.state / "kept"
    return kept.exists() and kept.read_text() == database.start_id


def end_all(settings: Settings) -> bool:
    """End every command on the state folder and what they left behind. Whether there was anything."""
    found = False
    # The kernel names one holder at a time. `make up` goes first: it stops its own processes in order.
    for lock in (up_lock(settings), users_lock(settings), start_lock(settings)):
        while (pid := lock.holder()) is not None:
            found = True
            if pid <= 0:
                raise StackError(f"A process in another container uses {settings.state}: stop it there.")
            processes.end_pid(pid, patience=30)
    left = processes.ours(settings)
    processes.end(left)
    keyless = provider.started(settings)
    provider.stop(settings)
    if (settings.pgdata / "PG_VERSION").exists():
        database = Database(settings)
        found = found or database.running
        database.stop()
    return bool(found or left or keyless)
