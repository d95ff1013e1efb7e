"""
# 114.1.1 AI SDK Overview

Calling a model from a DAG takes more than a line of an SDK: the key has to come from a connection, the answer has to be
checked, and the next task wants data, not prose. Airflow's AI SDK does that part: it turns a function that returns a
prompt into a task that returns a typed answer. Today it is the provider `apache-airflow-providers-common-ai`, built on
pydantic-ai; its forerunner `airflow-ai-sdk` is deprecated and only found in older posts.

| Checklist item | Tasks that show it |
|---|---|
| Understand Airflow AI SDK purpose | `purpose.ask_by_hand`, `purpose.ask_with_sdk`, `purpose.compare_both` |
| Install AI SDK package | `check_installation` |
| Core abstractions (models, prompts) | `abstractions.resolve_model`, `abstractions.render_prompt`, `abstractions.answer_typed` |
| Supported LLM providers | `list_providers` |

**Try it**: trigger it and open the XCom of `purpose.compare_both`: the same question, once as a string that somebody
still has to parse, once as data. `list_providers` returns a Markdown table. Then trigger it again with
`apache-airflow-providers-nope` added to *Packages*: `check_installation` fails at once and names the line to run.

**In production**: pin the provider, it moves fast. Keep `output_type` classes in a module that all DAGs import, because
a class that is nested in a function cannot come back out of XCom. A model call is a paid side effect: decide per task
what a retry may cost.
"""

import logging
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from airflow.sdk import Param, dag, task, task_group
from airflow.sdk.exceptions import AirflowFailException
from pydantic import BaseModel, Field

from llmkit import prompts

log = logging.getLogger(__name__)

PACKAGES = ["apache-airflow-providers-common-ai", "apache-airflow-providers-openai", "pydantic-ai-slim"]
QUESTION = "Our standing desk arrived with a broken motor and we need it for tomorrow's fair. Who should handle this?"


class Routing(BaseModel):
    """Where a message goes. The SDK sends this as a JSON Schema and checks the answer against it."""

    team: Literal["support", "sales", "accounting"] = Field(
        description="support: something is broken or late; sales: prices and offers; accounting: invoices and payments"
    )
    urgent: bool = Field(description="Whether it is urgent")


@dag(
    dag_id=Path(__file__).stem,
    doc_md=__doc__,
    # Prompts are finished texts: nothing in them shall be rendered as a template once more.
    jinja_environment_kwargs=prompts.rendered_once(),
    schedule=None,
    catchup=False,
    tags=["reference", "core", "beginner", "success"],
    default_args={"retries": 1},
    params={
        "question": Param(
            QUESTION, type="string", title="Question", description="What all tasks ask the model about.", minLength=1
        ),
        "packages": Param(
            PACKAGES,
            type="array",
            title="Packages",
            description="One a line. The first task checks that they are installed.",
        ),
    },
)
def ai_sdk_overview() -> None:
    @task
    def check_installation(params: dict) -> dict[str, str]:
        """Install AI SDK package: the versions this Airflow runs with, or what to install."""
        installed, missing = {}, []
        for package in params["packages"]:
            try:
                installed[package] = version(package)
            except PackageNotFoundError:
                missing.append(package)
        if missing:
            # A retry would not install anything, so this failure is final.
            raise AirflowFailException(f"Not installed: {', '.join(missing)}. Run: pip install {' '.join(missing)}")
        log.info("Installed: %s", installed)
        return installed

    @task_group
    def purpose():
        @task
        def ask_by_hand(params: dict) -> str:
            """Understand Airflow AI SDK purpose: the same call without it, which ends in a string."""
            from airflow.providers.openai.hooks.openai import OpenAIHook

            reply = OpenAIHook().conn.chat.completions.create(
                model="gpt-4o-mini",
                messages=[{"role": "user", "content": f"{params['question']} Name the team and say if it is urgent."}],
                max_tokens=60,
            )
            return reply.choices[0].message.content

        @task.llm(llm_conn_id="pydanticai_default", output_type=Routing, serialize_output=True)
        def ask_with_sdk(params: dict) -> str:
            """Understand Airflow AI SDK purpose: the function returns a prompt, the task returns a checked answer."""
            return params["question"]

        @task
        def compare_both(by_hand: str, with_sdk: dict) -> dict:
            """Understand Airflow AI SDK purpose: what the next task has to work with in either case."""
            return {
                "by hand": by_hand,
                "with the SDK": with_sdk,
                "usable as it is": Routing.model_validate(with_sdk).team,
            }

        compare_both(ask_by_hand(), ask_with_sdk())

    @task_group
    def abstractions():
        @task
        def resolve_model() -> dict[str, str]:
            """Core abstractions (models, prompts): a model is a name plus a connection, and the hook joins the two."""
            from airflow.providers.common.ai.hooks.pydantic_ai import PydanticAIHook

            model = PydanticAIHook.get_hook("pydanticai_default").get_conn()
            return {"model": model.model_name, "provider": model.system, "class": type(model).__name__}

        @task
        def render_prompt(params: dict) -> str:
            """Core abstractions (models, prompts): a prompt is a template with declared variables, kept in a file."""
            return prompts.load("reply_to_ticket").render(shop="Lumen & Oak", ticket=params["question"])

        @task.llm(llm_conn_id="pydanticai_default", output_type=Routing, serialize_output=True)
        def answer_typed(prompt: str) -> str:
            """Core abstractions (models, prompts): the output type is the third, and makes the answer data."""
            return prompt

        answer_typed(render_prompt())
        resolve_model()

    @task
    def list_providers() -> str:
        """Supported LLM providers: connection types by the provider's own metadata, models by pydantic-ai's list."""
        from airflow.providers.common.ai.get_provider_info import get_provider_info
        from pydantic_ai.models import KnownModelName

        prefixes = sorted({name.split(":")[0] for name in KnownModelName.__value__.__args__ if ":" in name})
        rows = [
            f"| `{c['connection-type']}` | {c['hook-class-name'].rsplit('.', 1)[-1]} |"
            for c in get_provider_info()["connection-types"]
        ]
        return "\n".join(
            ["| connection type | hook |", "|---|---|", *rows, "", f"Model prefixes: {', '.join(prefixes)}"]
        )

    check_installation() >> [purpose(), abstractions(), list_providers()]


ai_sdk_overview()
