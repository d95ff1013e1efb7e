"""
# 114.3.5 Local LLM Integration

Some data must stay inside the company. Lumen & Oak can run a model itself: Ollama on a desk, llama.cpp inside a worker, vLLM on a
server with GPUs. All of them speak OpenAI's API, so one operator asks Ollama and vLLM, and only the connection differs. A local model
costs time and memory instead of money. This pipeline measures both for the options of llama.cpp, on the machine that runs the task.

| Checklist item | Tasks that show it |
|---|---|
| Integrate with Ollama | `check_ollama`, `ask_engine` |
| llama.cpp integration | `run_llama_cpp`, `measure_options` |
| vLLM serving | `check_vllm`, `ask_engine` |
| On-premise deployment | `read_deployment`, `compare_engines` |

**Try it**: give *Model file* a GGUF file of your own. Or use a real Ollama. Run `export VLLM_API_KEY=none`
(docker compose wants it for any profile), `docker compose --profile ollama up -d` and
`docker compose --profile ollama exec ollama ollama pull smollm2:135m`. Set the host of `ollama_default` under *Admin → Connections* to
`http://127.0.0.1:11434/v1`. The column *answered by* then changes in the result, which is under
*Storage → XCom* of `compare_engines`. Set a wrong port: `check_ollama` fails, and `ask_engine` does not run.

**You should see** (offline):

| engine                  | answered by          | first words                              |
|:------------------------|:---------------------|:-----------------------------------------|
| Ollama                  | Ollama 0.0.0-keyless | One of the most significant reasons to r |
| vLLM                    | keyless              | One of the most significant reasons to r |
| llama.cpp in the worker | llama.cpp            | One reason to run a language model on yo |
| llama.cpp as a server   | llama.cpp            | One reason to run a language model on yo |

| option                             |   tokens/s |   memory MiB | guessed right   |
|:-----------------------------------|-----------:|-------------:|:----------------|
| as it is                           |       83.6 |        217.9 | 0 of 24         |
| context in 8 bits, flash attention |       88.1 |        175.3 | 0 of 24         |
| n-gram speculation                 |       76.3 |        224.2 | 9 of 24         |

- host in Kubernetes: http://vllm:8000/v1
- host with docker compose: http://127.0.0.1:8000/v1

**SDK or own code?** [OpenAIHook](https://airflow.apache.org/docs/apache-airflow-providers-openai/stable/index.html) reaches any server with
OpenAI's API; see [vLLM's](https://docs.vllm.ai/en/stable/serving/openai_compatible_server.html). `@task.llm` does too, with the model `ollama:…`.
No provider runs llama.cpp; `engine_bench` is llmkit's, on the xllamacpp package.

**In production**: Ollama is for development. vLLM serves many users at once. llama.cpp in the worker is for places where no server may run; each
task loads the model anew, so give such tasks a pool with one slot. Offline, keyless answers for Ollama and for vLLM, and the result says
so. Only llama.cpp really runs here: with one thread, on a model of 135 million parameters. One try of 24 tokens is too little to rank the
speeds. Measure your own model, with more, before you choose.

**Builds on** [3.4 AWS Bedrock Integration](114_03_04_aws_bedrock_integration.py) · **Next** [4.1 Prompt Templating](114_04_01_prompt_templating.py)
"""

import logging
import secrets
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.openai.hooks.openai import OpenAIHook
from airflow.sdk import Connection, Param, dag, task
from airflow.sdk.exceptions import AirflowFailException

from llmkit import prompts, tables
from llmkit.course import engine_bench
from llmkit.operators import OpenAIChatOperator

log = logging.getLogger(__name__)
REPO = Path(__file__).parents[1]
QUESTION = "Name one reason to run a language model on your own machine."
OLLAMA = {"conn_id": "ollama_default", "model": "smollm2:135m"}
VLLM = {"conn_id": "vllm_default", "model": "Qwen/Qwen2.5-1.5B-Instruct"}
FILE_HELP = "Path of a GGUF file on the worker. Empty: the course's model of 135 million parameters."
OPTIONS = {
    "as it is": {},
    "context in 8 bits, flash attention": {"flash_attention": "on", "kv_cache": "q8_0"},
    "n-gram speculation": {"speculation": "ngram"},
}


