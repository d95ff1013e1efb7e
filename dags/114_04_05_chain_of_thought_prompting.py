"""
# 114.4.5 Chain of Thought Prompting

Asked for the total of an order, a small model guesses. Asked to calculate line by line, as four examples show, it is mostly right,
and a program can check the lines. Lumen & Oak recalculates each, asks again where one is wrong, and lets several chains vote.

| Checklist item | Tasks that show it |
|---|---|
| Implement CoT patterns | `compare_patterns`, `reason_in_steps` |
| Step-by-step reasoning | `answer_directly`, `reason_in_steps`, `report_accuracy` |
| Parse intermediate steps | `reason_in_steps`, `list_steps` |
| Validate reasoning chains | `reason_in_steps`, `vote` |

**Try it**: `report_accuracy` compares guess, first chain and vote on four orders with known totals. `vote` lists the lines for which
chains were thrown away. Write an order with large numbers: no chain is valid, and `vote` has no answer.

**In production**: models that think by themselves need no such prompt, but the check is as useful: have steps in a form that a
program can verify. A valid chain can have misread the question, and each is paid for: a tool calculates better (114.2.3).
"""

import json
import re
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Literal

from airflow.providers.openai.hooks.openai import OpenAIHook
from airflow.sdk import Param, dag, task
from pydantic import BaseModel

from llmkit import prompts

SUMS = json.loads((Path(__file__).parents[1] / "include" / "data" / "sums.json").read_text())
OPERATIONS = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__}
STEP = re.compile(r"(\d+) ([*+-]) (\d+) = (\d+)")


class Step(BaseModel):
    """One line of a chain, in a form that can be checked."""

    left: int
    operation: Literal["+", "-", "*"]
    right: int
    result: int


def parse(text: str) -> tuple[list[Step], int | None]:
    """The steps in a model's text, and its answer; what is neither is left out."""
    answers = re.findall(r"Answer: (\d+)", text)
    steps = [Step(left=a, operation=o, right=b, result=r) for a, o, b, r in STEP.findall(text)]
    return steps, int(answers[0]) if answers else None


def fault(order: str, steps: list[Step], answer: int | None) -> str | None:
    """What is wrong with a chain: a sum, a number from nowhere, or an answer that its last step does not give."""
    known = set(map(int, re.findall(r"\d+", order)))
    for step in steps:
        if unknown := {step.left, step.right} - known:
            return f"{unknown.pop()} is neither in the order nor a result"
        if OPERATIONS[step.operation](step.left, step.right) != step.result:
            return f"{step.left} {step.operation} {step.right} is not {step.result}"
        known.add(step.result)
    return None if steps and answer == steps[-1].result else "the answer is not what the last step gives"


def ask(way: str, order: str, **settings: float) -> str:
    """The model's text about one order, after the worked examples of ``way``."""
    prompt = prompts.load(way)
    messages = [{"role": "system", "content": prompt.render()}]
    for shown in SUMS["examples"]:
        messages += [{"role": "user", "content": shown["order"]}, {"role": "assistant", "content": shown[way]}]
    messages.append({"role": "user", "content": order})
    settings = {**prompt.settings, **settings}
    return OpenAIHook().create_chat_completion(messages, "gpt-4o-mini", **settings)[0].message.content


@dag(
    dag_id=Path(__file__).stem,
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    tags=["reference", "patterns", "advanced", "success"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5), "execution_timeout": timedelta(minutes=5)},
    params={
        "chains": Param(3, type="integer", title="Chains", description="With a vote each.", minimum=1, maximum=9),
        "tries": Param(3, type="integer", title="Tries", description="For a valid chain.", minimum=1, maximum=5),
        "order": Param("5 hooks at 2 EUR, delivery 3 EUR", type="string", title="An order of your own", minLength=1),
    },
)
def chain_of_thought_prompting() -> None:
    @task
    def compare_patterns() -> dict[str, str]:
        """Implement CoT patterns: a worked example with its total alone, and with the way to it, which the model imitates."""
        return {way: SUMS["examples"][0][way] for way in ("add_up", "add_up_in_steps")}

    @task
    def list_orders(params: dict) -> list[dict]:
        """Step-by-step reasoning: four orders with their totals, and yours, whose total we do not know."""
        return [*SUMS["orders"], {"order": params["order"], "total": None}]

    @task
    def answer_directly(orders: list[dict]) -> list[str]:
        """Step-by-step reasoning: without steps, to compare with."""
        return [ask("add_up", each["order"]).strip() for each in orders]

    @task
    def list_seeds(params: dict) -> list[int]:
        """Validate reasoning chains: each of them is a mapped task, with a seed of its own."""
        return [100 * number for number in range(params["chains"])]

    @task
    def reason_in_steps(seed: int, orders: list[dict], params: dict) -> list[dict]:
        """Implement CoT patterns: think, parse, check, and think again where the chain is broken."""
        found = []
        for each in orders:
            rejected: list[str] = []
            for attempt in range(params["tries"]):
                steps, answer = parse(ask("add_up_in_steps", each["order"], seed=seed + attempt))
                if (wrong := fault(each["order"], steps, answer)) is None:
                    break
                rejected.append(wrong)
            chain = {"steps": [step.model_dump() for step in steps], "answer": answer}
            found.append({**chain, "valid": not wrong, "rejected": rejected})
        return found

    @task
    def list_steps(chains: list[list[dict]], orders: list[dict]) -> dict[str, list[str]]:
        """Parse intermediate steps: each is typed, so it can be shown, stored and recalculated; here the first seed's."""
        typed = [map(Step.model_validate, chain["steps"]) for chain in chains[0]]
        lines = [[f"{s.left} {s.operation} {s.right} = {s.result}" for s in steps] for steps in typed]
        return {each["order"]: shown for each, shown in zip(orders, lines, strict=True)}

    @task
    def vote(chains: list[list[dict]], orders: list[dict]) -> dict[str, dict]:
        """Validate reasoning chains: the answer that most valid ones came to (self-consistency), and what was rejected."""
        votes = {}
        for each, of_order in zip(orders, zip(*chains, strict=True), strict=True):
            valid = Counter(chain["answer"] for chain in of_order if chain["valid"]).most_common(1)
            rejected = [why for chain in of_order for why in chain["rejected"]]
            votes[each["order"]] = {"answer": valid[0][0] if valid else None, "rejected": rejected}
        return votes

    @task
    def report_accuracy(orders: list[dict], direct: list[str], chains: list[list[dict]], votes: dict) -> dict[str, str]:
        """Step-by-step reasoning: right answers of each way, as they are."""
        totals = [str(each["total"]) for each in orders if each["total"] is not None]
        ways = {"directly": direct, "by the first chain": [chain["answer"] for chain in chains[0]]}
        ways["by vote"] = [votes[each["order"]]["answer"] for each in orders]
        right = {way: sum(str(a) == b for a, b in zip(found, totals, strict=False)) for way, found in ways.items()}
        return {way: f"{count} of {len(totals)}" for way, count in right.items()}

    orders = list_orders()
    chains = reason_in_steps.partial(orders=orders).expand(seed=list_seeds())
    compare_patterns() >> chains
    list_steps(chains, orders)
    report_accuracy(orders, answer_directly(orders), chains, vote(chains, orders))


chain_of_thought_prompting()
