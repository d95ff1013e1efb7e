"""``make lesson``: run one lesson and show what came out."""

from __future__ import annotations

from stack import params, parsing
from stack.database import socket_dir
from stack.outline import find, outline
from stack.progress import Progress, listen
from stack.provider import who_answers
from stack.report import bill
from stack.runs import Outcome, execute
from stack.settings import Settings
from stack.terminal import Terminal
from stack.use import become, in_use


def run_one(settings: Settings, wanted: str, *, conf: str | None, verbose: bool) -> int:
    """Exit status 0 when the lesson ended as the outline says, or with ``conf`` when it ended at all.

    Raises ``StackError`` for params that are no JSON object; those that the lesson does not have are told before
    anything starts.
    """
    dag_id = find(settings, wanted)
    given = params.parsed(conf)
    settings.prepare()
    log = settings.logs / f"lesson-{dag_id}.log"
    log.write_text("")
    terminal = Terminal(log)
    lesson = outline().get(dag_id, {})
    terminal.say(f"{lesson.get('id', dag_id)} {lesson.get('title', '')}".strip())
    try:
        become(settings, socket_dir(settings))
        bag = parsing.parsed(settings, dag_id)
        params.check(bag.dags[dag_id], given or {})
        terminal.say(who_answers(settings))
        with in_use(settings, terminal.say):
            listen(Progress(terminal))
            outcome = execute(settings, dag_id, given, bag=bag, own_lines=terminal.say if verbose else None)
    except Exception as error:
        terminal.failed(error, log)
        return 1
    if outcome.error:
        terminal.say(f"It did not run: {outcome.error}")
    if outcome.result is not None:
        from llmkit import tables

        terminal.say(f"\n{tables.text(outcome.result)}")
    verdict, as_expected = _verdict(outcome, lesson.get("outcome", "success"), changed=bool(given))
    calls, tokens, cost = bill(outcome.spent)
    terminal.say(
        f"\n{outcome.state} ({verdict}) · {len(outcome.tasks)} tasks · {calls} LLM calls · {tokens} tokens · {cost} · {outcome.seconds:.1f} s"
    )
    if not as_expected or verbose:
        terminal.say(f"The whole log: {log}" + ("" if verbose else " (V=1 shows the tasks' own lines)."))
    return 0 if as_expected else 1


def _verdict(outcome: Outcome, expected: str, *, changed: bool) -> tuple[str, bool]:
    """What to say of the state, and whether all is well. The outline speaks of a lesson without params of the reader's."""
    if changed and outcome.run_id:
        return f"with its own params it ends {expected}; yours are different", True
    if outcome.ended(expected):
        return "as expected", True
    return f"expected was {expected}", False
