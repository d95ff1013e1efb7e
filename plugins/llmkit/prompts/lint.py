"""``python -m llmkit.prompts.lint [LIBRARY]``: what is wrong with the prompts of a library, for a course's or a team's CI."""

from __future__ import annotations

import sys
from pathlib import Path

from llmkit import prompts, tokens

LONGEST = 600
"""Tokens of a template beyond which it should be split, or its examples be data."""


def problems(library: Path | str = prompts.LIBRARY, *, longest: int = LONGEST) -> list[str]:
    """One line a problem, none when all is well.

    Templates that cannot be loaded (among them those with undeclared variables), variables that no template uses or that
    nobody described, missing descriptions, gaps in the versions, files that are no version, and templates of more than
    ``longest`` tokens (counted as gpt-4o-mini's, without what is put into them).
    """
    found = []
    for name in prompts.names(library):
        try:
            all_versions = prompts.versions(name, library=library)
        except prompts.PromptError as error:
            found.append(str(error))
            continue
        if [prompt.version for prompt in all_versions] != list(range(1, len(all_versions) + 1)):
            found.append(f"Prompt {name} has the versions {[p.version for p in all_versions]}: number them 1, 2, 3, …")
        strays = {p.name for p in (Path(library) / name).iterdir()} - {f"v{p.version}.j2" for p in all_versions}
        found += [
            f"{name}/{stray} is no version of a prompt: they are called v1.j2, v2.j2, …" for stray in sorted(strays)
        ]
        for prompt in all_versions:
            found += _problems(prompt, longest)
    return found


def _problems(prompt: prompts.Prompt, longest: int) -> list[str]:
    where = f"Prompt {prompt.name}/v{prompt.version}"
    found = [] if prompt.description else [f"{where} has no description."]
    if prompt.unused:
        found.append(f"{where} declares {', '.join(sorted(prompt.unused))} and does not use it.")
    found += [
        f"{where}: nobody says what {name} is."
        for name, schema in prompt.variables.items()
        if not schema.get("description")
    ]
    if (size := tokens.count(prompt.template).tokens) > longest:
        found.append(f"{where} is {size} tokens long, more than {longest}: split it, or make its examples data.")
    return found


if __name__ == "__main__":
    wrong = problems(*sys.argv[1:2])
    sys.stdout.write("".join(f"{line}\n" for line in wrong))
    sys.exit(bool(wrong))
