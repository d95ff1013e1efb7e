"""A reader's own model: a path, or a file of a repository on the Hugging Face hub, loaded once and known by its SHA-256."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from keyless.mind.weights import Model, UnusableModel, read_model

_HUB = "hf:"


def find_model(said: str, folder: Path, say: Callable[[str], None]) -> Model:
    """The model that ``said`` names: a path, or ``hf:<owner>/<repository>/<file>.gguf``, which is loaded into ``folder`` once.

    Its SHA-256 is shown and remembered there. Raises ``UnusableModel``.
    """
    is_hub = said.startswith(_HUB)
    path = _from_hub(said.removeprefix(_HUB), folder, say) if is_hub else Path(os.path.expanduser(said)).resolve()
    model = read_model(path)
    _look_at(path, folder, say, kept=is_hub)
    return model


def _from_hub(named: str, folder: Path, say: Callable[[str], None]) -> Path:
    owner, _, rest = named.partition("/")
    repository, _, name = rest.partition("/")
    if not (owner and repository and name.endswith(".gguf")) or ".." in named:
        raise UnusableModel(f"MODEL=hf:{named} names no file: write hf:<owner>/<repository>/<file>.gguf.")
    target = folder / owner / repository
    if (path := target / name).is_file():
        return path
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    from huggingface_hub import constants, get_session, hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError, RepositoryNotFoundError

    def unreachable(error: Exception) -> UnusableModel:
        return UnusableModel(
            f"MODEL=hf:{named} was not loaded: the hub cannot be reached ({_reason(error)}); "
            "check the network, or give MODEL the path of a file."
        )

    try:
        # Any answer will do. hf_hub_download would try for 20 seconds where there is none.
        get_session().head(constants.ENDPOINT, timeout=10)
    except Exception as error:
        raise unreachable(error) from None
    say(f"Loading {name} of {owner}/{repository} into {target} (once) …")
    try:
        # A download that broke off goes on where it was: its part lies below `target` in .cache.
        return Path(hf_hub_download(f"{owner}/{repository}", name, local_dir=target))
    except LocalEntryNotFoundError as error:
        raise unreachable(error) from None
    except RepositoryNotFoundError:
        problem = f"the hub has no repository {owner}/{repository} that is open to you (HF_TOKEN opens closed ones)"
    except EntryNotFoundError:
        problem = f"the repository {owner}/{repository} has no file {name}"
    except Exception as error:
        # Whatever else: a connection that breaks, a full disk, a name that the hub does not allow.
        problem = f"the download broke off ({_reason(error)}); the same command goes on with it"
    raise UnusableModel(f"MODEL=hf:{named} was not loaded: {problem}.")


def _reason(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _look_at(path: Path, folder: Path, say: Callable[[str], None], *, kept: bool) -> None:
    """Say the file's SHA-256, and whether it is another than before. Raises ``UnusableModel`` for a changed download."""
    book = folder / "sha256.json"
    try:
        known = json.loads(book.read_text())
    except (OSError, ValueError):
        known = {}
    about = path.stat()
    before, stamp = known.get(str(path)), [about.st_size, about.st_mtime_ns]
    if before and before["stamp"] == stamp:
        say(f"{path.name}: SHA-256 {before['sha256']}.")
        return
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if before and before["sha256"] != digest:
        if kept:
            raise UnusableModel(
                f"{path} is not what was loaded (SHA-256 {digest}, not {before['sha256']}): delete it, and it is loaded anew."
            )
        say(f"{path} has changed: SHA-256 {digest}, before {before['sha256']}.")
    else:
        say(f"{path.name}: SHA-256 {digest}.")
    known[str(path)] = {"sha256": digest, "stamp": stamp}
    new = book.with_name(f"{book.name}.{os.getpid()}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        new.write_text(json.dumps(known, indent=1))
        new.replace(book)
    except OSError as error:
        raise UnusableModel(f"The model's SHA-256 cannot be remembered in {folder} ({error.strerror}).") from None
