"""What a check of a card has to say, a thing at a time."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that does not fit, or that a person should look at."""

    what: str
    change: str = ""  # what to do about it, in the card or in the folder
    problem: bool = True  # false: the study can be built all the same


def skeleton(text: str) -> str:
    """A text with # for every run of digits, the same for img001 and img002."""
    return re.sub(r"\d+", "#", text)
