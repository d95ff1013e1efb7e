"""The processes of one state folder: who they are, whether they still run, and how they end."""

from __future__ import annotations

import os
import socket

import psutil

from stack.settings import Settings, StackError

MARK = "COURSE_PROCESS"
"""The environment variable by which the processes of `make up` are known; its value is the state folder."""


def marked(mark: str, settings: Settings) -> list[psutil.Process]:
    """Processes whose environment has this state folder as ``mark``, without this one, its parents and PostgreSQL."""
    family = {os.getpid(), *(p.pid for p in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter():
        try:
            if (
                process.pid not in family
                and process.status() != psutil.STATUS_ZOMBIE
                and process.name() != "postgres"
                and process.environ().get(mark) == str(settings.state)
            ):
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def ours(settings: Settings) -> list[psutil.Process]:
    """What a `make up` of this state folder started, which may have outlived it."""
    return marked(MARK, settings)


def end(processes: list[psutil.Process], patience: float = 10) -> None:
    """Ask ``processes`` to stop, and kill those that are still there after ``patience`` seconds."""
    for process in processes:
        try:
            process.terminate()
        except psutil.Error:
            continue
    _, alive = psutil.wait_procs(processes, timeout=patience)
    for process in alive:
        try:
            process.kill()
        except psutil.Error:
            continue
    psutil.wait_procs(alive, timeout=5)


def end_pid(pid: int, patience: float = 10) -> None:
    """End the process ``pid``, which the kernel just named, and wait until it is gone."""
    try:
        end([psutil.Process(pid)], patience)
    except psutil.NoSuchProcess:
        return


def require_free_port(port: int, name: str, what: str) -> None:
    """Raises ``StackError`` when something else listens on ``port``."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise StackError(
                f"Port {port} ({what}) is taken: stop what uses it, or run `make up {name}=<another port>`."
            ) from None
