"""``python -m keyless``: serve on loopback until Ctrl-C."""

from __future__ import annotations

import argparse
import logging
import os
import socket
import sys
from functools import partial
from pathlib import Path

import uvicorn

from keyless.mind.download import find_model
from keyless.mind.weights import UnusableModel

DEFAULT_PORT = 11400


def main(argv: list[str] | None = None) -> int:
    """Exit status: 0 after Ctrl-C, 1 when the port is taken or the model cannot be used; uvicorn exits with 3 when a model does not load."""
    parser = argparse.ArgumentParser(prog="python -m keyless", description=__doc__)
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help="port on 127.0.0.1 (default: %(default)s)")
    parser.add_argument(
        "--threads",
        type=int,
        default=os.environ.get("KEYLESS_THREADS") or None,
        help="threads of the language model (default: KEYLESS_THREADS, else the physical cores, one fewer if there are three or more, at most 4)",
    )
    parser.add_argument(
        "--model",
        help="a chat model that answers everything: a .gguf file, or hf:<owner>/<repository>/<file>.gguf, loaded once into COURSE_STATE/models (default: .state/models)",
    )
    parser.add_argument("--log-level", default="warning", choices=["debug", "info", "warning", "error"])
    parser.add_argument(
        "--keep-bodies",
        action="store_true",
        default=os.environ.get("KEYLESS_KEEP_BODIES", "").lower() in ("1", "true", "yes"),
        help="keep what requests said, for GET /_keyless/requests (default: KEYLESS_KEEP_BODIES, else off)",
    )
    args = parser.parse_args(argv)
    logging.basicConfig(level=args.log_level.upper(), format="%(levelname)s %(name)s: %(message)s")
    # Taken before the models load, so that a taken port is told at once.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", args.port))
    except OSError as error:
        sys.stderr.write(f"keyless: port {args.port} is taken ({error.strerror}); choose another with --port\n")
        return 1
    try:
        folder = Path(os.environ.get("COURSE_STATE") or ".state").expanduser().resolve() / "models"
        model = find_model(args.model, folder, partial(print, file=sys.stderr)) if args.model else None
    except UnusableModel as error:
        sys.stderr.write(f"{error}\n")
        return 1
    # After the model is known to be of use: what follows loads for seconds.
    from keyless.app import create_app

    config = uvicorn.Config(
        create_app(args.threads, model=model, keep_bodies=args.keep_bodies),
        log_level=args.log_level,
        access_log=False,
        timeout_graceful_shutdown=2,
    )
    uvicorn.Server(config).run(sockets=[listener])
    return 0


if __name__ == "__main__":
    sys.exit(main())
