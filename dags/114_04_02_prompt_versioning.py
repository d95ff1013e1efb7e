"""
# 114.4.2 Prompt Versioning

A prompt is changed more often than code, by more people, and with less warning. So Lumen & Oak keeps its prompts as files,
calls a version by the hash of its text, and lets an alias say which one is in use. A new version first answers a share of the
mail; it is promoted on its score, and taken back in a second. The history says who did what, when and why.

| Checklist item | Tasks that show it |
|---|---|
| Store prompts externally | `library.list_versions`, `library.show_current` |
| Version control prompts | `library.list_versions`, `library.release_first`, `show_history` |
| A/B testing prompts | `experiment.assign_arms`, `experiment.sort_arm`, `experiment.score_arms`, `rollout.promote_candidate` |
| Rollback prompt versions | `rollout.use_promoted`, `rollout.roll_back`, `rollout.use_rolled_back`, `show_history` |

**Try it**: `experiment.score_arms` has the share of right answers of each arm: version 2 says what each team does, and wins.
`rollout.use_promoted` and `rollout.use_rolled_back` sort the same ticket, each with the version that was in force. Trigger it with *Keep
the winner*: nothing is taken back, and the next run's `library.show_current` says version 2. Edit
`include/prompts/sort_ticket/v1.j2` by a word and trigger it again: the release is not found any more, and the error says so.

**In production**: let files and pull requests hold the texts, and the database only which of them is in force: a roll-back must not
wait for a deployment. Assign by something that stays, such as the customer's id, or one person sees both arms. Some hundred
answers an arm are needed before a difference of ten points means anything.
"""

import json
from collections import Counter
from datetime import timedelta
from pathlib import Path

from airflow.providers.openai.hooks.openai import OpenAIHook
from airflow.sdk import Label, Param, TaskGroup, TriggerRule, dag, task

from llmkit import prompts
from llmkit.prompts import ab, releases

TICKETS = Path(__file__).parents[1] / "include" / "data" / "tickets.json"
PROMPT, COURSE = "sort_ticket", "the course"


def sort(prompt: prompts.Prompt, ticket: str) -> str:
    """The team that the model names."""
    messages = [{"role": "user", "content": prompt.render(ticket=ticket)}]
    reply = OpenAIHook().create_chat_completion(messages, model="gpt-4o-mini", **prompt.settings)
    return reply[0].message.content.strip().lower()


