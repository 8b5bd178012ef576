"""Small pieces of sentences: how many, which ones, and several remarks in one line."""

import re
from collections.abc import Iterable

BETWEEN = "; "
"""Stands between the remarks of a line, and in none of them."""


def counted(number: int, noun: str) -> str:
    """Say how many: "1 case", "1,200 cases"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def some(names: Iterable[str], most: int = 5) -> str:
    """Name a few: "a, b, c and 9 more"."""
    names = list(names)
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def joined(remarks: Iterable[str]) -> str:
    """Remarks as one line of a table, to be parted again; a semicolon inside one becomes a comma.

    >>> joined(["mirrored; or not", "axes\\tstraightened"])
    'mirrored, or not; axes straightened'
    """
    lines = (" ".join(remark.split()) for remark in remarks)
    return BETWEEN.join(re.sub(r"\s*;", ",", line) for line in lines)


def parted(line: str) -> list[str]:
    """The remarks of a line that `joined` made."""
    return line.split(BETWEEN) if line else []
