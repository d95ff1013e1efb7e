"""
# 114.4.2 Prompt Versioning

Lumen & Oak sorts its mail with a prompt. Somebody offers a new one, and two questions are open: is it really better, and how do
we get back if it is not? Here prompts are files, a hash of the text identifies each version, and an alias in a database says which
version is in use. The new version sorts the letters of one half of the customers. It goes into production only if its lead is
larger than luck explains.

| Checklist item | Tasks that show it |
|---|---|
| Store prompts externally | `release_versions`, `sort_arm` |
| Version control prompts | `report_experiment` |
| A/B testing prompts | `assign_arms`, `sort_arm`, `promote_winner` |
| Rollback prompt versions | `use_promoted`, `roll_back`, `use_rolled_back` |

**Try it**: open `report_experiment`, *Storage → XCom*. *Trigger* the DAG with *Letters* at 40 and *Share* at 0.25: the interval
of the lead then reaches below 0, and nothing is promoted. Then trigger it with 120 letters and *Keep the winner*: there is no roll-back,
and version 2 is in production when the run ends. In the next run both arms have version 2: any lead is luck, and nothing is promoted.

**You should see** (offline):

| arm        |   right |   share |   letters |   version |
|:-----------|--------:|--------:|----------:|----------:|
| production |      30 |    0.51 |        59 |         1 |
| candidate  |      45 |    0.74 |        61 |         2 |

- lead of the candidate: +0.06 to +0.38 (95 % interval)
- promoted: yes
- one letter after the experiment: version 2: accounting
- the same letter at the end: version 1: support

| at       | why                                | alias      | text         | action             |
|:---------|:-----------------------------------|:-----------|:-------------|:-------------------|
| 07:19:19 | the first version                  | production | 17327c4b76b3 | promote version 1  |
| 07:19:19 | says what each team does           | candidate  | 530636af3197 | promote version 2  |
| 07:19:24 | 0.06 to 0.38 better than version 1 | production | 530636af3197 | promote version 2  |
| 07:19:24 | to show how it is done             | production | 17327c4b76b3 | rollback version 1 |

**SDK or own code?** The Responses API takes a [stored prompt by id and version](https://developers.openai.com/api/docs/guides/text),
for one provider and without your pull requests. Here the texts are files and `llmkit.prompts.releases` keeps the aliases.
Each arm is a [mapped task](https://airflow.apache.org/docs/apache-airflow/stable/authoring-and-scheduling/dynamic-task-mapping.html).

**In production**: assign by something that stays, such as the customer, or one person meets both versions. Fix the number of
letters before you start: if you look every day and stop at the first good day, luck wins. If you have labelled letters, give all
of them to both versions and compare letter by letter: that needs fewer. If somebody edits the file that is in production, the next run
stops in `release_versions`, because the digest no longer fits. Each arm asks for one letter after the other, and a retry pays for all
of them again: with thousands of letters, map over batches. The shares are those of the small offline model: with a real key, measure
your own.

**Builds on** [4.1 Prompt Templating](114_04_01_prompt_templating.py) · **Next** [4.3 System Prompts and Personas](114_04_03_system_prompts_personas.py)
"""

import json
import logging
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.providers.openai.hooks.openai import OpenAIHook
from airflow.sdk import Param, dag, task

from llmkit import prompts, tables
from llmkit.prompts import ab, releases

log = logging.getLogger(__name__)
MAIL = Path(__file__).parents[1] / "include" / "data" / "mail.json"  # 200 letters, and the team that answered each
PROMPT, ALIASES, WHO = "sort_ticket", ["production", "candidate"], "lesson 4.2"
SHARE_HELP = "The share of the customers whose letters the new version sorts, 0.1 to 0.9."
LETTERS_HELP = "20 to 200 letters for both versions together. With few letters no lead is certain."
LETTER = "I would like my money back on the card and not as a voucher."


def sort(prompt: prompts.Prompt, letters: list[str]) -> list[str]:
    """The team that the model names for each letter. The settings come from the prompt's file."""
    hook, teams = OpenAIHook(), []
    for letter in letters:
        messages = [{"role": "user", "content": prompt.render(ticket=letter)}]
        choices = hook.create_chat_completion(messages, model="gpt-4o-mini", **prompt.settings)
        teams.append((choices[0].message.content or "").strip(" .\n").lower())
    return teams


