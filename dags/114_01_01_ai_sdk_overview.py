"""
# 114.1.1 AI SDK Overview

You can call a model from a DAG with a provider's own SDK. Then you ask for a format in words, read the answer out of a text and write
other code for the next provider. Airflow's AI SDK does it for you: a function that returns a prompt becomes a task that returns checked
data. The SDK is the package `apache-airflow-providers-common-ai`, built on pydantic-ai. Its forerunner `airflow-ai-sdk` is deprecated.

| Checklist item | Tasks that show it |
|---|---|
| Understand Airflow AI SDK purpose | `ask_by_hand`, `ask_with_sdk`, `show_purpose` |
| Install AI SDK package | `check_installation` |
| Core abstractions (models, prompts) | `write_prompt`, `ask_with_sdk` |
| Supported LLM providers | `list_providers` |

**Try it**: press *Trigger*. In `show_purpose` under *Storage → XCom*, compare `by_hand` with `with_sdk`. Both ways send the same prompt.
By hand, one more sentence asks for JSON and names the three teams. With the SDK, the type `Routing` is sent too, and says what each team
does. The whole answer by hand is the XCom of `ask_by_hand`. `list_providers` has the connection types, and the prefixes of the models that pydantic-ai knows by name. It
takes others too, such as `ollama` and `azure`. Trigger the DAG again with the line `apache-airflow-providers-nope` added to *Packages*:
`check_installation` fails at its first try, and its log says what to install.

**You should see** (offline):

- @task.llm: one prompt, one answer: text or data
- @task.llm_branch: the model picks the task that runs next
- @task.llm_file_analysis: one question about files, pictures or PDFs
- @task.llm_sql: a question becomes an SQL query, which is not run
- @task.llm_schema_compare: differences between the schemas of two sources
- @task.llm_batch: many prompts as one cheaper job of the provider
- @task.agent: the model calls tools until it has an answer
- model_prefixes: 29
- by_hand: { "type": "json", "data": { "team": { "staff_id" : …
- by_hand_is_valid: no
- with_sdk: team support, urgent yes

**SDK or own code?** All SDK. There is a decorator for each kind of work, from one prompt to agents; `show_purpose` lists them, and the
documentation says [which to choose](https://airflow.apache.org/docs/apache-airflow-providers-common-ai/stable/operators/). OpenAI's own SDK
can demand a JSON Schema too. The AI SDK does it for every provider, and the connection alone says which one answers. With a real key
the text by hand is often JSON, and may still stand in a Markdown fence or name a team that does not exist. You must check it yourself.

**In production**: pin the provider's version, because it changes fast. Define `output_type` classes at the top of a module: Airflow cannot
read a class from XCom that is nested in a function. Here `serialize_output=True` makes the XCom a plain dict. A retry pays for a
new call, so choose `retries` for each task. A valid answer can still be wrong, so measure a model on your own data.

**Next** [1.2 AI SDK Configuration](114_01_02_ai_sdk_configuration.py)
"""

import logging
import textwrap
from datetime import timedelta
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from airflow.sdk import Param, dag, task
from airflow.sdk.exceptions import AirflowFailException
from pydantic import BaseModel, Field, ValidationError

from llmkit import prompts, tables

log = logging.getLogger(__name__)

PACKAGES = ["apache-airflow-providers-common-ai", "apache-airflow-providers-openai", "pydantic-ai-slim"]
QUESTION = "Our standing desk arrived with a broken motor and we need it for tomorrow's fair. Who should handle this?"

# What each decorator of the SDK is for.
DECORATORS = {
    "@task.llm": "one prompt, one answer: text or data",
    "@task.llm_branch": "the model picks the task that runs next",
    "@task.llm_file_analysis": "one question about files, pictures or PDFs",
    "@task.llm_sql": "a question becomes an SQL query, which is not run",
    "@task.llm_schema_compare": "differences between the schemas of two sources",
    "@task.llm_batch": "many prompts as one cheaper job of the provider",
    "@task.agent": "the model calls tools until it has an answer",
}


