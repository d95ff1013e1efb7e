"""Who may speak to the course's PostgreSQL: its owner, and no other user of the machine."""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from stack import database
from stack.database import Database, connected, socket_dir
from stack.settings import Settings, StackError


@pytest.fixture(params=["short", "long"])
def server(request):
    """A PostgreSQL under a path that is, or is not, short enough for a socket."""
    with tempfile.TemporaryDirectory(prefix="course-db-", dir="/tmp") as folder:
        Path(folder).chmod(0o755)
        state = Path(folder) / ("s" if request.param == "short" else "s" * 120)
        settings = replace(Settings.load(), state=state)
        settings.prepare()
        server = Database(settings)
        server.start()
        try:
            yield settings, server
        finally:
            server.stop()
            if socket_dir(settings) != settings.pgdata:
                shutil.rmtree(socket_dir(settings))


def as_nobody(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *map(str, command)],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user takes root")
def test_another_user_is_not_let_in(server):
    settings, running = server
    folder = socket_dir(settings)
    psql = [running._server.bin_path / "psql", "-X", "-U", "postgres", "-h", folder, "-c", "SELECT 1", "postgres"]
    assert as_nobody(psql[0], "--version").returncode == 0, "what is refused below is not the program"
    assert "denied" in as_nobody(*psql).stderr
    # Each of the walls holds by itself: the folder's mode, the socket's, and who PostgreSQL says may be its user.
    folder.chmod(0o755)
    try:
        assert "denied" in as_nobody(*psql).stderr
        (folder / ".s.PGSQL.5432").chmod(0o777)
        assert "Peer authentication failed" in as_nobody(*psql).stderr
    finally:
        folder.chmod(0o700)


def test_the_folder_and_the_socket_are_the_owner_s(server):
    settings, _ = server
    folder = socket_dir(settings)
    found = folder.stat(), (folder / ".s.PGSQL.5432").stat()
    assert [status.st_mode & 0o777 for status in found] == [0o700, 0o700]
    with connected(settings, "llm") as connection:
        assert connection.execute("SELECT current_user").fetchone() == ("postgres",)
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
    with pytest.raises(psycopg.OperationalError, match=r"role|no pg_hba|Peer|ident"):
        psycopg.connect(host=str(folder), user=getpass.getuser() + "_else", dbname="postgres")


def test_a_folder_that_somebody_else_made_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(database, "socket_dir", lambda settings: tmp_path / "s")
    settings = replace(Settings.load(), state=tmp_path / "state")
    settings.prepare()
    server = Database(settings)
    (tmp_path / "s").mkdir(mode=0o777)
    (tmp_path / "s").chmod(0o777)
    with pytest.raises(StackError, match="somebody else made it"):
        server._private_socket_dir()
    (tmp_path / "s").rmdir()
    (tmp_path / "s").symlink_to(tmp_path)
    with pytest.raises(StackError, match="somebody else made it"):
        server._private_socket_dir()
    (tmp_path / "s").unlink()
    assert server._private_socket_dir() == server._private_socket_dir() == tmp_path / "s"
