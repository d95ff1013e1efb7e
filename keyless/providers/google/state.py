"""What Google's API keeps between requests."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from keyless.providers.google.caches import CachedContent
from keyless.providers.google.files import Upload


@dataclass
class State:
    """Cached contents and unfinished uploads by id, oldest first."""

    caches: OrderedDict[str, CachedContent] = field(default_factory=OrderedDict)
    uploads: OrderedDict[str, Upload] = field(default_factory=OrderedDict)
