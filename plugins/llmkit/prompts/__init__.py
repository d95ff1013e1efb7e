"""Prompts as files: loaded by name, checked, and rendered in a sandbox. ``library`` says what such a file looks like.

Beside it are ``releases`` (which version an alias means), ``ab`` (which version an item gets) and ``lint`` (a command for CI).
Importing this package opens nothing and loads no SDK, so a DAG file may do it at its top.
"""

from llmkit.prompts.library import LIBRARY, Prompt, PromptError, load, names, rendered_once, versions

__all__ = ["LIBRARY", "Prompt", "PromptError", "load", "names", "rendered_once", "versions"]
