from __future__ import annotations

from pathlib import Path

import pytest

DAG = "114_03_05_local_llm_integration"


@pytest.fixture(scope="module")
def run(run_lesson):
    return run_lesson(DAG)


def test_it_ends_as_the_outline_says(run):
    assert run.state == "success", run.log[-3000:]
    assert set(run.tasks.values()) == {"success"}


@pytest.mark.checklist("114.3.5", "Integrate with Ollama")
def test_ollama_is_asked_by_its_own_api_and_by_openai_s(run):
    assert run.xcoms["list_ollama_models"]
    paths = [r["path"] for r in run.requests if r["provider"] == "ollama"]
    assert sorted(paths) == ["/api/tags", "/v1/chat/completions"]
    assert len(run.xcoms["ask_engine"]) == 2 and all(run.xcoms["ask_engine"])


@pytest.mark.checklist("114.3.5", "llama.cpp integration")
def test_options_are_measured_by_the_engine(run):
    rows = [
        [cell.strip() for cell in row.strip("|").split("|")] for row in run.xcoms["compare_options"].splitlines()[2:]
    ]
    found = {row[0]: row for row in rows}
    assert list(found) == [
        "as it is", "flash attention", "context in 8 bits", "context in 4 bits", "n-gram speculation",
    ]  # fmt: skip
    assert all(float(row[1]) > 1 and float(row[2]) > 1 for row in rows)
    memory = [float(found[name][3]) for name in ("context in 4 bits", "context in 8 bits", "flash attention")]
    assert 100 < memory[0] < memory[1] < memory[2], "a quantized context takes less"
    assert int(found["n-gram speculation"][4].split(" of ")[0]) > 0 and found["as it is"][4].startswith("0 of ")
    assert run.xcoms["run_in_process"]["text"].strip() and run.xcoms["ask_served_model"].strip()


@pytest.mark.checklist("114.3.5", "vLLM serving")
def test_vllm_is_a_connection(run, keyless_url):
    assert run.xcoms["check_vllm"] == {"address": f"{keyless_url}/openai/v1", "status": "Connection established!"}
    assert [r["model"] for r in run.requests if r["provider"] == "openai" and r["model"]] == [
        "Qwen/Qwen2.5-1.5B-Instruct"
    ]


@pytest.mark.checklist("114.3.5", "On-premise deployment")
def test_the_deployment_s_hosts_come_from_its_files(run):
    assert run.xcoms["read_deployment"] == {
        "docker compose --profile vllm up": "http://127.0.0.1:8000/v1",
        "kubectl apply -f deploy/kubernetes/vllm.yaml": "http://vllm:8000/v1",
        "model there": "Qwen/Qwen2.5-1.5B-Instruct",
    }


def test_two_deployments_that_differ_are_noticed(monkeypatch, dagbag):
    task = dagbag.dags[DAG].get_task("read_deployment").python_callable
    read = Path.read_text
    monkeypatch.setattr(
        Path, "read_text", lambda path, *a, **k: read(path, *a, **k).replace("8192", str(len(path.name)))
    )
    with pytest.raises(Exception, match="run different servers"):
        task()


def test_the_server_of_one_s_own_is_in_the_ledger_too(run):
    from llmkit import ledger

    rows = ledger.spending("task_id", "model", run_id=run.run_id)
    assert ("ask_served_model", "SmolLM2-135M-Instruct.Q4_1") in [row.group for row in rows]
    assert all(row.unpriced == row.calls and row.cost_usd == 0 for row in rows), "no list price, so none is claimed"


def test_a_model_file_that_is_not_there_is_named(run_lesson):
    run = run_lesson(DAG, model_file="/nowhere/model.gguf")
    assert run.state == "failed" and "There is no model file /nowhere/model.gguf." in run.log
