"""Helpers that the lessons share, each module usable alone: prompts, limits."""
