"""
# 114.3.4 AWS Bedrock Integration

Bedrock serves the models of many makers behind one AWS account, and IAM decides who may call which. With `invoke_model` each maker
has a body of its own, as the two operators here show: Claude writes the leaflet for a lamp's box, and Titan makes the vector by which
the shop's search finds it. `converse` takes the same arguments for every model, so you can choose the model in the *Trigger* form.
The last part streams the leaflet into object storage while the model writes it. The file gets its name only when the stream has ended.

| Checklist item | Tasks that show it |
|---|---|
| Configure Bedrock connection | `check_connection` |
| Invoke foundation models | `write_prompt`, `invoke_claude`, `invoke_titan` |
| Model selection (Claude, Titan) | `ask_by_converse` |
| Streaming responses | `stream_to_storage`, `report_leaflet` |

**Try it**: under *Storage → XCom* compare `invoke_claude` with `invoke_titan`: each maker names the tokens in its own way. Choose another
*Model* in the *Trigger* form: `ask_by_converse` and `stream_to_storage` need no change. With *Tokens* at 5 they stop with
`max_tokens`, and the leaflet ends in the middle of a sentence.

**You should see** (offline):

| call            | model                                       |   tokens in |   tokens out | stopped   |
|:----------------|:--------------------------------------------|------------:|-------------:|:----------|
| invoke_model    | us.anthropic.claude-haiku-4-5-20251001-v1:0 |          78 |           20 | end_turn  |
| invoke_model    | amazon.titan-embed-text-v2:0                |          24 |            0 | –         |
| converse        | us.anthropic.claude-haiku-4-5-20251001-v1:0 |          78 |           20 | end_turn  |
| converse_stream | us.anthropic.claude-haiku-4-5-20251001-v1:0 |          78 |           20 | end_turn  |

- USD for 1,000: nova-lite-v1:0 0.0095, titan-text-express-v1 0.0276, claude-haiku-4-5-20251001-v1:0 0.1958, claude-sonnet-4-5-20250929-v1:0 0.5874
- region: us-east-1
- same text by converse: yes
- grew: yes
- seconds to the first piece: 0.57
- seconds: 1.32

**SDK or own code?** The provider has an
[operator](https://airflow.apache.org/docs/apache-airflow-providers-amazon/stable/operators/bedrock.html) for `invoke_model`. It has none
for `converse` and [`converse_stream`](https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html), so
these tasks use the boto3 client of its hook.

**In production**: leave key and secret empty and let the worker's role sign (`bedrock:InvokeModel`, and `…WithResponseStream` for
streams). Newer models are reached through an inference profile, whose id begins with a region (`us.`, `eu.`). Titan's text models
are legacy, and AWS refuses legacy models to new customers: in a live account choose Nova. *USD for 1,000* is the list price of 1,000
calls with the tokens of the row *converse*. Offline one small model answers for all of them, and only the prices differ. With a real key
each model counts and writes other tokens, 20 or 30 of them cut a leaflet off (raise *Tokens*), and two calls can give two texts
although the temperature is 0. A retry of `stream_to_storage` pays for the whole text again. An object store shows a file only when it
is closed: there *grew* is *no*.

**Builds on** [3.3 Google Vertex AI](114_03_03_google_vertex_ai.py) · **Next** [3.5 Local LLM Integration](114_03_05_local_llm_integration.py)
"""

import json
import logging
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.amazon.aws.hooks.bedrock import BedrockRuntimeHook
from airflow.providers.amazon.aws.operators.bedrock import BedrockInvokeModelOperator
from airflow.sdk import ObjectStoragePath, Param, dag, task

from llmkit import prompts, routing, storage, tables

log = logging.getLogger(__name__)
CATALOGUE = Path(__file__).parents[1] / "include" / "data" / "products.json"
CLAUDE, SONNET = "us.anthropic.claude-haiku-4-5-20251001-v1:0", "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
TITAN = "amazon.titan-embed-text-v2:0"
MODELS = [CLAUDE, SONNET, "amazon.nova-lite-v1:0", "amazon.titan-text-express-v1"]
MODEL_HELP = "It writes the leaflet by converse and by converse_stream. invoke_model keeps its own models."
TOKENS_HELP = "1 to 500 tokens for each of these two texts. A small value cuts the leaflet off."


def conversation(prompt: str, params: dict) -> dict[str, Any]:
    """The same arguments for every model: converse translates them into the body of its maker."""
    limits = {"maxTokens": params["max_tokens"], "temperature": 0.0}
    messages = [{"role": "user", "content": [{"text": prompt}]}]
    return {"modelId": params["model"], "messages": messages, "inferenceConfig": limits}


def row(call: str, model: str, tokens_in: int, tokens_out: int, stopped: str | None) -> dict[str, Any]:
    return {"call": call, "model": model, "tokens in": tokens_in, "tokens out": tokens_out, "stopped": stopped}


