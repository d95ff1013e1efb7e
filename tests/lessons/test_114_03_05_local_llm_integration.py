from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

DAG = "114_03_05_local_llm_integration"
QUESTION = "Name one reason to run a language model on your own machine."


@pytest.fixture(scope="module")
def run(run_lesson):
    return run_lesson(DAG)


@pytest.fixture(scope="module")
def broken(run_dag, settings):
    """Nothing listens where Ollama and vLLM should be, and there is no model file."""
    with pytest.MonkeyPatch.context() as patch:
        for name in "OLLAMA", "VLLM":
            dead = {"conn_type": "openai", "host": "http://127.0.0.1:9/v1", "password": "any"}
            patch.setenv(f"AIRFLOW_CONN_{name}_DEFAULT", json.dumps(dead))
        return run_dag(settings.dags, DAG, model_file="/nowhere/model.gguf")


def engines(run) -> dict[str, dict]:
    return {row["engine"]: row for row in run.result["engines"]}


def options(run) -> dict[str, dict]:
    return {row["option"]: row for row in run.result["options"]}


def asked(run, provider: str) -> list[tuple]:
    chats = [r for r in run.requests if r["provider"] == provider and r["path"] == "/v1/chat/completions"]
    return [(r["model"], r["asked"]["messages"][0]["text"], r["asked"]["max_tokens"]) for r in chats]


def refusal(task, *arguments) -> str:
    """What a task says when it refuses; nothing when it does not."""
    try:
        task(*arguments)
    except Exception as error:
        return str(error)
    return ""


def test_it_ends_as_the_outline_says(run):
    assert run.state == "success", run.log[-3000:]
    assert set(run.tasks.values()) == {"success"}


@pytest.mark.checklist("114.3.5", "Integrate with Ollama")
def test_ollama_is_asked_by_its_own_api_and_by_openai_s(run):
    paths = sorted(r["path"] for r in run.requests if r["provider"] == "ollama")
    assert paths == ["/api/tags", "/api/version", "/v1/chat/completions"]
    assert asked(run, "ollama") == [("smollm2:135m", QUESTION, 24)]
    row = engines(run)["Ollama"]
    assert row["answered by"] == "Ollama 0.0.0-keyless", "who really answered is said"
    assert row["first words"] == run.xcoms["ask_engine"][0][:40] != ""


@pytest.mark.checklist("114.3.5", "Integrate with Ollama")
def test_a_model_that_was_not_pulled_is_named_before_anything_is_asked(dagbag, monkeypatch):
    import httpx

    answer = httpx.Response(200, json={"models": [{"name": "other:1b"}]}, request=httpx.Request("GET", "http://x"))
    monkeypatch.setattr(httpx, "get", lambda *_, **__: answer)
    monkeypatch.setenv("AIRFLOW_CONN_OLLAMA_DEFAULT", json.dumps({"conn_type": "openai", "host": "http://x/v1"}))
    assert "ollama pull smollm2:135m" in refusal(dagbag.dags[DAG].get_task("check_ollama").python_callable)


@pytest.mark.checklist("114.3.5", "Integrate with Ollama")
def test_an_ollama_that_is_down_fails_its_check(broken):
    assert broken.state == "failed"
    assert broken.tasks["check_ollama"] == "failed" and "Connection refused" in broken.log
    states = {state for task, state in broken.tasks.items() if task.startswith("ask_engine")}
    assert states == {"upstream_failed"}, "no engine is asked before its check"


@pytest.mark.checklist("114.3.5", "vLLM serving")
def test_vllm_is_a_connection_and_says_who_it_is(run):
    assert run.xcoms["check_vllm"] == "keyless", "offline it is not vLLM, and the result does not call it so"
    assert engines(run)["vLLM"]["answered by"] == "keyless"
    assert asked(run, "openai") == [("Qwen/Qwen2.5-1.5B-Instruct", QUESTION, 24)]
    assert engines(run)["vLLM"]["first words"] == run.xcoms["ask_engine"][1][:40] != ""


@pytest.mark.checklist("114.3.5", "vLLM serving")
def test_a_vllm_with_another_model_fails_its_check_and_names_what_it_has(lesson_module, monkeypatch):
    module = lesson_module(DAG)
    served = [SimpleNamespace(id=name, owned_by="vllm") for name in ("facebook/opt-125m", "my-lora")]
    client = SimpleNamespace(models=SimpleNamespace(list=lambda: served))
    monkeypatch.setattr(module.OpenAIHook, "conn", SimpleNamespace(with_options=lambda **_: client))
    check = module.local_llm_integration().get_task("check_vllm").python_callable
    assert "has facebook/opt-125m, my-lora, and not Qwen/Qwen2.5-1.5B-Instruct" in refusal(check)
    served.append(SimpleNamespace(id=module.VLLM["model"], owned_by="the team"))
    assert refusal(check) == "" and check() == "the team"


