"""What lessons refer to for running models on one's own machines is there and is valid."""

from __future__ import annotations

import subprocess
import sys

import pytest
import yaml

from stack.settings import REPO

COMPOSE = REPO / "docker-compose.yaml"
KUBERNETES = REPO / "deploy" / "kubernetes" / "vllm.yaml"


def compose_errors(path) -> str:
    tool = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
    done = subprocess.run(tool, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def kubernetes_errors(path) -> str:
    import kubernetes_validate

    for resource in yaml.safe_load_all(path.read_text()):
        try:
            kubernetes_validate.validate(resource, "1.37", strict=True)
        except kubernetes_validate.ValidationError as error:
            return f"{resource['kind']}: {error.message}"
    return ""


def test_compose_is_valid():
    assert compose_errors(COMPOSE) == ""


def test_kubernetes_manifest_is_valid():
    assert kubernetes_errors(KUBERNETES) == ""


def test_the_checks_bite(tmp_path):
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(COMPOSE.read_text().replace("restart: unless-stopped", "restrat: unless-stopped"))
    assert "restrat" in compose_errors(wrong)
    wrong.write_text(KUBERNETES.read_text().replace("replicas: 1", "replicas: one"))
    assert "Deployment" in kubernetes_errors(wrong)


@pytest.mark.parametrize("name", ["vllm", "ollama"])
def test_servers_are_profiles_on_loopback(name):
    service = yaml.safe_load(COMPOSE.read_text())["services"][name]
    assert service["profiles"] == [name]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert ":" in service["image"] and not service["image"].endswith(":latest")
    assert service["healthcheck"]["test"]


def test_both_ways_run_the_same_vllm():
    service = yaml.safe_load(COMPOSE.read_text())["services"]["vllm"]
    deployment = next(r for r in yaml.safe_load_all(KUBERNETES.read_text()) if r["kind"] == "Deployment")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == service["image"]
    assert container["args"][1:] == service["command"][1:]