class Routing(BaseModel):
    """Where a message goes. The SDK sends this as a JSON Schema and checks the answer against it."""

    team: Literal["support", "sales", "accounting"] = Field(
        description="support: something is broken or late; sales: prices and offers; accounting: invoices and payments"
    )
    urgent: bool = Field(description="Whether it is urgent")


@dag(
    dag_id=Path(__file__).stem,
    dag_display_name="114.1.1 · AI SDK Overview",
    doc_md=__doc__,
    # What a customer wrote is no template.
    jinja_environment_kwargs=prompts.rendered_once(),
    tags=["reference", "core", "beginner", "success"],
    default_args={"retries": 1, "execution_timeout": timedelta(minutes=2)},
    params={
        "question": Param(QUESTION, type="string", title="Question", description="A customer's message.", minLength=1),
        "packages": Param(
            PACKAGES, type="array", title="Packages", description="PyPI names, one a line. A missing one fails the run."
        ),
    },
)
def ai_sdk_overview() -> Any:
    @task
    def check_installation(params: dict) -> dict[str, str]:
        """Install AI SDK package: the installed versions, or the command that installs what is missing."""
        try:
            return {package: version(package) for package in params["packages"]}
        except PackageNotFoundError as error:
            # A retry installs nothing, so this failure is final.
            raise AirflowFailException(f"{error.name} is not installed. Run: pip install {error.name}") from None

    @task
    def write_prompt(params: dict) -> str:
        """Core abstractions (models, prompts): a prompt is a file with declared variables."""
        return prompts.load("route_ticket").render(shop="Lumen & Oak", ticket=params["question"])

    @task
    def ask_by_hand(prompt: str) -> str:
        """Understand Airflow AI SDK purpose: OpenAI's own SDK, here from Airflow's hook, returns a text that you must parse."""
        from airflow.providers.openai.hooks.openai import OpenAIHook

        # The JSON that is asked for has about 15 tokens, so 40 are enough.
        form = "Answer as JSON with the keys team (support, sales or accounting) and urgent."
        messages = [{"role": "user", "content": f"{prompt}\n\n{form}"}]
        chat = OpenAIHook().conn.chat
        reply = chat.completions.create(model="gpt-4o-mini", messages=messages, max_tokens=40, temperature=0)
        return reply.choices[0].message.content or ""

    @task.llm(llm_conn_id="pydanticai_default", output_type=Routing, serialize_output=True)
    def ask_with_sdk(prompt: str) -> str:
        """Core abstractions (models, prompts): a connection names the model, the output type checks its answer."""
        return prompt

    @task
    def list_providers() -> dict[str, list[str]]:
        """Supported LLM providers: connection types by the package's metadata, prefixes by pydantic-ai's list of models."""
        from airflow.providers.common.ai.get_provider_info import get_provider_info
        from pydantic_ai.models import KnownModelName

        types = [entry["connection-type"] for entry in get_provider_info()["connection-types"]]
        prefixes = {name.split(":")[0] for name in KnownModelName.__value__.__args__ if ":" in name}
        return {"connection_types": types, "model_prefixes": sorted(prefixes)}

    @task
    def show_purpose(by_hand: str, with_sdk: dict, providers: dict) -> dict[str, Any]:
        """Understand Airflow AI SDK purpose: what the next task gets in both ways, and which decorators there are."""
        try:
            Routing.model_validate_json(by_hand)
            by_hand_is_valid = True
        except ValidationError:
            by_hand_is_valid = False
        result = {
            **DECORATORS,
            "model_prefixes": len(providers["model_prefixes"]),
            "by_hand": textwrap.shorten(by_hand, 60, placeholder=" …"),
            "by_hand_is_valid": by_hand_is_valid,
            "with_sdk": with_sdk,
        }
        return tables.logged(log, result)

    prompt, providers = write_prompt(), list_providers()
    check_installation() >> [prompt, providers]
    return show_purpose(ask_by_hand(prompt), ask_with_sdk(prompt), providers)


ai_sdk_overview()
