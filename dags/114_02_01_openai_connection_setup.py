"""
# 114.2.1 OpenAI Connection Setup

Every OpenAI task reads one Airflow connection. This lesson writes that connection in the three forms that Airflow takes, shows
the headers of a request that really went out, and tests it. When the test fails, the lesson reads the SDK's own error. It says
what to mend, and whether a retry can help.

| Checklist item | Tasks that show it |
|---|---|
| Create OpenAI connection | `write_connection` |
| Configure API key | `send_headers`, `explain_failures` |
| Set organization ID | `send_headers`, `explain_failures` |
| Test connection | `test_connection`, `explain_failures` |

**Try it**: open *Storage → XCom* of `write_connection`. It has two lines to paste into a shell, and the fields that you would
fill in under *Admin → Connections*. Open the log of `send_headers`: Airflow masks the key there. *Trigger* the DAG with your own
*Organization* and *Project*, and the headers have them. Then break it: put port 9 into the host of `openai_default`, and
`test_connection` fails with what to check. Offline every organization works; OpenAI refuses one that is not yours (HTTP 401).
The case *no key* is only seen without `OPENAI_API_KEY` in the environment, because the SDK takes the key from there.

**You should see** (offline):

| case                 | result                                                        | retry helps   |
|:---------------------|:--------------------------------------------------------------|:--------------|
| as it is             | works                                                         | –             |
| no key               | Missing credentials                                           | no            |
| wrong key            | HTTP 401 invalid_api_key: correct the key or the organization | no            |
| unknown organization | works                                                         | –             |
| no server            | no answer: check host, proxy and firewall                     | yes           |

- key: Bearer, 20 characters
- address: http://127.0.0.1:11400/openai/v1/models
- project: –
- organization: –

**SDK or own code?** The hook's `test_connection()` is behind the *Test* button of the UI, which is off unless Airflow's setting
`test_connection` is `Enabled`, as here. It sends the same request but returns the error as a text only. This lesson keeps the error's
class, status and code. Its checks switch off the client's own two retries; your connection keeps them. See Airflow's page on the
[OpenAI connection](https://airflow.apache.org/docs/apache-airflow-providers-openai/stable/connections.html) and OpenAI's list of
[error codes](https://developers.openai.com/api/docs/guides/error-codes).

**In production**: give each team or use a connection with its own key and project. Then you can tell its usage apart and
withdraw one key alone. Keep keys in a secrets backend, and rotate them in the connection, never in the DAG. Put the key into the
password and not into the extra, which `write_connection` shows. Test a connection when it changes, not before each run: the test
is one more request that can fail. A list of models costs nothing, so it may not notice that an account has no credit; the first
completion does. A key that is restricted to completions may be refused the list (HTTP 403).

**Builds on** [1.2 AI SDK Configuration](114_01_02_ai_sdk_configuration.py) · **Next** [2.2 OpenAI Chat Completion](114_02_02_openai_chat_completion.py)
"""

import json
import logging
import os
import shlex
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import BaseHook, Connection, Param, dag, task
from airflow.sdk.exceptions import AirflowFailException

from llmkit import tables

log = logging.getLogger(__name__)
VARIABLE = "AIRFLOW_CONN_OPENAI_LESSON"
ID = "Such as org-123 or proj_123. It is sent as a header. Leave it empty to keep the connection's own or the key's."
FAULTS = {
    "no key": {"password": None},
    "wrong key": {"password": "keyless:wrong-key"},
    "unknown organization": {"organization": "org-unknown"},
    "no server": {"host": "http://127.0.0.1:9/v1"},
}
ADVICE = {
    401: ("correct the key or the organization", False),
    403: ("give the key this permission; check country and project", False),
    408: ("send it again: it took too long", True),
    409: ("send it again: another request was in the way", True),
    429: ("send fewer requests a minute", True),
    500: ("wait: the fault is the server's", True),
    "spent": ("buy credit; waiting does not help", False),
}


