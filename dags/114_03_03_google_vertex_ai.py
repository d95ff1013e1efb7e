"""
# 114.3.3 Google Vertex AI

Vertex AI is Gemini with Google Cloud's projects, regions and service accounts around it. Lumen & Oak answers questions from its
FAQ with it: embeddings find the entry, the tokens are counted, and only then Gemini is asked. Many tutorials still use PaLM, whose
models are gone, so a name of that family is refused before anything is sent, with the name of its successor.

| Checklist item | Tasks that show it |
|---|---|
| Configure Vertex AI connection | `check_credentials` |
| PaLM and Gemini models | `explain_name`, `choose_model` |
| Text and chat completions | `count_tokens`, `fit_budget`, `answer_question`, `continue_chat` |
| Embeddings with Vertex | `find_entry` |

**Try it**: trigger it with `text-bison@002` as *Model*: `choose_model` fails at once, says what to use, and nothing was called. With
*Token budget* at 5 it is `fit_budget` that stops the run, before the answer is paid. `check_credentials` shows which
kind of credentials the connection holds.

**In production**: leave the keyfile empty where workers run in Google's cloud: its libraries then use the worker's own identity, and
no key has to be rotated. Region and project decide quota and where data is processed. The provider's embedding operator returns an
object that no later task can read from XCom, so `find_entry` takes the hook's method.
"""

import json
from datetime import timedelta
from pathlib import Path

from airflow.providers.google.cloud.hooks.gen_ai import GenAIGenerativeModelHook
from airflow.providers.google.cloud.operators.gen_ai import GenAICountTokensOperator, GenAIGenerateContentOperator
from airflow.sdk import Param, dag, task
from airflow.sdk.exceptions import AirflowFailException

from llmkit import prompts

FAQ = Path(__file__).parents[1] / "include" / "data" / "faq.json"
CONN_ID = "google_cloud_default"
# The project is the connection's; the location is where the model runs.
PLACE = {
    "gcp_conn_id": CONN_ID,
    "project_id": "{{ conn.google_cloud_default.extra_dejson.project }}",
    "location": "us-central1",
}
# By the beginning of the name: versions and sizes (@002, -32k) make no difference.
SUCCESSORS = dict.fromkeys(["text-bison", "chat-bison"], "gemini-2.5-flash")
SUCCESSORS |= dict.fromkeys(["text-unicorn", "code-bison"], "gemini-2.5-pro")
SUCCESSORS |= {"textembedding-gecko": "text-embedding-005"}


def successor(model: str) -> str | None:
    """What took the place of a PaLM model; None for all others."""
    return next((new for old, new in SUCCESSORS.items() if model.startswith(old)), None)


@dag(
    dag_id=Path(__file__).stem,
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    tags=["reference", "core", "intermediate", "success"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5), "execution_timeout": timedelta(minutes=2)},
    params={
        "question": Param(
            "May I return the Lyra lamp? I do not like it.", type="string", title="Question", minLength=1
        ),
        "model": Param(
            "gemini-2.5-flash", type="string", title="Model", description="Try text-bison@002.", minLength=1
        ),
        "budget": Param(200, type="integer", title="Token budget", description="Of the prompt. Try 5.", minimum=1),
    },
)
def google_vertex_ai() -> None:
    @task
    def check_credentials() -> dict:
        """Configure Vertex AI connection: a key in the connection or the worker's own identity, and whose project."""
        hook = GenAIGenerativeModelHook(gcp_conn_id=CONN_ID)
        extra = hook.get_connection(CONN_ID).extra_dejson
        credentials, project = hook.get_credentials_and_project_id()
        keys = [f"service account by {name}" for name in ("keyfile_dict", "key_path") if extra.get(name)]
        kind = keys[0] if keys else "application default credentials (no key stored)"
        return {"kind": kind, "account": getattr(credentials, "service_account_email", "?"), "project": project}

    @task
    def explain_name(name: str) -> str:
        """PaLM and Gemini models: what became of a name that is still in many tutorials."""
        new = successor(name)
        return f"{name}: PaLM, gone since 2025; use {new}" if new else f"{name}: to be used as it is"

    @task
    def choose_model(params: dict) -> str:
        """PaLM and Gemini models: a name that cannot work is refused before the first call, and not tried again."""
        if new := successor(params["model"]):
            raise AirflowFailException(f"{params['model']} is a PaLM model and no longer served: use {new}.")
        return params["model"]

    @task
    def find_entry(model: str, params: dict) -> dict:
        """Embeddings with Vertex: question and FAQ by one call; the vectors do not leave the task."""
        import numpy as np

        entries = json.loads(FAQ.read_text())
        hook = GenAIGenerativeModelHook(gcp_conn_id=CONN_ID)
        reply = hook.embed_content(
            location="us-central1",
            model="text-embedding-005",
            contents=[params["question"], *(f"{e['question']} {e['answer']}" for e in entries)],
        )
        vectors = np.array([embedding.values for embedding in reply.embeddings])
        scores = vectors[1:] @ vectors[0] / np.linalg.norm(vectors[1:], axis=1) / np.linalg.norm(vectors[0])
        best = entries[int(scores.argmax())]
        # The prompt holds the one entry that fits, not the whole FAQ.
        prompt = prompts.load("answer_from_faq").render(question=params["question"], entry=best["answer"])
        return {"entry": best["question"], "score": round(float(scores.max()), 3), "prompt": prompt}

    @task
    def fit_budget(tokens: int, params: dict) -> int:
        """Text and chat completions: too long a prompt ends the run here, where it has cost nothing yet."""
        if tokens > params["budget"]:
            raise AirflowFailException(f"The prompt has {tokens} tokens, and the budget is {params['budget']}.")
        return tokens

    model = choose_model()
    prompt = find_entry(model)["prompt"]
    counted = GenAICountTokensOperator(
        task_id="count_tokens",
        doc_md="Text and chat completions: counted by the model's own tokenizer, free of charge.",
        contents=[prompt],
        model=model,
        **PLACE,
    )
    answer = GenAIGenerateContentOperator(
        task_id="answer_question",
        doc_md="Text and chat completions: one text in, one text out.",
        contents=[prompt],
        model=model,
        generation_config={"max_output_tokens": 60, "temperature": 0.0},
        **PLACE,
    )
    # A chat is a list of turns. The model's role is called `model` here, not `assistant`.
    turns = [("user", prompt), ("model", answer.output), ("user", "Thank you. And in other words?")]
    chat = GenAIGenerateContentOperator(
        task_id="continue_chat",
        doc_md="Text and chat completions: the same operator, with the turns so far and a system instruction.",
        contents=[{"role": role, "parts": [{"text": text}]} for role, text in turns],
        model=model,
        generation_config={"max_output_tokens": 60, "system_instruction": "You are friendly and brief."},
        **PLACE,
    )
    check_credentials()
    explain_name.expand(name=["text-bison@002", "chat-bison-32k", "textembedding-gecko@003", "gemini-2.5-flash"])
    # Counting is free; nothing is paid for an answer before the budget is known to hold.
    fit_budget(counted.output["total_tokens"]) >> answer >> chat


google_vertex_ai()