@dag(
    dag_id=Path(__file__).stem,
    dag_display_name="114.4.2 · Prompt Versioning",
    doc_md=__doc__,
    max_active_runs=1,  # two runs at once would change each other's production version
    tags=["reference", "patterns", "intermediate", "success"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5), "execution_timeout": timedelta(minutes=3)},
    params={
        "share": Param(0.5, type="number", minimum=0.1, maximum=0.9, title="Share", description=SHARE_HELP),
        "letters": Param(120, type="integer", minimum=20, maximum=200, title="Letters", description=LETTERS_HELP),
        "keep": Param(False, type="boolean", title="Keep the winner", description="No roll-back: the winner stays."),
    },
)
def prompt_versioning() -> Any:
    @task
    def release_versions() -> dict[str, int]:
        """Store prompts externally: the texts are files. The database says which of them an alias means."""
        if not releases.history(PROMPT):
            releases.promote(prompts.load(PROMPT, 1), who=WHO, why="the first version")
        releases.promote(prompts.load(PROMPT, 2), "candidate", who=WHO, why="says what each team does")
        return {alias: releases.released(PROMPT, alias).version for alias in ALIASES}

    @task
    def assign_arms(in_use: dict[str, int], params: dict) -> list[dict[str, Any]]:
        """A/B testing prompts: a hash of the customer's number decides. While the share stays, so does a customer's arm."""
        weights = {"production": 1 - params["share"], "candidate": params["share"]}
        letters = {alias: [] for alias in ALIASES}
        for letter in json.loads(MAIL.read_text())[: params["letters"]]:
            letters[ab.assign(letter["customer"], weights, experiment="sort_ticket version 2")].append(letter)
        return [{"arm": alias, "version": in_use[alias], "letters": letters[alias]} for alias in ALIASES]

    @task
    def sort_arm(arm: dict[str, Any]) -> dict[str, Any]:
        """A/B testing prompts: an arm's letters, sorted with the version that its alias means."""
        letters = arm["letters"]
        teams = sort(prompts.load(PROMPT, arm["version"]), [letter["text"] for letter in letters])
        right = sum(team == letter["team"] for team, letter in zip(teams, letters, strict=True))
        share = round(right / len(letters), 2) if letters else None
        return {**arm, "letters": len(letters), "right": right, "share": share}

    @task
    def promote_winner(arms: list[dict[str, Any]]) -> dict[str, Any]:
        """A/B testing prompts: another version wins only if the whole 95 % interval of its lead is above 0."""
        now, new = arms
        low, high = ab.difference(now["right"], now["letters"], new["right"], new["letters"])
        promoted = low > 0 and now["version"] != new["version"]
        if promoted:
            why = f"{low:.2f} to {high:.2f} better than version {now['version']}"
            releases.promote(releases.released(PROMPT, "candidate"), who=WHO, why=why, score=new["share"])
        return {"from": round(low, 2), "to": round(high, 2), "promoted": promoted}

    @task
    def use_production() -> str:
        """Rollback prompt versions: the same letter and the same code. Only the version in production differs."""
        prompt = releases.released(PROMPT)
        return f"version {prompt.version}: {sort(prompt, [LETTER])[0]}"

    @task
    def roll_back(params: dict) -> int:
        """Rollback prompt versions: production means again what it meant before version 2. The file of version 2 stays."""
        if params["keep"]:
            return releases.released(PROMPT).version
        return releases.rollback(prompts.load(PROMPT, 2), who=WHO, why="to show how it is done").version

    @task
    def report_experiment(arms: list[dict], lead: dict, promoted: str, rolled_back: str) -> dict[str, Any]:
        """Version control prompts: a digest names a text. The history says who released it, when and why."""
        rows = []
        for r in releases.history(PROMPT)[-4:]:
            action = f"{r.action} version {r.version}"
            rows.append({"at": f"{r.at:%H:%M:%S}", "why": r.why, "alias": r.alias, "text": r.digest, "action": action})
        interval = f"{lead['from']:+.2f} to {lead['to']:+.2f} (95 % interval)"
        letter = {"one letter after the experiment": promoted, "the same letter at the end": rolled_back}
        found = {"arms": list(arms), "lead of the candidate": interval, "promoted": lead["promoted"], **letter}
        return tables.logged(log, {**found, "releases": rows})

    arms = sort_arm.expand(arm=assign_arms(release_versions()))
    lead = promote_winner(arms)
    promoted = use_production.override(task_id="use_promoted")()
    rolled_back = use_production.override(task_id="use_rolled_back")()
    lead >> promoted >> roll_back() >> rolled_back
    return report_experiment(arms, lead, promoted, rolled_back)


prompt_versioning()
