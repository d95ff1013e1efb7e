"""Helpers that the lessons share, each module usable alone; the README lists them."""
