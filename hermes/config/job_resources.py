"""Memory and run time that a job of each rule asks for: `config/resources.yaml`."""

from collections.abc import Collection, Mapping
from pathlib import Path

from pydantic import Field

from hermes.config.registry import RegistryError, nearest, read_yaml, validate
from hermes.config.schema import Closed


class Ask(Closed):
    """What one job asks of the machine."""

    memory_mb: int = Field(gt=0, description="at the first attempt, in MB")
    minutes: int = Field(gt=0, description="of the longest job")
    most_mb: int | None = Field(None, gt=0, description="no attempt asks for more than that")

    def megabytes(self, attempt: int) -> int:
        """Memory of an attempt, counted from 1."""
        asked = self.memory_mb * attempt
        return min(asked, max(self.most_mb, self.memory_mb)) if self.most_mb else asked


class Asks(Closed):
    """The file: every rule, and what a study has different."""

    rules: dict[str, Ask]
    studies: dict[str, dict[str, Ask]] = Field(default_factory=dict)


def load_asks(path: Path, study: str) -> Mapping[str, Ask]:
    """What the jobs of a study ask for, by rule.

    Raises:
        RegistryError: a value that cannot be, or a study that names a rule which `rules` has not.
    """
    asks = validate(Asks, read_yaml(path), path)
    for name, own in asks.studies.items():
        for rule in own:
            known(path, asks.rules, rule, f"studies: {name}: ")
    return asks.rules | asks.studies.get(study, {})


def known(path: Path, rules: Collection[str], rule: str, where: str = "") -> None:
    """Raises RegistryError where a rule is not listed, with the nearest that is."""
    if rule not in rules:
        raise RegistryError(f"{path}: {where}no rule {rule!r}{nearest(rule, rules)}")
