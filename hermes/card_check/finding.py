"""What a check of a card has to say, a thing at a time."""

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that does not fit, or that a person should look at."""

    what: str
    change: str = ""  # what to do about it, in the card or in the folder
    problem: bool = True  # false: the study can be built all the same


def examples(names: Iterable[str], most: int = 3) -> str:
    """Name a few: "a, b, c and 9 more"."""
    names = list(names)
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def count(number: int, noun: str) -> str:
    """Say how many: "1 case", "1,200 cases"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def skeleton(text: str) -> str:
    """A text with # for every run of digits, the same for img001 and img002."""
    return re.sub(r"\d+", "#", text)