@pytest.mark.checklist("114.3.5", "vLLM serving")
def test_a_vllm_that_is_down_fails_its_check(broken, dagbag):
    assert broken.tasks["check_vllm"] == "failed" and "APIConnectionError" in broken.log
    assert not asked(broken, "openai")
    assert dagbag.dags[DAG].get_task("ask_engine").upstream_task_ids == {"check_ollama", "check_vllm"}


@pytest.mark.checklist("114.3.5", "llama.cpp integration")
def test_the_engine_is_asked_directly_and_as_a_server(run):
    rows = engines(run)
    direct, served = run.xcoms["run_llama_cpp"]
    assert direct == served, "one model, one question, no sampling"
    assert rows["llama.cpp in the worker"]["first words"] == direct[:40] != ""
    assert rows["llama.cpp as a server"]["first words"] == served[:40]
    from llmkit import ledger

    spent = ledger.spending("task_id", "model", run_id=run.run_id)
    calls = {row.group: row.calls for row in spent}
    assert calls["run_llama_cpp", "SmolLM2-135M-Instruct.Q4_1"] == 1, "over HTTP, so the ledger has it"
    assert all(row.unpriced == row.calls and row.cost_usd == 0 for row in spent), "no list price, so none is claimed"


@pytest.mark.checklist("114.3.5", "llama.cpp integration")
def test_options_are_measured_by_the_engine(run):
    found = options(run)
    plain, small, guessing = found.values()
    assert list(found) == ["as it is", "context in 8 bits, flash attention", "n-gram speculation"]
    assert all(row["tokens/s"] > 1 for row in found.values())
    assert {row["guessed right"].split(" of ")[1] for row in found.values()} == {"24"}, "the same work for each"
    assert 100 < small["memory MiB"] < plain["memory MiB"] - 20, "a quantized context takes less"
    assert plain["guessed right"].startswith("0 of ") and small["guessed right"].startswith("0 of ")
    assert int(guessing["guessed right"].split(" of ")[0]) > 0


@pytest.mark.checklist("114.3.5", "llama.cpp integration")
def test_the_form_s_model_file_is_the_one_that_is_loaded(broken):
    assert broken.tasks["run_llama_cpp"] == "failed"
    assert "There is no model file /nowhere/model.gguf." in broken.log


@pytest.mark.checklist("114.3.5", "llama.cpp integration")
def test_nothing_else_runs_while_the_options_are_measured(dagbag):
    assert dagbag.dags[DAG].get_task("measure_options").upstream_task_ids == {"run_llama_cpp", "ask_engine"}


@pytest.mark.checklist("114.3.5", "llama.cpp integration")
def test_the_form_s_model_file_is_the_one_that_is_measured(dagbag):
    measure = dagbag.dags[DAG].get_task("measure_options").python_callable
    assert "/nowhere/model.gguf" in refusal(measure, {"model_file": "/nowhere/model.gguf"})


@pytest.mark.checklist("114.3.5", "On-premise deployment")
def test_the_deployment_s_hosts_come_from_its_files(run):
    assert run.result["host with docker compose"] == "http://127.0.0.1:8000/v1"
    assert run.result["host in Kubernetes"] == "http://vllm:8000/v1"


@pytest.mark.checklist("114.3.5", "On-premise deployment")
def test_two_deployments_that_differ_are_noticed(monkeypatch, dagbag):
    task = dagbag.dags[DAG].get_task("read_deployment").python_callable
    read = Path.read_text
    monkeypatch.setattr(
        Path, "read_text", lambda path, *a, **k: read(path, *a, **k).replace("8192", str(len(path.name)))
    )
    assert "run different servers" in refusal(task)


@pytest.mark.checklist("114.3.5", "On-premise deployment")
def test_the_deployment_serves_the_model_that_the_lesson_asks_for(lesson_module):
    model = lesson_module(DAG).VLLM["model"]
    repo = Path(__file__).parents[2]
    assert f"--model={model}" in (repo / "deploy" / "kubernetes" / "vllm.yaml").read_text()
    assert f":-{model}}}" in (repo / "docker-compose.yaml").read_text()


@pytest.mark.checklist("114.3.5", "On-premise deployment")
def test_the_pod_does_not_get_the_variables_of_the_service_called_vllm():
    """Kubernetes would set VLLM_PORT to an address, and vLLM reads that name as its own setting."""
    manifest = (Path(__file__).parents[2] / "deploy" / "kubernetes" / "vllm.yaml").read_text()
    assert "\n      enableServiceLinks: false\n" in manifest