@dag(
    dag_id=Path(__file__).stem,
    dag_display_name="114.3.5 · Local LLM Integration",
    doc_md=__doc__,
    tags=["reference", "patterns", "advanced", "success"],
    default_args={"retries": 1, "retry_delay": timedelta(seconds=5), "execution_timeout": timedelta(minutes=5)},
    params={"model_file": Param(None, type=["null", "string"], title="Model file", description=FILE_HELP)},
)
def local_llm_integration() -> Any:
    @task
    def check_ollama() -> str:
        """Integrate with Ollama: its own API tells its version and the pulled models. OpenAI's API is below /v1."""
        import httpx

        root = Connection.get(OLLAMA["conn_id"]).host.removesuffix("/v1")
        pulled = httpx.get(f"{root}/api/tags", timeout=5).raise_for_status().json()["models"]
        if OLLAMA["model"] not in [model["name"] for model in pulled]:
            raise AirflowFailException(f"Ollama does not have the model. Run: ollama pull {OLLAMA['model']}")
        return f"Ollama {httpx.get(f'{root}/api/version', timeout=5).raise_for_status().json()['version']}"

    @task
    def check_vllm() -> str:
        """vLLM serving: the list of models needs the key, so it checks server, key and model, and tells who answers."""
        client = OpenAIHook(conn_id=VLLM["conn_id"]).conn.with_options(max_retries=0, timeout=5)
        served = {model.id: model.owned_by for model in client.models.list()}
        if VLLM["model"] not in served:
            raise AirflowFailException(f"The server has {', '.join(served)}, and not {VLLM['model']}.")
        return served[VLLM["model"]]

    about = "Integrate with Ollama, vLLM serving: one operator, two engines. The connection says which."
    answers = OpenAIChatOperator.partial(
        task_id="ask_engine", doc_md=about, prompt=QUESTION, max_tokens=24
    ).expand_kwargs([OLLAMA, VLLM])

    @task
    def run_llama_cpp(params: dict) -> list[str]:
        """llama.cpp integration: the model in the worker's memory, asked directly and over HTTP as OpenAI would be."""
        from openai import OpenAI

        model, key = params["model_file"] or engine_bench.small_model(), secrets.token_urlsafe()
        engine = engine_bench.load(model, context=1024, threads=1, api_key=key)
        client = OpenAI(base_url=f"{engine.listening_address}/v1", api_key=key)
        messages = [{"role": "user", "content": QUESTION}]
        served = client.chat.completions.create(model="local", messages=messages, max_tokens=24, temperature=0)
        return [engine_bench.generate(engine, QUESTION, 24)["text"], served.choices[0].message.content]

    @task
    def measure_options(params: dict) -> list[dict[str, Any]]:
        """llama.cpp integration: each setting in a process of its own, one after the other, when nothing else runs."""
        # The model copies a list: the case in which guessing ahead can help.
        prompt, rows = prompts.load("copy_price_list").render(), []
        for option, settings in OPTIONS.items():
            model = params["model_file"] or engine_bench.small_model()
            found = engine_bench.measure(model, prompt, max_tokens=24, threads=1, **settings)
            row = {"option": option, "tokens/s": found["tokens_per_second"], "memory MiB": found["memory_mib"]}
            rows.append({**row, "guessed right": f"{found['accepted_guesses']} of {found['tokens']}"})
        return rows

    @task
    def read_deployment() -> dict[str, str]:
        """On-premise deployment: vLLM as a compose profile and in Kubernetes. Both must run the same server."""
        import yaml

        service = yaml.safe_load((REPO / "docker-compose.yaml").read_text())["services"]["vllm"]
        manifest = yaml.safe_load_all((REPO / "deploy" / "kubernetes" / "vllm.yaml").read_text())
        parts = {part["kind"]: part for part in manifest}
        container = parts["Deployment"]["spec"]["template"]["spec"]["containers"][0]
        # The first argument names the model, which compose takes from a variable.
        if (container["image"], container["args"][1:]) != (service["image"], service["command"][1:]):
            raise AirflowFailException("docker-compose.yaml and deploy/kubernetes/vllm.yaml run different servers.")
        name, port = parts["Service"]["metadata"]["name"], parts["Service"]["spec"]["ports"][0]["port"]
        compose = f"http://{service['ports'][0].rpartition(':')[0]}/v1"
        return {"host with docker compose": compose, "host in Kubernetes": f"http://{name}:{port}/v1"}

    @task
    def compare_engines(servers: list, texts: list, own: list, options: list, hosts: dict) -> dict[str, Any]:
        """On-premise deployment: who answered, what the options cost, and which host vllm_default gets."""
        names = ["Ollama", "vLLM", "llama.cpp in the worker", "llama.cpp as a server"]
        rows = []
        for name, server, text in zip(names, [*servers, "llama.cpp", "llama.cpp"], [*texts, *own], strict=True):
            rows.append({"engine": name, "answered by": server, "first words": text[:40]})
        return tables.logged(log, {"engines": rows, "options": options, **hosts})

    servers = [check_ollama(), check_vllm()]
    servers >> answers
    own, options = run_llama_cpp(), measure_options()
    [own, answers] >> options
    return compare_engines(servers, answers.output, own, options, read_deployment())


local_llm_integration()
