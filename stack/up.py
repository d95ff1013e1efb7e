"""``make up``: everything in one terminal, ready line included, stopped together."""

from __future__ import annotations

import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

import httpx
import psutil
from honcho.manager import Manager

from stack import processes, provider
from stack.settings import REPO, Settings, StackError
from stack.use import in_use, up_lock

READY_LIMIT = 240
_KEYLESS_ENDED = -1000


def say(text: str) -> None:
    """One line to the reader, at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class LogFiles:
    """honcho's printer, into one file a process: a terminal with five programs' lines is of no use."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[str, TextIO] = {}
        self.width = 0

    def write(self, message: Any) -> None:
        """Append one line of one process to its file."""
        if message.name not in self._files:
            self._files[message.name] = (self._folder / f"{message.name}.log").open("a", buffering=1)
        with suppress(OSError):
            data = message.data if isinstance(message.data, str) else message.data.decode(errors="replace")
            self._files[message.name].write(data if data.endswith("\n") else data + "\n")


@contextmanager
def only_one(settings: Settings) -> Iterator[None]:
    """Hold the state folder for this process. Raises ``StackError`` when another ``make up`` holds it."""
    lock = up_lock(settings)
    if not lock.take(wait=False):
        raise StackError(
            f"The course is running already, at {settings.url} (state in {settings.state}); `make down` stops it."
        )
    try:
        yield
    finally:
        lock.release()


def commands(settings: Settings) -> dict[str, list[str]]:
    """The processes by name. Log servers are off: they would listen on all addresses."""
    airflow = [sys.executable, "-m", "airflow"]
    return {
        "dag-processor": [*airflow, "dag-processor"],
        "api-server": [*airflow, "api-server", "--host", "127.0.0.1", "--port", str(settings.port), "--workers", "1"],
        # All of them import for many seconds on few cores: what lists the lessons goes first.
        "scheduler": ["nice", "-n", "5", *airflow, "scheduler", "--skip-serve-logs"],
        "triggerer": ["nice", "-n", "5", *airflow, "triggerer", "--skip-serve-logs"],
    }


def up(settings: Settings) -> int:
    """Start everything, stay until Ctrl-C, ``make down`` or the end of one process, and stop everything. Exit status."""
    settings.prepare()
    with only_one(settings):
        if left := processes.ours(settings):
            say(f"Ending {len(left)} processes that an earlier run left behind.")
            processes.end(left)
        began = time.monotonic()
        interrupted = _Interrupted()
        manager = None
        with suppress(interrupted.Stop), in_use(settings, say, check=_check, again=True):
            try:
                manager = _manager(settings)
                if settings.keyless:
                    threading.Thread(target=_watch_keyless, args=(settings, manager), daemon=True).start()
                threading.Thread(target=_announce, args=(settings, manager, began), daemon=True).start()
                manager.loop()
            except interrupted.Stop:
                manager = None
            finally:
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                processes.end(processes.ours(settings), patience=5)
        if manager is None or manager.returncode in (130, 143):
            say("Stopped. Everything is kept; `make up` goes on where you left.")
            return 0
        failed = _failed(manager)
        say(f"Stopped, because {failed} ended; its log is {settings.logs / failed}.log")
        return 1


def _check(settings: Settings) -> None:
    """Raises ``StackError`` for a taken port."""
    processes.require_free_port(settings.port, "PORT", "Airflow")
    # One that a lesson started is used; another course's would end with that course.
    if settings.keyless and not provider.started(settings):
        processes.require_free_port(settings.keyless_port, "KEYLESS_PORT", "keyless")
    fresh = not (settings.pgdata / "PG_VERSION").exists()
    say("Starting the course" + (" (the first start makes its databases: half a minute) …" if fresh else " …"))


def _manager(settings: Settings) -> Manager:
    """honcho with Airflow's processes, not started yet."""
    manager = Manager(LogFiles(settings.logs))
    environment = {**os.environ, processes.MARK: str(settings.state), "PYTHONUNBUFFERED": "1"}
    for name, command in commands(settings).items():
        manager.add_process(name, "exec " + shlex.join(command), env=environment, cwd=str(REPO))
    return manager


def _watch_keyless(settings: Settings, manager: Manager) -> None:
    """Without keyless the rest is of no use: it may have been started by another command, so honcho does not know it."""
    psutil.wait_procs(provider.started(settings))
    while not manager._all_started():
        time.sleep(0.1)
    if manager.returncode is None:
        manager.returncode = _KEYLESS_ENDED
        manager.terminate()


class _Interrupted:
    """Ctrl-C and SIGTERM as an exception, until honcho's own handlers take over."""

    class Stop(BaseException):
        pass

    def __init__(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._raise)

    def _raise(self, number: int, frame: object) -> None:
        raise self.Stop


def _failed(manager: Manager) -> str:
    """The process that ended first by itself: the others ended because honcho stopped them."""
    if manager.returncode == _KEYLESS_ENDED:
        return "keyless"
    ended = {n: p.get("returncode") for n, p in manager._processes.items()}
    return next((n for n, code in ended.items() if code not in (None, 0, -15, 143, -2)), next(iter(ended)))


def lessons_in(settings: Settings) -> int:
    """How many DAG files there are."""
    return len(list(settings.dags.glob("*.py")))


def health(settings: Settings) -> dict[str, bool]:
    """Which parts answer: ``keyless``, ``api``, ``scheduler``, ``dag_processor``, ``triggerer``."""
    parts = {}
    with httpx.Client(timeout=2, trust_env=False) as client:
        if settings.keyless:
            with suppress(httpx.HTTPError):
                parts["keyless"] = client.get(f"{settings.keyless_url}/health").status_code == 200
            parts.setdefault("keyless", False)
        try:
            said = client.get(f"{settings.url}/api/v2/monitor/health").json()
            parts["api"] = True
            for name in ("scheduler", "dag_processor", "triggerer"):
                parts[name] = (said.get(name) or {}).get("status") == "healthy"
        except (httpx.HTTPError, ValueError):
            parts["api"] = False
    return parts


def listed(settings: Settings) -> int:
    """How many DAGs Airflow lists."""
    with httpx.Client(timeout=5, trust_env=False) as client:
        token = client.get(f"{settings.url}/auth/token").json()["access_token"]
        reply = client.get(
            f"{settings.url}/api/v2/dags", params={"limit": 1}, headers={"Authorization": f"Bearer {token}"}
        )
        return reply.json()["total_entries"]


def _announce(settings: Settings, manager: Manager, began: float) -> None:
    """The ready line, or what is still missing after ``READY_LIMIT`` seconds."""
    wanted = lessons_in(settings)
    count, parts = 0, {}
    while time.monotonic() - began < READY_LIMIT and manager.returncode is None:
        time.sleep(0.5)
        parts = health(settings)
        if not all(parts.values()):
            continue
        with suppress(httpx.HTTPError, ValueError, KeyError):
            count = listed(settings)
        if count >= wanted:
            say(
                f"Ready after {time.monotonic() - began:.0f} s: {settings.url} lists {count} lessons. "
                f"State and logs: {settings.state}. Ctrl-C stops everything. {provider.who_answers(settings)}"
            )
            return
    if manager.returncode is None:
        missing = ", ".join(n for n, ok in parts.items() if not ok) or f"{wanted - count} of {wanted} lessons"
        say(f"Not ready after {READY_LIMIT} s: {missing} still missing. Logs: {settings.logs}. It goes on trying.")
