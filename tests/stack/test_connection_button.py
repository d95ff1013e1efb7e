"""The button "Test" of each connection, by the very request that Airflow's UI sends."""

from __future__ import annotations

import pytest
import yaml

from stack.settings import REPO

CONNECTIONS = yaml.safe_load((REPO / "include" / "connections.yaml").read_text())
REAL_SERVICE = {"google_cloud_default": "Google", "aws_default": "AWS"}
"""Airflow's own test of these asks the provider, whatever the connection says."""


@pytest.fixture(scope="module")
def client(running_stack):
    from airflow.api_fastapi.app import create_app
    from fastapi.testclient import TestClient

    client = TestClient(create_app(), base_url="http://127.0.0.1")
    client.headers["Authorization"] = f"Bearer {client.get('/auth/token').json()['access_token']}"
    return client


def pressed(client, conn_id):
    """The reply to what ``TestConnectionButton`` of the UI sends: empty text for what is unset, and ``Number(port)``."""
    shown = client.get(f"/api/v2/connections/{conn_id}").json()
    body = {name: shown[name] or "" for name in ("conn_type", "description", "host", "login", "password", "schema")}
    extra, port = shown["extra"] or "{}", int(shown["port"] or 0)
    return client.post(
        "/api/v2/connections/test", json={**body, "connection_id": conn_id, "extra": extra, "port": port}
    )


@pytest.mark.parametrize("conn_id", sorted(CONNECTIONS.keys() - REAL_SERVICE))
def test_the_button_turns_green_or_says_why_not(client, conn_id):
    reply = pressed(client, conn_id)
    assert reply.status_code == 200, reply.text
    got = reply.json()
    if conn_id == "openai_outage":
        assert got["status"] is False and "keyless is down" in got["message"]
    else:
        assert got["status"] is True, got["message"]


@pytest.mark.parametrize("conn_id", sorted(REAL_SERVICE))
def test_a_description_says_where_the_button_asks_the_real_service(conn_id):
    assert f"The Test button asks the real {REAL_SERVICE[conn_id]}." in CONNECTIONS[conn_id]["description"]


def test_a_connection_of_an_earlier_state_gets_it_too_and_a_port_of_the_reader_s_stays(running_stack, settings):
    from airflow.models import Connection
    from airflow.utils.session import create_session
    from sqlalchemy import select

    from stack.airflow_setup import import_connections

    def port(conn_id, *value):
        with create_session() as session:
            row = session.scalar(select(Connection).where(Connection.conn_id == conn_id))
            if value:
                (row.port,) = value
            return row.port

    port("openai_default", None), port("cohere_default", 8443)
    import_connections(settings)
    assert (port("openai_default"), port("cohere_default")) == (0, 8443)
    port("cohere_default", 0)
