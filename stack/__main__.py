"""The commands behind the Makefile's targets."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys

from stack import processes, provider
from stack.database import socket_dir
from stack.settings import Settings, StackError
from stack.up import say, up
from stack.use import database_in_use, end_all, keep, up_lock


def down(settings: Settings) -> int:
    """Stop whatever runs on the state folder, the remains of a killed run too."""
    say("Stopped." if end_all(settings) else "Nothing was running.")
    return 0


def clean(settings: Settings, *, yes: bool) -> int:
    """Delete the state folder, after asking."""
    if not settings.state.exists():
        say("There is no state to delete.")
        return 0
    if not yes:
        try:
            answer = input(f"Delete {settings.state} with all runs, connections and vectors? [y/N] ")
        except EOFError:
            answer = ""
        if answer.strip().lower() not in ("y", "yes"):
            say("Kept.")
            return 1
    down(settings)
    shutil.rmtree(settings.state)
    say(f"Deleted {settings.state}.")
    return 0


def env(settings: Settings) -> int:
    """Print the exports that make plain ``airflow`` commands work; the database is started if it must be, and stays."""
    with database_in_use(settings) as database:
        keep(settings, database)
        variables = settings.environment(str(socket_dir(settings)))
    variables.pop("NO_PROXY"), variables.pop("no_proxy")
    if settings.keyless and up_lock(settings).holder() is None:
        sys.stderr.write(
            "Airflow's commands work now; lessons also need keyless, so keep `make up` running in another terminal.\n"
        )
    for name, value in variables.items():
        sys.stdout.write(f"export {name}={shlex.quote(value)}\n")
    return 0


def main(argv: list[str] | None = None) -> int:
    """Exit status of the command."""
    parser = argparse.ArgumentParser(prog="python -m stack", description=__doc__)
    sub = parser.add_subparsers(dest="command", required=True)
    sub.add_parser("up", help="start everything and stay")
    sub.add_parser("down", help="stop everything")
    sub.add_parser("clean", help="delete the state folder").add_argument(
        "--yes", action="store_true", help="do not ask"
    )
    sub.add_parser("env", help='print exports for a shell: eval "$(make -s env)"')
    one = sub.add_parser("lesson", help="run one lesson and show its answer")
    one.add_argument("dag", help="a lesson's id or the beginning of it, like 114_01_03")
    one.add_argument("-v", "--verbose", action="store_true", help="show the tasks' logs")
    one.add_argument("--conf", default=os.environ.get("COURSE_CONF"), help='params as JSON, like \'{"question": "…"}\'')
    sub.add_parser("course", help="run every lesson and print the table")
    sub.add_parser("costs", help="what the calls to models cost, by day, lesson and model")
    args = parser.parse_args(argv)
    try:
        settings = Settings.load()
        if args.command in ("up", "lesson", "course") and os.environ.get(processes.MARK) != str(settings.state):
            # Before anything starts: what is wrong with a model is said at once, and `make up` finds its path below.
            settings = provider.find_model(settings, say)
            if settings.model:
                os.environ["MODEL"] = settings.model
        if args.command == "up":
            if os.environ.get(processes.MARK) != str(settings.state):
                # Marked from its first instruction on, so that what it forks is known as ours even when it is killed.
                environment = {**os.environ, processes.MARK: str(settings.state)}
                os.execve(sys.executable, [sys.executable, "-m", "stack", "up"], environment)
            return up(settings)
        if args.command == "down":
            return down(settings)
        if args.command == "clean":
            return clean(settings, yes=args.yes)
        if args.command == "env":
            return env(settings)
        if args.command == "costs":
            from stack import costs

            return costs.show(settings)
        if args.command == "lesson":
            from stack import lesson

            return lesson.run_one(settings, args.dag, conf=args.conf, verbose=args.verbose)
        from stack import course

        return course.run_all(settings)
    except StackError as error:
        sys.stderr.write(f"{error}\n")
        return 1


if __name__ == "__main__":
    sys.exit(main())
