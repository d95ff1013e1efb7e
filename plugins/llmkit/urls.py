"""Addresses in texts that are logged or kept, without the secrets that may stand in them."""

from __future__ import annotations

import re

# Lengths are limited, so that a long text is read in linear time.
_USER = re.compile(r"(?<=://)[^\s/?#@'\"]{1,256}@")
_QUERY = re.compile(r"(?<=[?&])([\w.~%+-]{1,64}=)[^\s&#'\"<>]+")


def without_secrets(text: str) -> str:
    """``text`` whose URLs have ``***`` for each value in their query, and neither user nor password."""
    return _QUERY.sub(r"\1***", _USER.sub("", text))
