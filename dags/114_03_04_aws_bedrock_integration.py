"""
# 114.3.4 AWS Bedrock Integration

Bedrock serves the models of many makers behind one AWS account, with IAM in place of API keys. With `invoke_model` each maker has
a body of its own, as the two operators here show; `converse` is the neutral form, so that the model becomes a param. The last part
streams a text into object storage as it arrives, and gives the file its name only when the text is whole.

| Checklist item | Tasks that show it |
|---|---|
| Configure Bedrock connection | `check_connection` |
| Invoke foundation models | `invoke_claude`, `invoke_titan`, `read_bodies` |
| Model selection (Claude, Titan) | `list_prices`, `ask_by_converse` |
| Streaming responses | `stream_to_storage`, `check_stream` |

**Try it**: compare `invoke_claude` with `invoke_titan`: two bodies in, two bodies out, and `read_bodies` has to know both. Trigger it
with another *Model*: `ask_by_converse` needs no change. `stream_to_storage` returns the sizes that the file had while the stream ran.

**In production**: leave key and secret empty and let the worker's role sign (`bedrock:InvokeModel`, and `…WithResponseStream` for
streams). Newer models are only reached through an inference profile, whose id begins with a region (`us.`, `eu.`). Titan's
text models are legacy: Nova took their place.
"""

import json
import time
from datetime import timedelta
from pathlib import Path

from airflow.providers.amazon.aws.hooks.bedrock import BedrockRuntimeHook
from airflow.providers.amazon.aws.operators.bedrock import BedrockInvokeModelOperator
from airflow.sdk import ObjectStoragePath, Param, dag, task

from llmkit import prompts, storage

CATALOGUE = Path(__file__).parents[1] / "include" / "data" / "products.json"
CONN_ID = "aws_default"
CLAUDE, TITAN, NOVA = "anthropic.claude-3-haiku-20240307-v1:0", "amazon.titan-text-express-v1", "amazon.nova-lite-v1:0"
MODELS = [CLAUDE, TITAN, NOVA, "us.anthropic.claude-sonnet-4-5-20250929-v1:0", "meta.llama3-8b-instruct-v1:0"]


def conversation(prompt: str, params: dict) -> dict:
    """The same arguments for every model: converse translates them into its maker's."""
    return {
        "modelId": params["model"],
        "messages": [{"role": "user", "content": [{"text": prompt}]}],
        "inferenceConfig": {"maxTokens": params["max_tokens"], "temperature": 0.0},
    }


