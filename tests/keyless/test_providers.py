"""A new provider is one new folder: nothing else in keyless has to be told of it."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

import pytest
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from keyless import providers
from keyless.app import create_app
from keyless.http import bodies, calls
from keyless.http.adapter import adapter
from keyless.http.provider import Dialect, Provider, discovered
from keyless.neutral import Message, Request

# --- a provider in ten lines ----------------------------------------------------------------------


class Ask(bodies.Loose):
    model: str
    question: str


DIALECT = Dialect("tiny", lambda error: {"oh": str(error)}, overloaded=507)


@adapter(DIALECT)
async def ask(request):
    body = await bodies.read(request, Ask)
    reply = await calls.reply(request, Request((Message("user", body.question),), max_tokens=8))
    return JSONResponse({"answer": reply.text, "tokens": reply.usage.total_tokens})


TINY = Provider("tiny", DIALECT, [Route("/ask", ask, methods=["POST"])])

# --------------------------------------------------------------------------------------------------


def test_a_provider_from_outside_has_all_that_the_others_have():
    app = create_app(served=[TINY])
    with TestClient(app, base_url="http://127.0.0.1") as client:
        body = {"model": "m", "question": "Is the lamp red? Answer only yes or no. The lamp is red."}

        def post(key, **more):
            headers = {"authorization": f"Bearer {key}"} if key else {}
            return client.post("/tiny/ask", headers=headers, **{"json": body, **more})

        reply = post("any")
        assert reply.json()["answer"] == "yes" and reply.headers["x-keyless"] == "smollm2-135m"
        assert post("").status_code == 401 and "oh" in post("").json()
        assert post("any", json={"model": "m"}).json()["oh"].startswith("Missing required parameter: 'question'")
        assert post("any", json=None, content="{}").status_code == 415
        assert post("keyless:outage").status_code == 507
        assert [post("keyless:rpm=1").status_code for _ in range(2)] == [200, 429]
        assert client.get("/tiny/none").json()["oh"].endswith("keyless serves /tiny.")
        assert client.get("/openai/v1/models").status_code == 404
        rows = client.get("/_keyless/requests").json()["requests"]
        assert (rows[0]["provider"], rows[0]["path"], rows[0]["model"], rows[0]["status"]) == ("tiny", "/ask", "m", 200)
        assert rows[0]["completion_tokens"] > 0


def test_a_folder_more_is_a_provider_more(tmp_path, monkeypatch):
    folder = tmp_path / "madeup"
    folder.mkdir()
    (folder / "__init__.py").write_text(
        textwrap.dedent("""
            from keyless.http.provider import Dialect, Provider
            PROVIDER = Provider("madeup", Dialect("madeup", lambda error: {}), [])
        """)
    )
    monkeypatch.setattr(providers, "__path__", [*providers.__path__, str(tmp_path)])
    try:
        names = [p.name for p in discovered(providers)]
        folders = [path.parent.name for path in Path(providers.__path__[0]).glob("*/__init__.py")]
        assert len(folders) >= 6 and names == sorted([*folders, "madeup"])
        assert "madeup" in create_app().state.served
    finally:
        sys.modules.pop("keyless.providers.madeup", None)


def test_a_folder_that_exports_no_provider_is_named(tmp_path, monkeypatch):
    (tmp_path / "empty_one").mkdir()
    (tmp_path / "empty_one" / "__init__.py").write_text("")
    monkeypatch.setattr(providers, "__path__", [str(tmp_path)])
    with pytest.raises(RuntimeError, match=r"empty_one exports no PROVIDER"):
        discovered(providers)
    sys.modules.pop("keyless.providers.empty_one", None)


def test_two_providers_of_one_name_are_refused():
    with pytest.raises(ValueError, match="two providers are named 'tiny'"):
        create_app(served=[TINY, TINY])


def test_a_failure_of_a_provider_is_told_marked_and_noted():
    @adapter(DIALECT)
    async def fails(request):
        raise ZeroDivisionError

    broken = Provider("tiny", DIALECT, [Route("/ask", fails, methods=["POST"])])
    with TestClient(create_app(served=[broken]), base_url="http://127.0.0.1") as client:
        reply = client.post("/tiny/ask", headers={"authorization": "Bearer any"})
        assert reply.status_code == 500 and "its log says why" in reply.json()["oh"]
        assert reply.headers["x-keyless"] == "smollm2-135m"
        assert client.get("/_keyless/requests").json()["requests"][-1]["status"] == 500