def connection(params: dict, **changes: str | None) -> Connection:
    """`openai_default` with organization and project from the form, and with `changes`."""
    known = Connection.get("openai_default")
    extra = known.extra_dejson
    client = extra.setdefault("openai_client_kwargs", {})
    for name in ("organization", "project"):
        if value := changes.pop(name, params[name]):
            client[name] = value
    fields = {"host": known.host, "password": known.password, "extra": json.dumps(extra)}
    return Connection(conn_id="openai_lesson", conn_type="openai", **{**fields, **changes})


def check(case: str, made: Connection) -> dict[str, Any]:
    """What a request came to, and whether a retry can help. The connection is in this process' environment only."""
    import openai

    os.environ[VARIABLE] = made.as_json()
    result, retry = "works", None
    try:
        BaseHook.get_hook("openai_lesson").conn.with_options(max_retries=0).models.list()
    except openai.APIConnectionError:
        result, retry = "no answer: check host, proxy and firewall", True
    except openai.APIStatusError as error:
        kind = "spent" if "insufficient_quota" in (error.code, error.type) else min(error.status_code, 500)
        advice, retry = ADVICE.get(kind, ("read the log", False))
        result = f"HTTP {error.status_code} {error.code or error.type}: {advice}"
        log.warning("%s", error)
    except openai.OpenAIError as error:  # nothing was sent
        result, retry = str(error).split(".")[0], False
    return {"case": case, "result": result, "retry helps": retry}


@dag(
    dag_id=Path(__file__).stem,
    dag_display_name="114.2.1 · OpenAI Connection Setup",
    doc_md=__doc__,
    tags=["reference", "core", "beginner", "success"],
    default_args={"retries": 1, "retry_delay": timedelta(seconds=5), "execution_timeout": timedelta(minutes=1)},
    params={
        "organization": Param(None, type=["null", "string"], title="Organization", description=ID),
        "project": Param(None, type=["null", "string"], title="Project", description=ID),
    },
)
def openai_connection_setup() -> Any:
    @task
    def write_connection(params: dict) -> dict[str, Any]:
        """Create OpenAI connection: as JSON, as URI (every special character escaped) and as fields of the UI."""
        made = connection(params, password="<your key>")
        read = Connection.from_uri(made.get_uri(), conn_id=made.conn_id)
        return {
            "JSON": f"export {VARIABLE}={shlex.quote(made.as_json())}",
            "URI": f"export {VARIABLE}={shlex.quote(made.get_uri())}",
            "UI": {"Host": read.host, "API Key": read.password, "Extra Fields JSON": read.extra_dejson},
        }

    @task
    def test_connection(params: dict) -> dict[str, Any]:
        """Test connection: ask for the list of models. If a retry cannot help, the task fails at once."""
        tested = check("as it is", connection(params))
        if tested["result"] != "works":
            raise (ConnectionError if tested["retry helps"] else AirflowFailException)(tested["result"])
        return tested

    @task
    def send_headers(params: dict) -> dict[str, str | None]:
        """Set organization ID: organization and project travel as headers, beside the key, which the log masks."""
        os.environ[VARIABLE] = connection(params).as_json()
        request = BaseHook.get_hook("openai_lesson").conn.models.with_raw_response.list().http_request
        scheme, key = request.headers["authorization"].split(" ")
        log.info("The key was sent as: %s %s", scheme, key)
        sent = {name: request.headers.get(f"openai-{name}") for name in ("organization", "project")}
        return {"key": f"{scheme}, {len(key)} characters", **sent, "address": str(request.url)}

    @task
    def explain_failures(tested: dict, headers: dict, params: dict) -> dict[str, Any]:
        """Configure API key: failures that look alike in a red task, told apart by the SDK's own errors."""
        cases = [check(fault, connection(params, **changes)) for fault, changes in FAULTS.items()]
        return tables.logged(log, {"cases": [tested, *cases], **headers})

    tested, headers = test_connection(), send_headers()
    write_connection() >> tested >> headers
    return explain_failures(tested, headers)


openai_connection_setup()