@dag(
    dag_id=Path(__file__).stem,
    dag_display_name="114.3.4 · AWS Bedrock Integration",
    doc_md=__doc__,
    tags=["reference", "core", "intermediate", "success"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5), "execution_timeout": timedelta(minutes=3)},
    params={
        "model": Param(CLAUDE, enum=MODELS, title="Model", description=MODEL_HELP),
        "max_tokens": Param(30, type="integer", minimum=1, maximum=500, title="Tokens", description=TOKENS_HELP),
    },
)
def aws_bedrock_integration() -> Any:
    @task
    def check_connection() -> dict[str, str]:
        """Configure Bedrock connection: how the credentials were found, for which region, and where the requests go."""
        hook = BedrockRuntimeHook()
        signed_by = hook.get_session().get_credentials().method
        return {"region": hook.conn.meta.region_name, "endpoint": hook.conn.meta.endpoint_url, "credentials": signed_by}

    @task
    def write_prompt() -> dict[str, str]:
        """Invoke foundation models: the lamp's text for Titan, and the prompt for all models that write."""
        lamp = json.loads(CATALOGUE.read_text())[0]
        text = f"{lamp['name']}: {lamp['text']}"
        return {"product": text, "prompt": prompts.load("care_instructions").render(product=text)}

    @task
    def ask_by_converse(prompt: str, params: dict) -> dict[str, Any]:
        """Model selection (Claude, Titan): the form chooses it; the list price of these tokens on every model."""
        reply = BedrockRuntimeHook().conn.converse(**conversation(prompt, params))
        used = {"input_tokens": reply["usage"]["inputTokens"], "output_tokens": reply["usage"]["outputTokens"]}
        quotes = routing.quotes([f"bedrock:{model}" for model in MODELS], **used)
        prices = {each.model.rpartition(".")[2]: round(float(each.cost) * 1000, 4) for each in quotes if each.cost}
        asked = row("converse", params["model"], *used.values(), reply["stopReason"])
        return {"text": reply["output"]["message"]["content"][0]["text"], "row": asked, "prices": prices}

    @task
    def stream_to_storage(prompt: str, params: dict, **context) -> dict[str, Any]:
        """Streaming responses: each piece is written when it comes; the file gets its name when the stream has ended."""
        began, first, sizes, stopped, used = time.monotonic(), None, [], None, {}
        path = storage.run_folder(context) / "leaflet.md"
        partial = path.with_name("leaflet.md.partial")
        stream = BedrockRuntimeHook().conn.converse_stream(**conversation(prompt, params))["stream"]
        with partial.open("wb") as file:
            for event in stream:
                if "contentBlockDelta" in event:
                    first = round(time.monotonic() - began, 2) if first is None else first
                    file.write(event["contentBlockDelta"]["delta"]["text"].encode())
                    file.flush()
                    sizes.append(partial.stat().st_size if partial.exists() else 0)
                stopped = event.get("messageStop", {}).get("stopReason", stopped)
                used = event.get("metadata", {}).get("usage", used)
        # Bedrock says at the end why the model stopped. Without that the stream broke off: the next try starts afresh.
        if stopped is None:
            raise ConnectionError(f"The stream broke off; what had come is in {partial}.")
        partial.rename(path)
        streamed = row("converse_stream", params["model"], used["inputTokens"], used["outputTokens"], stopped)
        return {"path": str(path), "sizes": sizes, "row": streamed, "first": first, "all": time.monotonic() - began}

    @task
    def report_leaflet(region: str, claude: dict, titan: dict, asked: dict, streamed: dict) -> dict[str, Any]:
        """Streaming responses: whether the file grew with every piece, beside all calls and what each model costs."""
        read, wrote, sizes = claude["usage"]["input_tokens"], claude["usage"]["output_tokens"], streamed["sizes"]
        calls = [row("invoke_model", CLAUDE, read, wrote, claude["stop_reason"])]
        calls += [row("invoke_model", TITAN, titan["inputTextTokenCount"], 0, None), asked["row"], streamed["row"]]
        leaflet = ObjectStoragePath(streamed["path"])
        leaflet.with_name("vector.json").write_text(json.dumps(titan["embedding"]))
        grew = len(sizes) > 1 and 0 not in sizes and sizes == sorted(set(sizes))
        file = {"region": region, "same text by converse": leaflet.read_text() == asked["text"], "grew": grew}
        took = {"seconds to the first piece": streamed["first"], "seconds": round(streamed["all"], 2)}
        return tables.logged(log, {"calls": calls, "USD for 1,000": asked["prices"], **file, **took})

    text, connection = write_prompt(), check_connection()
    # The texts are XComs here, which Airflow fills in wherever they stand in an operator's arguments.
    messages = [{"role": "user", "content": text["prompt"]}]
    body = {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 20, "messages": messages}
    claude = BedrockInvokeModelOperator(task_id="invoke_claude", model_id=CLAUDE, input_data=body)
    claude.doc_md = "Invoke foundation models: Claude's body is Anthropic's messages API with a version in it."
    body = {"inputText": text["product"], "dimensions": 256}
    titan = BedrockInvokeModelOperator(task_id="invoke_titan", model_id=TITAN, input_data=body)
    titan.doc_md = "Invoke foundation models: Titan's body has other names. This Titan makes embeddings."
    asked, streamed = ask_by_converse(text["prompt"]), stream_to_storage(text["prompt"])
    return report_leaflet(connection["region"], claude.output, titan.output, asked, streamed)


aws_bedrock_integration()