@dag(
    dag_id=Path(__file__).stem,
    doc_md=__doc__,
    schedule=None,
    catchup=False,
    # Two runs at once would promote and roll back under each other's feet.
    max_active_runs=1,
    tags=["reference", "patterns", "intermediate", "success"],
    default_args={"retries": 2, "retry_delay": timedelta(seconds=5), "execution_timeout": timedelta(minutes=3)},
    params={
        "share": Param(0.5, type="number", title="Candidate's share", description="Of the mail.", minimum=0, maximum=1),
        "margin": Param(0.05, type="number", title="Margin", description="By how much a candidate must be better."),
        "keep": Param(False, type="boolean", title="Keep the winner", description="No roll-back at the end."),
    },
)
def prompt_versioning() -> None:
    @task
    def list_versions() -> list[dict]:
        """Store prompts externally: files. Version control prompts: a digest names the text, whatever the file is called."""
        return [{"version": p.version, "digest": p.digest, "for": p.description} for p in prompts.versions(PROMPT)]

    @task
    def release_first() -> bool:
        """Version control prompts: a release is a line in a table; where there is none yet, version 1 goes into production."""
        if not releases.history(PROMPT):
            releases.promote(prompts.load(PROMPT, 1), who=COURSE, why="the first version")
        return releases.promote(prompts.load(PROMPT, 2), "candidate", who=COURSE, why="says what each team does")

    @task
    def show_current() -> dict[str, int]:
        """Store prompts externally: the code asks for an alias; which version that is, it does not know."""
        return {alias: releases.released(PROMPT, alias).version for alias in ("production", "candidate")}

    @task
    def assign_arms(params: dict) -> dict[str, list[dict]]:
        """A/B testing prompts: the ticket's id alone decides, so that it meets the same arm in each run."""
        weights = {"production": 1 - params["share"], "candidate": params["share"]}
        arms: dict[str, list[dict]] = {"production": [], "candidate": []}
        for ticket in json.loads(TICKETS.read_text()):
            arms[ab.assign(ticket["id"], weights, experiment="sort_ticket, version 2")].append(ticket)
        return arms

    @task
    def sort_arm(arm: str, arms: dict[str, list[dict]]) -> dict:
        """A/B testing prompts: the arm's tickets by the arm's version, and how many went to the right team."""
        prompt = releases.released(PROMPT, arm)
        right = Counter(sort(prompt, ticket["text"]) == ticket["team"] for ticket in arms[arm])
        score = right[True] / right.total() if right else None
        return {"arm": arm, "version": prompt.version, "tickets": right.total(), "score": score}

    @task
    def score_arms(arms: list[dict]) -> dict[str, dict]:
        """A/B testing prompts: both arms side by side."""
        return {arm.pop("arm"): arm for arm in arms}

    @task.branch
    def choose_winner(arms: dict[str, dict], params: dict) -> str:
        """A/B testing prompts: a candidate has to be better by a margin, not only by luck."""
        now, new = arms["production"]["score"], arms["candidate"]["score"]
        better = None not in (now, new) and new - now >= params["margin"]
        return "rollout.promote_candidate" if better else "show_history"

    @task
    def promote_candidate(arms: dict[str, dict]) -> bool:
        """A/B testing prompts: the winner goes into production, with its score; a retry of this task promotes once."""
        candidate, score = releases.released(PROMPT, "candidate"), arms["candidate"]["score"]
        return releases.promote(candidate, who=COURSE, why="better in the A/B test", score=score)

    @task
    def use_production() -> dict:
        """Rollback prompt versions: the same task, the same ticket; only the release is another."""
        prompt = releases.released(PROMPT)
        return {"version": prompt.version, "team": sort(prompt, "The discount was not taken off the invoice.")}

    @task.short_circuit(ignore_downstream_trigger_rules=False)
    def ask_to_keep(params: dict) -> bool:
        """Rollback prompt versions: goes on to the roll-back unless the form says to keep the winner."""
        return not params["keep"]

    @task
    def roll_back() -> int:
        """Rollback prompt versions: back to what was in force before; the file of version 2 stays where it is."""
        return releases.rollback(prompts.load(PROMPT, 2), who=COURSE, why="to show how it is done").version

    @task(trigger_rule=TriggerRule.NONE_FAILED)
    def show_history() -> list[str]:
        """Version control prompts: who did what, when and why. Rollback prompt versions: a roll-back is a line, too."""
        return [
            f"{r.at:%Y-%m-%d %H:%M:%S} {r.alias}: {r.action} version {r.version} ({r.digest}) by {r.who}: {r.why}"
            for r in releases.history(PROMPT)
        ]

    with TaskGroup("library") as library:
        list_versions() >> release_first() >> show_current()
    with TaskGroup("experiment"):
        arms = assign_arms()
        scores = score_arms(sort_arm.partial(arms=arms).expand(arm=["production", "candidate"]))
        winner = choose_winner(scores)
    with TaskGroup("rollout"):
        promoted = promote_candidate(scores)
        rolled_back = use_production.override(task_id="use_rolled_back")()
        promoted >> use_production.override(task_id="use_promoted")() >> ask_to_keep() >> roll_back() >> rolled_back
    history = show_history()
    library >> arms
    winner >> Label("better") >> promoted
    winner >> Label("not better") >> history
    rolled_back >> history


prompt_versioning()
