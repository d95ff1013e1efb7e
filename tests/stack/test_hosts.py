"""Airflow answers under the names of this machine, so that a web page whose name points here gets nothing."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from stack.settings import REPO

PATHS = (
    "/auth/token",
    "/api/v2/connections",
    "/api/v2/version",
    "/execution/health",
    "/ui/config",
    "/",
    "/static/x.js",
)

FOREIGN, OURS = "evil.example:11480", ("127.0.0.1:11480", "localhost:11480", "course.example:11480")

SCRIPT = """
import json, sys
from fastapi.testclient import TestClient
from airflow.api_fastapi.app import create_app
client = TestClient(create_app(), base_url="http://127.0.0.1:11480", follow_redirects=False)
hosts, paths = json.loads(sys.argv[1]), json.loads(sys.argv[2])
for host in hosts:
    for path in paths:
        reply = client.get(path, headers={"Host": host, "Origin": "http://evil.example:11480"})
        cors = [name for name in reply.headers if name.startswith("access-control")]
        print("REPLY", json.dumps([host, path, reply.status_code, "access_token" in reply.text, cors]))
"""


@pytest.fixture(scope="module")
def replies(running_stack):
    """By host and path the status, and whether a token came, from Airflow's whole app in a process of its own."""
    environment = {**os.environ, "COURSE_HOSTS": "other.example, Course.example"}
    command = [sys.executable, "-c", SCRIPT, json.dumps([FOREIGN, *OURS]), json.dumps(PATHS)]
    done = subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True, check=False)
    got = [json.loads(line.removeprefix("REPLY ")) for line in done.stdout.splitlines() if line.startswith("REPLY")]
    assert len(got) == len(PATHS) * 4, done.stdout[-2000:] + done.stderr[-2000:]
    assert not any(cors for *_, cors in got), "no page of another origin may read anything"
    return {(host, path): (status, token) for host, path, status, token, _ in got}


def test_a_forged_host_gets_nothing(replies):
    assert {replies[FOREIGN, path] for path in PATHS} == {(400, False)}


@pytest.mark.parametrize("host", OURS)
def test_this_machine_s_names_and_the_reader_s_own_are_answered(replies, host):
    status, token = replies[host, "/auth/token"]
    assert status in (200, 201) and token
    for path in ("/api/v2/version", "/execution/health", "/"):
        assert replies[host, path][0] == 200
    assert replies[host, "/static/x.js"][0] == 404
