"""
# 114.4.5 Chain of Thought Prompting

Ask a small model for the total of an order at once, and it guesses. If a worked example shows it how to calculate line by line,
it is often right, and a program can check each line. Lumen & Oak checks the lines, asks again when one is wrong, and lets the
chains that passed vote on the total.

| Checklist item | Tasks that show it |
|---|---|
| Implement CoT patterns | `list_orders`, `reason_in_steps` |
| Step-by-step reasoning | `answer_directly`, `reason_in_steps`, `vote` |
| Parse intermediate steps | `reason_in_steps` |
| Validate reasoning chains | `reason_in_steps`, `vote` |

**Try it**: open `vote` under *Storage → XCom*. It has one row for each order: the answer at once, the first answer of one chain,
unchecked, the vote of the chains that passed the check, and how many texts were rejected. The XCom of `reason_in_steps` has the
typed steps and the reasons. Press *Trigger* and write an *Order* with large numbers, such as "731 desks at 399 EUR plus 57 EUR
delivery". Offline the small model gets it wrong, no chain passes, and the vote has no answer instead of
a wrong one. With more *Tries* it asks again more often.

**You should see** (offline):

| order                                 |   total | direct       |   1 chain |   by vote |   rejected |
|:--------------------------------------|--------:|:-------------|----------:|----------:|-----------:|
| 3 hooks at 4 EUR plus 2 EUR delivery  |      14 | 8            |        14 |        14 |          2 |
| 2 clips at 3 EUR and 4 plugs at 1 EUR |      10 | 70 pounds of |        10 |        10 |          0 |

**SDK or own code?** With a typed output (`@task.llm(output_type=…)`, see 1.4) a large model returns steps that need no parsing.
The check stays your own code: no SDK knows which numbers an order has. The votes are
[mapped tasks](https://airflow.apache.org/docs/apache-airflow/stable/authoring-and-scheduling/dynamic-task-mapping.html), the calls go through
[OpenAIHook](https://airflow.apache.org/docs/apache-airflow-providers-openai/stable/_api/airflow/providers/openai/hooks/index.html).

**In production**: two orders show how it works; they measure nothing, so test on hundreds. A chain that passes the check can
still misread the order, and every vote is paid for. Here one valid chain is enough, and the earliest wins a tie: ask for a
majority where a wrong total is costly. The check reads whole numbers alone; in 4.50 or 1,200 it sees two. Large models
add up such orders at once, and reasoning models need no such prompt; check their results all the same. OpenAI treats a seed as a
wish, not as a guarantee. For real invoices let the model call a function that calculates (2.3).

**Builds on** [4.4 Few-Shot Prompting](114_04_04_few_shot_prompting.py) · **Next** [7.1 No Rate Limit Handling](114_07_01_no_rate_limit_antipattern.py)
"""

import json
import logging
import re
from datetime import timedelta
from pathlib import Path
from statistics import mode
from typing import Any, Literal

from airflow.providers.openai.hooks.openai import OpenAIHook
from airflow.sdk import Param, dag, task
from pydantic import BaseModel

from llmkit import prompts, tables

log = logging.getLogger(__name__)
SUMS = Path(__file__).parents[1] / "include" / "data" / "sums.json"
SEEDS = [0, 100, 200]  # One chain each. Offline the same seed gives the same text, so equal seeds would be one vote.
OPERATIONS = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__}


class Step(BaseModel):
    """One line of a chain, in a form that can be checked."""

    left: int
    operation: Literal["+", "-", "*"]
    right: int
    result: int


def parse(text: str) -> tuple[list[Step], int | None]:
    """The steps in a model's text, and its answer. Everything else in the text is left out."""
    lines = re.findall(r"(\d+) ([*+-]) (\d+) = (\d+)", text)
    steps = [Step(left=a, operation=o, right=b, result=r) for a, o, b, r in lines]
    answer = re.search(r"Answer: (\d+)", text)
    return steps, int(answer[1]) if answer else None


