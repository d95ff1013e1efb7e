"""
# 114.4.4 Few-Shot Prompting

Some things are shown faster than they are explained. Lumen & Oak sorts its mail by examples: letters that a colleague once gave
to the right team. Which examples go into the prompt is decided for each letter, by what it is like, and how many is decided by
the tokens that they may cost. Whether any of this helps is measured on 24 labelled letters that are not among the examples.

| Checklist item | Tasks that show it |
|---|---|
| Add example pairs | `load_examples`, `sort_letters` |
| Dynamic example selection | `choose_examples`, `report_accuracy` |
| Example formatting | `format_examples`, `sort_letters`, `report_accuracy` |
| Token budget management | `fit_into_budget`, `sort_letters` |

**Try it**: `report_accuracy` has the share of right answers without examples, with fixed ones, and with chosen ones, in two formats.
Write a letter of your own into the form and see in `format_examples` what would be sent with it. Lower *Token budget* to 60:
`fit_into_budget` has no room for all examples any more, and the accuracy falls.

**In production**: examples are data with an owner, and wrong ones are learned as well. Embed them once and keep the vectors in a
store. The last example weighs most, so the nearest one goes there. Measure on letters that the examples were not taken from, or you
measure copying; and if instructions alone do as well, take the instructions: each example is paid with every call.
"""

import json
from collections import Counter
from datetime import timedelta
from pathlib import Path

from airflow.providers.openai.hooks.openai import OpenAIHook
from airflow.sdk import Param, dag, task

from llmkit import prompts, tokens

TICKETS = Path(__file__).parents[1] / "include" / "data" / "tickets.json"
MODEL, TEAMS = "gpt-4o-mini", ["support", "sales", "accounting"]
WAYS = ["none", "fixed", "chosen"]
FORMATS = ["turns", "block"]


def tickets(purpose: str) -> list[dict]:
    """The letters that serve as examples, or for the test."""
    return [ticket for ticket in json.loads(TICKETS.read_text()) if ticket["for"] == purpose]


def messages(ticket: str, examples: list[dict], format: str) -> list[dict[str, str]]:
    """The prompt with its examples: as earlier turns of the conversation, or as a block of text."""
    if format == "block":
        prompt = prompts.load("sort_in_block").render(teams=TEAMS, examples=examples, ticket=ticket)
        return [{"role": "user", "content": prompt}]
    turns = [{"role": "system", "content": prompts.load("sort_by_example").render(teams=TEAMS)}]
    for example in examples:
        turns += [{"role": "user", "content": example["text"]}, {"role": "assistant", "content": example["team"]}]
    return [*turns, {"role": "user", "content": ticket}]


def within_budget(ticket: str, examples: list[dict], budget: int) -> list[dict]:
    """As many of the best examples as ``budget`` tokens hold beside instructions, letter and answer; the best one last."""
    prompt = "\n".join(message["content"] for message in messages(ticket, [], "turns"))
    texts = [f"{example['text']} {example['team']}" for example in examples]
    kept = tokens.Budget(context=budget, answer=5, model=MODEL).fit(prompt, examples=texts).examples
    return examples[: len(kept)][::-1]


@dag(
    dag_id=Path(__file__).stem,
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    tags=["reference", "patterns", "intermediate", "success"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5), "execution_timeout": timedelta(minutes=5)},
    params={
        "letter": Param("My reading light hums all evening.", type="string", title="Letter", minLength=1),
        "shots": Param(3, type="integer", title="Examples", description="In each prompt.", minimum=1, maximum=12),
        "budget": Param(150, type="integer", title="Token budget", description="Of a whole call.", minimum=50),
    },
)
def few_shot_prompting() -> None:
    @task
    def load_examples() -> list[dict]:
        """Add example pairs: what was asked, and what a colleague answered; data, and not a part of the prompt's text."""
        return [{"id": t["id"], "text": t["text"], "team": t["team"]} for t in tickets("examples")]

    @task
    def choose_examples(pool: list[dict], params: dict) -> dict[str, list[list[str]]]:
        """Dynamic example selection: for each letter the examples that are like it and not like each other, best first."""
        from llmkit.similarity import mmr

        letters = [ticket["text"] for ticket in tickets("test")] + [params["letter"]]
        vectors = OpenAIHook().create_embeddings([*letters, *(example["text"] for example in pool)])
        asked, known = vectors[: len(letters)], vectors[len(letters) :]
        chosen = [[pool[i]["id"] for i in mmr(vector, known, params["shots"])] for vector in asked]
        # One of each team in turn, the same for all letters.
        by_team = zip(*([e["id"] for e in pool if e["team"] == team] for team in TEAMS), strict=False)
        fixed = [name for row in by_team for name in row][: params["shots"]]
        return {"none": [[] for _ in letters], "fixed": [fixed for _ in letters], "chosen": chosen}

    @task
    def fit_into_budget(pool: list[dict], chosen: dict[str, list[list[str]]], params: dict) -> dict:
        """Token budget management: what instructions, letter and answer leave is for examples, the best ones first."""
        by_id = {example["id"]: example for example in pool}
        fitting = {
            way: [within_budget(ticket["text"], [by_id[name] for name in names], params["budget"]) for ticket, names in
                  zip([*tickets("test"), {"text": params["letter"]}], lists, strict=True)]
            for way, lists in chosen.items()
        }  # fmt: skip
        counted = {way: dict(Counter(str(len(examples)) for examples in lists)) for way, lists in fitting.items()}
        return {"examples": fitting, "letters by how many examples fit": counted}

    @task
    def format_examples(fitted: dict, params: dict) -> dict[str, list]:
        """Example formatting: as turns, which chat models are trained on, and as a block, which needs no chat."""
        return {each: messages(params["letter"], fitted["examples"]["chosen"][-1], each) for each in FORMATS}

    @task
    def list_trials() -> list[dict[str, str]]:
        """Example formatting: each way to choose in each format is a trial."""
        return [{"way": way, "format": each} for way in WAYS for each in FORMATS]

    @task
    def sort_letters(trial: dict[str, str], fitted: dict) -> dict:
        """Add example pairs: 24 letters by one way and format, and how many go to the right team. Example formatting."""
        hook, right = OpenAIHook(), 0
        for ticket, examples in zip(tickets("test"), fitted["examples"][trial["way"]], strict=False):
            asked = messages(ticket["text"], examples, trial["format"])
            said = hook.create_chat_completion(asked, model=MODEL, temperature=0, max_tokens=5)[0].message.content
            right += said.strip().lower().startswith(ticket["team"])
        return {**trial, "right": right, "of": len(tickets("test"))}

    @task
    def report_accuracy(trials: list[dict]) -> str:
        """Dynamic example selection: what it is worth, reported as it is, also where it is worth nothing."""
        found = {(trial["way"], trial["format"]): f"{trial['right']} of {trial['of']}" for trial in trials}
        rows = [f"| {way} | " + " | ".join(found[way, each] for each in FORMATS) + " |" for way in WAYS]
        return "\n".join([f"| examples | {' | '.join(FORMATS)} |", "|---|---|---|", *rows])

    pool = load_examples()
    fitted = fit_into_budget(pool, choose_examples(pool))
    format_examples(fitted)
    report_accuracy(sort_letters.partial(fitted=fitted).expand(trial=list_trials()))


few_shot_prompting()
