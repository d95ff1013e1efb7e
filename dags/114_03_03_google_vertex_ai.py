"""
# 114.3.3 Google Vertex AI

Vertex AI serves Gemini with Google Cloud's projects, regions and service accounts. Lumen & Oak answers a customer's question from its
FAQ: embeddings find the nearest entry. Gemini then says which team takes over the chat, message by message. The pipeline avoids two traps.
Many tutorials still name PaLM models, which are gone. And Gemini 2.5 thinks before it writes. Its thoughts count against
`max_output_tokens`, so a small limit can leave no room for any text.

| Checklist item | Tasks that show it |
|---|---|
| Configure Vertex AI connection | `check_credentials` |
| PaLM and Gemini models | `choose_model` |
| Text and chat completions | `count_tokens`, `sort_question`, `sort_follow_up`, `report_chat` |
| Embeddings with Vertex | `find_entry` |

**Try it**: choose `text-bison@002` as *Model* in the *Trigger* form. The task `choose_model` fails at once, names the successor, and
nothing is sent. With *Budget* at 5 the run stops in `count_tokens`, before Gemini writes. Only the first message is counted: the
follow-up has more tokens and is sent without a check. With `gemini-2.5-pro`, whose thinking cannot be switched off, *Storage → XCom*
of `choose_model` shows a limit of 144 tokens: 16 for the answer and 128 for thinking.

**You should see** (offline):

- credentials: service account by keyfile_dict
- model: gemini-2.5-flash
- nearest FAQ entry: Within 30 days, unused, in its box. We pay the postage.
- score: 0.613
- tokens counted before: 91

| said                                               | team       | stopped   |   prompt tokens |   thinking tokens |
|:---------------------------------------------------|:-----------|:----------|----------------:|------------------:|
| May I return the Lyra lamp? I do not like it.      | support    | STOP      |              91 |                 0 |
| Thank you. And may I pay the invoice in two parts? | accounting | STOP      |             116 |                 0 |

**SDK or own code?** The provider's [operator for texts](https://airflow.apache.org/docs/apache-airflow-providers-google/stable/operators/cloud/gen_ai.html)
returns the text alone, and `None` when there is none. `GeminiOperator` below is a subclass that also keeps the finish reason and
the tokens. `GenAICountTokensOperator` counts too; here one task counts and decides. The operator for embeddings returns an object
that Airflow does not read back from XCom, so `find_entry` uses the hook.

**In production**: offline nothing thinks, and the count is always what is billed. With a real key compare *tokens counted before* with
*prompt tokens* in the first row. The thinking budget is a target that a model may overrun, so leave it more room than these 16 tokens.
Gemini 3 has a `thinking_level` in place of the budget. Google retires Gemini models too: look up the date before you choose one.
Leave the keyfile empty where workers run in Google's cloud: they then use their own identity, and you have no key to rotate.
The nearest entry may answer another question: let it count only above a score that you measured on your own questions.

**Builds on** [3.2 Anthropic Claude Integration](114_03_02_anthropic_claude_integration.py) · **Next** [3.4 AWS Bedrock Integration](114_03_04_aws_bedrock_integration.py)
"""

import json
import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.google.cloud.hooks.gen_ai import GenAIGenerativeModelHook
from airflow.providers.google.cloud.operators.gen_ai import GenAIGenerateContentOperator
from airflow.sdk import Context, Param, dag, task
from airflow.sdk.exceptions import AirflowFailException

from llmkit import prompts, similarity, tables

log = logging.getLogger(__name__)
FAQ = Path(__file__).parents[1] / "include" / "data" / "faq.json"
CONN_ID, LOCATION, ANSWER_TOKENS = "google_cloud_default", "us-central1", 16
# The smallest thinking budget, in tokens, that each model accepts. 0 switches thinking off.
THINKING = {"gemini-2.5-flash": 0, "gemini-2.5-flash-lite": 0, "gemini-2.5-pro": 128}
# By the beginning of the name, because versions and sizes (@002, -32k) make no difference.
SUCCESSORS = {"text-bison": "gemini-2.5-flash", "chat-bison": "gemini-2.5-flash", "text-unicorn": "gemini-2.5-pro"}
MODELS = [*THINKING, "text-bison@002", "chat-bison-32k", "text-unicorn@001"]
QUESTION = "May I return the Lyra lamp? I do not like it."
MODEL_HELP = "It sorts both messages. The PaLM names are refused before anything is sent."
BUDGET_HELP = "Tokens, from 1. When the first prompt has more, the run stops before Gemini writes."
FOLLOW_UP = "Thank you. And may I pay the invoice in two parts?"


class GeminiOperator(GenAIGenerateContentOperator):
    """The provider's operator, which also returns the tokens and why Gemini stopped, and fails when there is no text."""

    def execute(self, context: Context) -> dict[str, Any]:
        client = GenAIGenerativeModelHook(gcp_conn_id=self.gcp_conn_id).get_genai_client(self.project_id, self.location)
        reply = client.models.generate_content(model=self.model, contents=self.contents, config=self.generation_config)
        stopped = reply.candidates[0].finish_reason.value if reply.candidates else "BLOCKED_PROMPT"
        read, thought = reply.usage_metadata.prompt_token_count, reply.usage_metadata.thoughts_token_count or 0
        if not reply.text:
            raise AirflowFailException(f"{self.model} gave no text: {stopped} after {thought} tokens of thinking.")
        return {"team": reply.text.strip(), "prompt tokens": read, "thinking tokens": thought, "stopped": stopped}


