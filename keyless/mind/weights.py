"""The files of models: where installed packages have theirs, and what a file in llama.cpp's format (GGUF) says of itself."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, BinaryIO

import psutil

SLOTS = 4
"""Requests that decode together; each has a context of its own."""
_LEAST_CONTEXT, _MOST_CONTEXT = 2048, 32_768
_SPARE = 300 * 2**20
"""What computing takes beside the weights and the contexts."""
_SMALL = 10**9
_FORMATS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_STRING, _ARRAY = 8, 9
_MOST = 10_000_000
"""No key, text or list in a file is longer."""


class UnusableModel(ValueError):
    """A model that cannot be used; its text is one sentence that says why and what to do."""


@dataclass(frozen=True)
class Model:
    """A chat model in a file. ``name`` is what replies name; ``context_tokens`` what each of ``SLOTS`` requests may have."""

    name: str
    path: Path
    context_tokens: int
    vocabulary: int
    parameters: int
    knows_tools: bool = False

    @property
    def is_small(self) -> bool:
        """Up to a billion parameters: it needs a penalty on repetition, and MiniLM is better at labels."""
        return self.parameters <= _SMALL


def package_dir(name: str) -> Path:
    """The folder of an installed package, without importing it: only its data file is wanted.

    Raises ``RuntimeError`` when the package is missing.
    """
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"the package {name!r}, which carries a model, is not installed: run `make install`")
    return Path(spec.origin).parent


def read_model(path: Path) -> Model:
    """What the file says of itself, and the context that this machine's memory allows. Raises ``UnusableModel``."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            said, tensors, elements = _header(file)
    except OSError as error:
        raise UnusableModel(f"The model {path} cannot be read ({error.strerror}): check the path in MODEL.") from None
    except (struct.error, ValueError, OverflowError, MemoryError):
        raise UnusableModel(
            f"{path} is no whole file in llama.cpp's format (GGUF): give one, or delete it if it broke off."
        ) from None
    if size < tensors:
        raise UnusableModel(f"{path} breaks off before its end: delete it and load it again.")
    if not said.get("tokenizer.chat_template"):
        raise UnusableModel(
            f"{path} has no chat template, so it is no chat model: take an “instruct” or “chat” version."
        )
    kind = said.get("general.architecture", "")
    trained = said.get(f"{kind}.context_length") or _LEAST_CONTEXT
    name = re.sub(r"[^a-z0-9._-]+", "-", path.stem.lower(), flags=re.ASCII)
    return Model(
        name,
        path,
        _context(path, size, trained, _bytes_a_token(said, kind)),
        said.get("tokenizer.ggml.tokens", 0),
        elements,
        # A template that does not look at the tools says nothing of them to the model.
        knows_tools="tools" in said["tokenizer.chat_template"],
    )


def _context(path: Path, size: int, trained: int, a_token: int) -> int:
    """The model's own context, or as much as fits into memory. Raises ``UnusableModel`` where too little does."""
    free = psutil.virtual_memory().available - size - _SPARE
    tokens = min(trained, _MOST_CONTEXT)
    while tokens > _LEAST_CONTEXT and tokens * SLOTS * a_token > free:
        tokens //= 2
    if (need := tokens * SLOTS * a_token) > free:
        have, want = (f"{n / 2**30:.1f}" for n in (free + size + _SPARE, size + _SPARE + need))
        raise UnusableModel(
            f"{path} needs {want} GiB of memory and {have} are free: take a smaller model or a smaller quantization."
        )
    return tokens


def _bytes_a_token(said: dict[str, Any], kind: str) -> int:
    """Memory that one token of context takes, in 16 bits a number."""
    heads = said.get(f"{kind}.attention.head_count") or 1
    wide = (said.get(f"{kind}.embedding_length") or 0) // heads
    key, value = (said.get(f"{kind}.attention.{part}_length") or wide for part in ("key", "value"))
    return (
        2
        * (said.get(f"{kind}.block_count") or 0)
        * (said.get(f"{kind}.attention.head_count_kv") or heads)
        * (key + value)
    )


def _header(file: BinaryIO) -> tuple[dict[str, Any], int, int]:
    """The metadata (of a list its length, of numbers the largest), where the last tensor begins, and the number of parameters.

    The package ``gguf`` reads the same in five seconds, because it keeps every token. Raises ``ValueError`` and the like.
    """
    if file.read(4) != b"GGUF" or _number(file, "<I") not in (2, 3):
        raise ValueError("not GGUF")
    tensors, pairs = _number(file, "<Q"), _number(file, "<Q")
    said = {}
    for _ in range(_checked(pairs)):
        key = _text(file)
        said[key] = _value(file, _number(file, "<I"))
    elements = last = 0
    for _ in range(_checked(tensors)):
        _text(file)
        count = 1
        for _ in range(_number(file, "<I")):
            count *= _number(file, "<Q")
        _number(file, "<I")
        last = max(last, _number(file, "<Q"))
        elements += count
    return said, file.tell() + last, elements


def _value(file: BinaryIO, kind: int) -> Any:
    if kind == _STRING:
        return _text(file)
    if kind != _ARRAY:
        return _number(file, _FORMATS[kind]) if kind in _FORMATS else _unknown()
    inner, count = _number(file, "<I"), _checked(_number(file, "<Q"))
    if inner == _STRING:
        for _ in range(count):
            file.seek(_checked(_number(file, "<Q")), 1)
        return count
    if inner not in _FORMATS:
        _unknown()
    one = struct.Struct(_FORMATS[inner])
    # Models whose layers differ give a number for each.
    return max((n for (n,) in one.iter_unpack(file.read(one.size * count))), default=0)


def _unknown() -> None:
    raise ValueError("an unknown kind of value")


def _text(file: BinaryIO) -> str:
    return file.read(_checked(_number(file, "<Q"))).decode(errors="replace")


def _number(file: BinaryIO, form: str) -> Any:
    return struct.unpack(form, file.read(struct.calcsize(form)))[0]


def _checked(count: int) -> int:
    if count > _MOST:
        raise ValueError("too long")
    return count
