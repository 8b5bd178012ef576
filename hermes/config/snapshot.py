"""A plan's settings as plain data: what a sidecar keeps, so that a table can be made again.

What a card says for people alone (description, licence, where to ask) decides no number and is left
out.
"""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from hermes.config.study import Plan

FOR_PEOPLE = {
    *("description", "citation", "doi", "licence", "access", "consent", "published", "notes"),
    *("region", "clinical_target", "modality_title"),
}
"""Keys of a card that decide no number of a table of Dice."""


def configuration(plan: Plan, runs: Iterable[str] = ()) -> dict[str, Any]:
    """The study as resolved, its cards, and some of its runs.

    Args:
        plan: of the study.
        runs: names of the runs that matter.
    """
    return {
        "study": plan.study.model_dump(mode="json", exclude_none=True),
        "cards": {
            name: card.model_dump(mode="json", exclude=FOR_PEOPLE, exclude_defaults=True)
            for name, card in plan.cards.items()
        },
        "runs": {
            name: plan.runs[name].model_dump(mode="json", exclude={"name"})
            | {"options": plan.options(name)}
            for name in runs
        },
    }


def config_hash(content: dict[str, Any]) -> str:
    """SHA-256 of what `configuration` gives, in hexadecimal."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
