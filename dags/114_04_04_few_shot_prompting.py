"""
# 114.4.4 Few-Shot Prompting

Some tasks are easier to show than to explain. Lumen & Oak sorts its mail by examples: letters that a colleague once gave to
the right team. This pipeline picks for each letter the examples that are like it but not like each other. It keeps them within an
estimated token budget and sends them in two formats. It then measures on 24 labelled letters, none of them an example, what the examples are worth.

| Checklist item | Tasks that show it |
|---|---|
| Add example pairs | `load_examples`, `sort_letters` |
| Dynamic example selection | `choose_examples`, `report_accuracy` |
| Example formatting | `sort_letters`, `report_accuracy` |
| Token budget management | `fit_into_budget`, `sort_letters` |

**Try it**: open `report_accuracy` under *Storage → XCom*. Each row is one task of `sort_letters`: a way to choose the examples, a
format, how many letters went to the right team, and the 95 % interval of that share. *shots* and *tokens* are the examples and
the prompt tokens in a call, on average; *your letter* is the team for the *Letter* in the form, which counts in no share. The log
of each `sort_letters` shows what your letter was sent with. Press *Trigger*, write another *Letter* and set *Token budget* to 60:
*shots* falls to 1 or less. Compare *right* with the table below. A letter that is too long for the budget fails before any prompt
is sent.

The budget is for one call: instructions, examples, letter and answer. It is counted before the call with OpenAI's tokenizer. An
example is two messages, and each message takes 4 tokens besides its text. *tokens* is what the provider counted. Offline that is
another model, so *tokens* can be more than the budget, as here.

**You should see** (offline):

| way              | right    |   shots |   tokens | your letter   | interval    |
|:-----------------|:---------|--------:|---------:|:--------------|:------------|
| none, as turns   | 16 of 24 |       0 |       43 | support       | 46% to 82%  |
| fixed, as turns  | 22 of 24 |     3.8 |      138 | support       | 72% to 99%  |
| chosen, as turns | 23 of 24 |     3.8 |      137 | support       | 78% to 100% |
| chosen, as block | 16 of 24 |     3.8 |      143 | support       | 46% to 82%  |

**SDK or own code?** The chat API has no field for examples: they are messages, so each format is a few lines of your own code.
The lesson calls the client of [OpenAIHook](https://airflow.apache.org/docs/apache-airflow-providers-openai/stable/_api/airflow/providers/openai/hooks/index.html)
because the hook's own method drops the token usage. Each row of the table is a
[mapped task](https://airflow.apache.org/docs/apache-airflow/stable/authoring-and-scheduling/dynamic-task-mapping.html).

**In production**: compare intervals before you say that one way is better; 24 letters show only large differences. The offline
model compares a letter with earlier turns and hardly reads a block, so measure the formats again with your own model. Examples
are data with an owner: a wrong label is learned too, and a name in a letter goes to the provider with every call. Each example is
paid for in every call, so keep them only if they help. A retry of `sort_letters` pays for all its letters again.

**Builds on** [4.3 System Prompts and Personas](114_04_03_system_prompts_personas.py) · **Next** [4.5 Chain of Thought Prompting](114_04_05_chain_of_thought_prompting.py)
"""

import json
import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.openai.hooks.openai import OpenAIHook
from airflow.sdk import Param, dag, task

from llmkit import prompts, tables, tokens

log = logging.getLogger(__name__)
TICKETS = Path(__file__).parents[1] / "include" / "data" / "tickets.json"
MODEL, TEAMS, MOST_SHOTS = "gpt-4o-mini", ["support", "sales", "accounting"], 6
LETTER = "My reading light hums all evening."
FORMATS = {"turns": "sort_by_example", "block": "sort_in_block"}
TRIALS = [["none", "turns"], ["fixed", "turns"], ["chosen", "turns"], ["chosen", "block"]]


def tickets(purpose: str) -> list[dict]:
    """The letters that serve as examples, or those for the test."""
    return [ticket for ticket in json.loads(TICKETS.read_text()) if ticket["for"] == purpose]


def messages(prompt: prompts.Prompt, letter: str, examples: list[dict]) -> list[dict[str, str]]:
    """A letter with its examples: as earlier turns of the conversation, or in one block of text if the prompt has a place."""
    if "examples" in prompt.variables:
        return [{"role": "user", "content": prompt.render(teams=TEAMS, examples=examples, ticket=letter)}]
    turns = [{"role": "system", "content": prompt.render(teams=TEAMS)}]
    for example in examples:
        turns.append({"role": "user", "content": example["text"]})
        turns.append({"role": "assistant", "content": example["team"]})
    return [*turns, {"role": "user", "content": letter}]