def fault(order: str, steps: list[Step], answer: int | None) -> str | None:
    """What is wrong with a chain. Each step uses up two numbers and adds its result; only the answer may be left."""
    numbers = [int(number) for number in re.findall(r"\d+", order)]
    for step in steps:
        if OPERATIONS[step.operation](step.left, step.right) != step.result:
            return f"{step.left} {step.operation} {step.right} is not {step.result}"
        for number in (step.left, step.right):
            if number not in numbers:
                return f"{number} is neither in the order nor a result"
            numbers.remove(number)
        numbers.append(step.result)
    return None if numbers == [answer] else f"the steps leave {numbers}, and the answer is {answer}"


def ask(way: str, order: dict, **settings: int) -> str:
    """The model's text about one order, after the worked example of its shape."""
    prompt, example = prompts.load(way), order["example"]
    turns = [("user", example["order"]), ("assistant", example[way]), ("user", order["order"])]
    messages = [{"role": role, "content": text} for role, text in [("system", prompt.render()), *turns]]
    reply = OpenAIHook().create_chat_completion(messages, "gpt-4o-mini", **prompt.settings, **settings)
    return (reply[0].message.content or "").strip()


@dag(
    dag_id=Path(__file__).stem,
    dag_display_name="114.4.5 · Chain of Thought Prompting",
    doc_md=__doc__,
    tags=["reference", "patterns", "advanced", "success"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5), "execution_timeout": timedelta(minutes=5)},
    params={
        "tries": Param(2, type="integer", title="Tries", description="Calls per chain, 1 to 5.", minimum=1, maximum=5),
        "order": Param(None, type=["null", "string"], title="Order", description="One more, in whole EUR, or none."),
    },
)
def chain_of_thought_prompting() -> Any:
    @task
    def list_orders(params: dict) -> list[dict]:
        """Implement CoT patterns: each order with a worked example of its shape. Yours gets the one with a delivery."""
        orders = json.loads(SUMS.read_text())
        yours = {**orders[0], "order": params["order"], "total": None}
        return [*orders, yours] if params["order"] else orders

    @task
    def answer_directly(orders: list[dict]) -> list[str]:
        """Step-by-step reasoning: left out here, to compare with. The worked example shows only the total."""
        return [ask("add_up", each) for each in orders]

    @task
    def reason_in_steps(seed: int, orders: list[dict], params: dict) -> list[dict]:
        """Parse intermediate steps: think in steps, read them, check them, and ask again if the chain is broken."""
        chains = []
        for each in orders:
            chain: dict[str, Any] = {"answers": [], "rejected": [], "valid": None}
            for attempt in range(params["tries"]):
                steps, answer = parse(ask("add_up_in_steps", each, seed=seed + attempt))
                chain["answers"].append(answer)
                if (wrong := fault(each["order"], steps, answer)) is None:
                    chain |= {"valid": answer, "steps": [step.model_dump() for step in steps]}
                    break
                chain["rejected"].append(wrong)
            chains.append(chain)
        return chains

    @task
    def vote(orders: list[dict], direct: list[str], chains: list[list[dict]]) -> list[dict]:
        """Validate reasoning chains: the answer of most valid chains (self-consistency). Step-by-step reasoning: compared."""
        rows = []
        for each, at_once, *of_order in zip(orders, direct, *chains, strict=True):
            valid = [chain["valid"] for chain in of_order if chain["valid"] is not None]
            row = {"order": each["order"], "total": each["total"], "direct": at_once}
            row["1 chain"] = of_order[0]["answers"][0]
            row["by vote"] = mode(valid) if valid else None
            row["rejected"] = sum(len(chain["rejected"]) for chain in of_order)
            rows.append(row)
        return tables.logged(log, rows)

    orders = list_orders()
    chains = reason_in_steps.partial(orders=orders).expand(seed=SEEDS)
    return vote(orders, answer_directly(orders), chains)


chain_of_thought_prompting()
