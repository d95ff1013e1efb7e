"""Where the installed packages that carry model weights lie."""

from importlib.util import find_spec
from pathlib import Path


def package_dir(name: str) -> Path:
    """The folder of an installed package, without importing it: only its data file is wanted.

    Raises ``RuntimeError`` when the package is missing.
    """
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"the package {name!r}, which carries a model, is not installed: run `make install`")
    return Path(spec.origin).parent
