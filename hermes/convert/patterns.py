"""Path patterns of cards: `{name}` and `*` stand for a part of one path component."""

import re
from collections.abc import Mapping

HOLE = re.compile(r"\{(\w+)\}|\*")


def natural(text: str) -> tuple[list[str | int], str]:
    """Sort key in which runs of digits count as numbers: img2 before img10."""
    parts = re.split(r"(\d+)", text)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], text


def last_number(text: str) -> int | None:
    """The number that the last run of digits in a name stands for; None where there is none."""
    digits = re.findall(r"\d+", text)
    return int(digits[-1]) if digits else None


def compile_pattern(pattern: str, holes: Mapping[str, str] | None = None) -> re.Pattern[str]:
    """Make a path pattern a regular expression with a named group per placeholder.

    A placeholder matches as little as possible of one path component and the same text wherever
    it is repeated; known placeholders (`holes`) match their text only.
    """
    seen: set[str] = set()
    known, parts, end = holes or {}, [], 0
    for hole in HOLE.finditer(pattern):
        parts += [re.escape(pattern[end : hole.start()]), _group(hole.group(1), known, seen)]
        end = hole.end()
    return re.compile("".join(parts) + re.escape(pattern[end:]))


def _group(name: str | None, known: Mapping[str, str], seen: set[str]) -> str:
    if name is None:
        return "[^/]*"
    if name in known:
        return re.escape(known[name])
    if name in seen:
        return f"(?P={name})"
    seen.add(name)
    return f"(?P<{name}>[^/]+?)"


def fill(pattern: str, holes: Mapping[str, str]) -> str:
    """Put known placeholders' text into a pattern; `*` and unknown placeholders stay."""
    return HOLE.sub(lambda hole: holes.get(hole.group(1), hole.group(0)), pattern)
