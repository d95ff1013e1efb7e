"""
# 114.2.1 OpenAI Connection Setup

Every OpenAI task reads one Airflow connection, and most first hours with OpenAI are lost on it. This lesson writes the same
connection in the three ways that Airflow takes it, shows the headers that a call with it really sends, and tells the three
ways apart in which it fails: no key, a wrong key, no way to the server.

| Checklist item | Tasks that show it |
|---|---|
| Create OpenAI connection | `write_as_json`, `write_as_uri`, `compare_forms` |
| Configure API key | `send_headers`, `explain_failure` |
| Set organization ID | `send_headers` |
| Test connection | `test_connection`, `explain_failure` |

**Try it**: `write_as_json` and `write_as_uri` return lines that you can paste into a shell; `compare_forms` reads both back.
Trigger it with your own *Organization* and look at `send_headers`: the values are those of the request that went out, not of
the settings. `explain_failure` is mapped: three runs, three causes, and which of them a retry would help.

**In production**: one connection a team or use, each with its own key and project, so that usage can be told apart and one
key be withdrawn alone. Keep keys in a secrets backend; rotate them by changing the connection, never the DAG. Test
connections when they change, not before each run: `test_connection` is one more request that can fail.
"""

import json
import logging
import os
from datetime import timedelta
from pathlib import Path

from airflow.providers.openai.hooks.openai import OpenAIHook
from airflow.sdk import Connection, Param, dag, task

log = logging.getLogger(__name__)

CONN_ID = "openai_default"
FAULTS = {
    "no key": {"password": None},
    "wrong key": {"password": "keyless:wrong-key"},
    "no way to the server": {"host": "http://127.0.0.1:9/v1"},
}


def connection(params: dict, **changes: str | None) -> Connection:
    """The connection of the lesson: address and key of `openai_default`, organization and project from the form."""
    known = Connection.get(CONN_ID)
    client = {"organization": params["organization"], "project": params["project"], "max_retries": 0}
    fields = {
        "host": known.host,
        "password": known.password,
        "extra": json.dumps({"openai_client_kwargs": client}),
        **changes,
    }
    return Connection(conn_id="openai_lesson", conn_type="openai", **fields)


def hook_for(made: Connection) -> OpenAIHook:
    """A hook for a connection that is nowhere but in the environment of this task."""
    os.environ["AIRFLOW_CONN_OPENAI_LESSON"] = made.as_json()
    return OpenAIHook(conn_id="openai_lesson")


@dag(
    dag_id=Path(__file__).stem,
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    tags=["reference", "core", "beginner", "success"],
    default_args={"retries": 1, "retry_delay": timedelta(seconds=5), "execution_timeout": timedelta(minutes=1)},
    params={
        "organization": Param(
            "org-lumen-and-oak", type="string", title="Organization", description="Yours begins with org- too."
        ),
        "project": Param(
            "proj_shop", type="string", title="Project", description="Keys of newer accounts belong to one."
        ),
    },
)
def openai_connection_setup() -> None:
    @task
    def write_as_json(params: dict) -> str:
        """Create OpenAI connection: as JSON, which can hold everything and is what to prefer."""
        return f"export AIRFLOW_CONN_OPENAI_LESSON='{connection(params, password='<your key>').as_json()}'"

    @task
    def write_as_uri(params: dict) -> str:
        """Create OpenAI connection: as URI, where every special character is escaped; the UI's fields are its parts."""
        return f"export AIRFLOW_CONN_OPENAI_LESSON='{connection(params, password='<your key>').get_uri()}'"

    @task
    def compare_forms(as_json: str, as_uri: str) -> dict:
        """Create OpenAI connection: both forms are the same connection, and these are its fields in the UI."""
        texts = [line.split("=", 1)[1].strip("'") for line in (as_json, as_uri)]
        from_json, from_uri = Connection.from_json(texts[0]), Connection.from_uri(texts[1], conn_id="openai_lesson")
        fields = [
            {"Host": c.host, "API Key": c.password, "Extra Fields JSON": c.extra_dejson} for c in (from_json, from_uri)
        ]
        if fields[0] != fields[1]:
            raise ValueError(f"The forms differ: {fields}")
        return fields[0]

    @task
    def send_headers(params: dict) -> dict[str, str]:
        """Set organization ID: organization and project travel as headers, beside the key, which the log masks."""
        reply = hook_for(connection(params)).conn.models.with_raw_response.list()
        sent = reply.http_request.headers
        log.info("The key was sent as: %s", sent["authorization"])  # Airflow masks it
        scheme, key = sent["authorization"].split(" ")
        return {
            "authorization": f"{scheme} … ({len(key)} characters)",
            "openai-organization": sent["openai-organization"],
            "openai-project": sent["openai-project"],
            "sent to": str(reply.http_request.url),
        }

    @task
    def test_connection(params: dict) -> str:
        """Test connection: what the Test button in the UI does. It lists models, which costs nothing."""
        works, message = hook_for(connection(params)).test_connection()
        if not works:
            raise ConnectionError(message)
        return message

    @task
    def explain_failure(fault: str, params: dict) -> dict:
        """Configure API key: three failures that look alike in a red task, told apart by the SDK's own exceptions."""
        import openai

        try:
            hook_for(connection(params, **FAULTS[fault])).conn.models.list()
        except openai.AuthenticationError as error:
            cause, retry = f"the server refused the key (HTTP {error.status_code}): correct the password", False
        except openai.APIConnectionError:
            cause, retry = "the server cannot be reached: check host, proxy and firewall", True
        except openai.OpenAIError as error:
            cause, retry = (
                f"no key was found, nothing was sent ({str(error).split('.')[0]}): fill in the password",
                False,
            )
        else:
            cause, retry = "it works: a key was found in OPENAI_API_KEY", False
        return {"fault": fault, "cause": cause, "a retry helps": retry}

    compare_forms(write_as_json(), write_as_uri()) >> send_headers() >> test_connection()
    explain_failure.expand(fault=list(FAULTS))


openai_connection_setup()