@dag(
    dag_id=Path(__file__).stem,
    dag_display_name="114.3.3 · Google Vertex AI",
    doc_md=__doc__,
    tags=["reference", "core", "intermediate", "success"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5), "execution_timeout": timedelta(minutes=2)},
    params={
        "question": Param(QUESTION, type="string", minLength=1, title="Question", description="The first message."),
        "model": Param("gemini-2.5-flash", enum=MODELS, title="Model", description=MODEL_HELP),
        "budget": Param(200, type="integer", minimum=1, title="Budget", description=BUDGET_HELP),
    },
)
def google_vertex_ai() -> Any:
    @task
    def check_credentials() -> dict[str, str]:
        """Configure Vertex AI connection: whose key signs, or the worker's own identity, and whose project pays."""
        hook = GenAIGenerativeModelHook(gcp_conn_id=CONN_ID)
        extra, project = hook.get_connection(CONN_ID).extra_dejson, hook.get_credentials_and_project_id()[1]
        stored = [name for name in ("keyfile_dict", "key_path", "key_secret_name") if extra.get(name)]
        kind = f"service account by {stored[0]}" if stored else "the worker's own identity (no key stored)"
        return {"kind": kind, "project": project}

    @task
    def choose_model(params: dict) -> dict[str, Any]:
        """PaLM and Gemini models: a name that is gone stops the run here; a model that thinks gets room for it."""
        name = params["model"]
        for palm, successor in SUCCESSORS.items():
            if name.startswith(palm):
                raise AirflowFailException(f"{name} is a PaLM model and no longer served: use {successor}.")
        config = {"system_instruction": prompts.load("sort_chat").render(shop="Lumen & Oak"), "temperature": 0.0}
        config |= {"thinking_config": {"thinking_budget": THINKING[name]}}
        return {"name": name, "config": {**config, "max_output_tokens": ANSWER_TOKENS + THINKING[name]}}

    @task
    def find_entry(params: dict) -> dict[str, Any]:
        """Embeddings with Vertex: one call embeds the question and all entries; the vectors stay in this task."""
        entries = json.loads(FAQ.read_text())
        texts = [params["question"], *(f"{entry['question']} {entry['answer']}" for entry in entries)]
        hook = GenAIGenerativeModelHook(gcp_conn_id=CONN_ID)
        reply = hook.embed_content(location=LOCATION, model="text-embedding-005", contents=texts)
        vectors = [embedding.values for embedding in reply.embeddings]
        scores = similarity.cosine(vectors[:1], vectors[1:])[0].tolist()
        return {"reply": entries[scores.index(max(scores))]["answer"], "score": round(max(scores), 3)}

    @task
    def count_tokens(model: dict, params: dict) -> int:
        """Text and chat completions: Google counts free of charge; a first prompt that is too long stops the run here."""
        system, contents = model["config"]["system_instruction"], [params["question"]]
        asked = {"model": model["name"], "contents": contents, "config": {"system_instruction": system}}
        tokens = GenAIGenerativeModelHook(gcp_conn_id=CONN_ID).count_tokens(location=LOCATION, **asked).total_tokens
        if tokens > params["budget"]:
            raise AirflowFailException(f"The prompt has {tokens} tokens, and the budget is {params['budget']}.")
        return tokens

    @task
    def report_chat(project: dict, found: dict, counted: int, first: dict, second: dict, params: dict) -> dict:
        """Text and chat completions: the team for each message, the tokens of each call, and why Gemini stopped."""
        chat = [{"said": params["question"], **first}, {"said": FOLLOW_UP, **second}]
        facts = {"credentials": project["kind"], "model": params["model"], "nearest FAQ entry": found["reply"]}
        return tables.logged(log, {**facts, "score": found["score"], "tokens counted before": counted, "chat": chat})

    project, model, found = check_credentials(), choose_model(), find_entry()
    gemini = {"project_id": project["project"], "location": LOCATION, "gcp_conn_id": CONN_ID}
    gemini |= {"model": model["name"], "generation_config": model["config"]}
    gemini["doc_md"] = "Text and chat completions: one text, or all turns of a chat, go in; one text comes out."
    first = GeminiOperator(task_id="sort_question", contents=["{{ params.question }}"], multiple_outputs=True, **gemini)
    # A chat is a list of turns. The model's role is called `model` here, not `assistant`.
    turns = [("user", "{{ params.question }}"), ("model", first.output["team"]), ("user", FOLLOW_UP)]
    contents = [{"role": role, "parts": [{"text": text}]} for role, text in turns]
    second = GeminiOperator(task_id="sort_follow_up", contents=contents, **gemini)
    model >> found
    counted = count_tokens(model)
    counted >> first
    return report_chat(project, found, counted, first.output, second.output)


google_vertex_ai()
