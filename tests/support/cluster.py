"""What a cluster leaves where a command's own lines are read."""

from __future__ import annotations

import re

_OF_RAY = re.compile(r"\(raylet\)|\.(cc|py):\d+[ :\]]|^\[\d{4}-\d\d-\d\d |^\x1b|\bray\b.*(WARNING|ERROR)")


def told_by_ray(said: str) -> list[str]:
    """The lines of standard error that are Ray's."""
    return [line for line in said.splitlines() if _OF_RAY.search(line)]