@dag(
    dag_id=Path(__file__).stem,
    dag_display_name="114.4.4 · Few-Shot Prompting",
    doc_md=__doc__,
    tags=["reference", "patterns", "intermediate", "success"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5), "execution_timeout": timedelta(minutes=5)},
    params={
        "letter": Param(
            LETTER, type="string", title="Letter", description="1 to 120 characters.", minLength=1, maxLength=120
        ),
        "budget": Param(
            130, type="integer", title="Token budget", description="Tokens a call, 60 to 300.", minimum=60, maximum=300
        ),
    },
)
def few_shot_prompting() -> Any:
    @task
    def load_examples() -> list[dict]:
        """Add example pairs: what a customer wrote, and the team that a colleague chose. They are data, not prompt text."""
        return [{"id": t["id"], "text": t["text"], "team": t["team"]} for t in tickets("examples")]

    @task
    def choose_examples(pool: list[dict], params: dict) -> list[dict]:
        """Dynamic example selection: for each letter the examples that are like it, but not like each other. Best first."""
        from llmkit.similarity import mmr

        letters = [*tickets("test"), {"text": params["letter"], "team": None}]
        vectors = OpenAIHook().create_embeddings([each["text"] for each in [*letters, *pool]])
        asked, known = vectors[: len(letters)], vectors[len(letters) :]
        # The pool has 8 letters of each team in turn: a step of 8 takes one of each.
        fixed = [*pool[::8], *pool[4::8]]
        for letter, vector in zip(letters, asked, strict=True):
            best = mmr(vector, known, MOST_SHOTS)
            letter.update(none=[], fixed=fixed, chosen=[pool[index] for index in best])
        return letters

    @task(retries=0)  # A letter that does not fit will not fit later.
    def fit_into_budget(letters: list[dict], params: dict) -> list[dict]:
        """Token budget management: instructions, letter and answer come first; the best examples get what is left."""
        prompt = prompts.load(FORMATS["turns"])
        budget = tokens.Budget(context=params["budget"], answer=prompt.settings["max_tokens"], model=MODEL)
        for letter in letters:
            bare = [message["content"] for message in messages(prompt, letter["text"], [])]
            for way in ("fixed", "chosen"):
                pairs = [[example["text"], example["team"]] for example in letter[way]]
                fitting = len(budget.fit(bare, examples=pairs).examples)
                # The last example weighs most, so the best one goes there.
                letter[way] = letter[way][:fitting][::-1]
        return letters

    @task
    def sort_letters(trial: list[str], letters: list[dict]) -> dict[str, Any]:
        """Example formatting: all letters in one format. Add example pairs: with examples that are chosen in one way."""
        way, form = trial
        client, prompt = OpenAIHook().conn, prompts.load(FORMATS[form])
        right = shots = used = 0
        for letter in letters:
            asked = messages(prompt, letter["text"], letter[way])
            reply = client.chat.completions.create(model=MODEL, messages=asked, **prompt.settings)
            answer = (reply.choices[0].message.content or "").strip(" .\n").lower()
            right += answer == letter["team"]
            shots += len(letter[way])
            used += reply.usage.prompt_tokens
        log.info("Your letter is sent as %s", json.dumps(asked))
        means = {"shots": round(shots / len(letters), 1), "tokens": round(used / len(letters))}
        return {"way": f"{way}, as {form}", "right": right, **means, "your letter": answer}

    @task
    def report_accuracy(trials: list[dict]) -> list[dict]:
        """Dynamic example selection: what it is worth. Example formatting: what the format changes. Every way stays in the table."""
        rows, of = [], len(tickets("test"))
        for trial in trials:
            # The 95 % interval by Agresti and Coull, as if two more letters were right and two more wrong.
            share = (trial["right"] + 2) / (of + 4)
            half = 2 * (share * (1 - share) / (of + 4)) ** 0.5
            interval = f"{max(share - half, 0):.0%} to {min(share + half, 1):.0%}"
            rows.append({**trial, "right": f"{trial['right']} of {of}", "interval": interval})
        return tables.logged(log, rows)

    fitted = fit_into_budget(choose_examples(load_examples()))
    return report_accuracy(sort_letters.partial(letters=fitted).expand(trial=TRIALS))


few_shot_prompting()