@dag(
    dag_id=Path(__file__).stem,
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    tags=["reference", "core", "intermediate", "success"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5), "execution_timeout": timedelta(minutes=3)},
    params={
        "model": Param(CLAUDE, enum=MODELS, title="Model", description="For converse; list_prices has their prices."),
        "max_tokens": Param(
            80, type="integer", title="Longest answer", description="In tokens.", minimum=1, maximum=500
        ),
    },
)
def aws_bedrock_integration() -> None:
    @task
    def check_connection() -> dict:
        """Configure Bedrock connection: who signs, for which region, and where the requests go."""
        hook = BedrockRuntimeHook(aws_conn_id=CONN_ID)
        signed_by = hook.get_session().get_credentials().method
        return {"region": hook.conn.meta.region_name, "endpoint": hook.conn.meta.endpoint_url, "credentials": signed_by}

    @task
    def write_prompt() -> str:
        """Invoke foundation models: one prompt for all that follows."""
        lamp = json.loads(CATALOGUE.read_text())[0]
        return prompts.load("care_instructions").render(product=f"{lamp['name']}: {lamp['text']}")

    prompt = write_prompt()
    # The prompt is an XCom here, which Airflow fills in wherever it stands in an operator's arguments.
    messages = [{"role": "user", "content": prompt}]
    claude = BedrockInvokeModelOperator(
        task_id="invoke_claude",
        doc_md="Invoke foundation models: Claude's body is Anthropic's messages API with a version in it.",
        aws_conn_id=CONN_ID,
        model_id=CLAUDE,
        input_data={"anthropic_version": "bedrock-2023-05-31", "max_tokens": 40, "messages": messages},
    )
    titan = BedrockInvokeModelOperator(
        task_id="invoke_titan",
        doc_md="Invoke foundation models: Titan's body has other names for the same things.",
        aws_conn_id=CONN_ID,
        model_id=TITAN,
        input_data={"inputText": prompt, "textGenerationConfig": {"maxTokenCount": 40}},
    )

    @task
    def read_bodies(of_claude: dict, of_titan: dict) -> dict[str, list]:
        """Invoke foundation models: text, reason to stop and tokens are in other places for each maker."""
        result, usage = of_titan["results"][0], of_claude["usage"]
        return {
            "claude": [of_claude["content"][0]["text"], of_claude["stop_reason"], usage["output_tokens"]],
            "titan": [result["outputText"], result["completionReason"], result["tokenCount"]],
        }

    @task
    def list_prices() -> str:
        """Model selection (Claude, Titan): what 1,000 leaflets of 100 tokens in and 80 out cost on each, cheapest first."""
        from llmkit import routing

        quotes = routing.quotes([f"bedrock:{model}" for model in MODELS], input_tokens=100, output_tokens=80)
        rows = [
            f"| {q.model.partition(':')[2]} | {'?' if q.cost is None else f'{q.cost * 1000:.3f}'} |" for q in quotes
        ]
        return "\n".join(["| model | USD |", "|---|--:|", *rows])

    @task
    def ask_by_converse(prompt: str, params: dict) -> dict:
        """Model selection (Claude, Titan): with converse the model is a param, and the answer has one form."""
        reply = BedrockRuntimeHook(aws_conn_id=CONN_ID).conn.converse(**conversation(prompt, params))
        text = "".join(part.get("text", "") for part in reply["output"]["message"]["content"])
        return {"model": params["model"], "text": text, "stopped": reply["stopReason"], **reply["usage"]}

    @task
    def stream_to_storage(prompt: str, params: dict, **context) -> dict:
        """Streaming responses: each piece is written when it comes; the file gets its name when the text is whole."""
        began, first, sizes, stopped = time.monotonic(), None, [], None
        path = storage.run_folder(context) / "leaflet.md"
        partial = path.with_name("leaflet.md.partial")
        events = BedrockRuntimeHook(aws_conn_id=CONN_ID).conn.converse_stream(**conversation(prompt, params))["stream"]
        with partial.open("wb") as file:
            for event in events:
                if "contentBlockDelta" in event:
                    first = first or time.monotonic() - began
                    file.write(event["contentBlockDelta"]["delta"]["text"].encode())
                    file.flush()
                    # A file system shows what is there at once, an object store when it is whole.
                    sizes.append(partial.stat().st_size if partial.exists() else 0)
                stopped = event.get("messageStop", {}).get("stopReason", stopped)
        # Bedrock says at the end why it stopped. Without that the text is not whole, however good it looks: this try
        # fails, keeps what came under another name, and the next try starts afresh.
        if stopped is None:
            raise ConnectionError(f"The stream broke off; what had come is in {partial}.")
        partial.rename(path)
        seconds = {"first": round(first or 0, 2), "all": round(time.monotonic() - began, 2)}
        return {"path": str(path), "stopped": stopped, "seconds": seconds, "sizes": sizes}

    @task
    def check_stream(streamed: dict) -> dict:
        """Streaming responses: the file is whole, and it grew with every piece."""
        size, sizes = ObjectStoragePath(streamed["path"]).stat().st_size, streamed["sizes"]
        return {"bytes": size, "pieces": len(sizes), "grew": sizes == sorted(sizes), "seconds": streamed["seconds"]}

    check_connection() >> prompt
    read_bodies(claude.output, titan.output)
    list_prices() >> ask_by_converse(prompt)
    check_stream(stream_to_storage(prompt))


aws_bedrock_integration()
