"""Which keys of the configuration decide what a DVC stage makes.

They are those whose values the stage's rule is given, so that DVC reruns what Snakemake reruns. A
key that a file leaves at its default is no parameter, for DVC knows none that are absent.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from glob import escape
from pathlib import Path
from typing import Any

from hermes.config.registry import read_yaml
from hermes.config.study import READ_BY_CONVERT, READ_BY_TRAIN, Plan
from hermes.config.study_schema import MACHINE


@dataclass(frozen=True)
class Keys:
    """Parameters of the stages of one study, as DVC writes them: `train.learning_rate`.

    Attributes:
        plan: of the study.
        config: the folder `config/`.
    """

    plan: Plan
    config: Path

    @cached_property
    def settings(self) -> dict[str, Any]:
        """The study's file as it stands."""
        return read_yaml(self.config / "studies" / f"{self.plan.study.name}.yaml")

    def study(self, *names: str) -> list[str]:
        """Of these keys of the study, those that its file has."""
        return [name for name in names if _has(self.settings, name)]

    def card(self, dataset: str, *names: str) -> list[str]:
        """Of these keys of a card, those that its file has."""
        card = read_yaml(self.config / "datasets" / f"{dataset}.yaml")
        return [name for name in names if _has(card, name)]

    def by_dataset(self, name: str, dataset: str) -> str:
        """The key of a dataset in a table like `preprocess.spacing_mm`: its own, or `default`."""
        own = f"{name}.{dataset}"
        return own if _has(self.settings, own) else f"{name}.default"

    def raw(self, dataset: str) -> list[str]:
        """Of the study: whether raw files are made, and what making them is told."""
        if self.plan.study.kind == "real":
            return ["kind"]
        scale = self.by_dataset("phantom.voxel_scale", dataset)
        return ["kind", "seed", f"phantom.patients.{dataset}", scale]

    def raw_card(self, dataset: str) -> list[str]:
        """Of the card: what fetching and converting are told."""
        fetched = ("archives",) if self.plan.study.kind == "real" else ()
        return self.card(dataset, *fetched, *READ_BY_CONVERT)

    def preprocess(self, dataset: str) -> list[str]:
        """Of the study: how the cases of a dataset are prepared."""
        names = ("intensity", "keep_native_z", "body_crop")
        spacing = self.by_dataset("preprocess.spacing_mm", dataset)
        return ["seed", spacing, *self.study(*(f"preprocess.{name}" for name in names))]

    def split(self, dataset: str) -> list[str]:
        """Of the study: how patients are dealt out."""
        expected = f"phantom.patients.{dataset}"
        return self.study("seed", "protocol.split", expected)

    def split_card(self, dataset: str) -> list[str]:
        """Of the card: the rule; its fractions are stages of their own."""
        card = read_yaml(self.config / "datasets" / f"{dataset}.yaml")
        rule = [f"split.{key}" for key in card["split"] if key not in ("fractions", "draws")]
        return rule + self.card(dataset, *(["published"] * (self.plan.study.kind == "real")))

    def train(self) -> list[str]:
        """Of the study: what every training is told."""
        values = [f"train.{key}" for key in self.settings["train"] if key not in MACHINE]
        prepared = self.study("preprocess.intensity", "preprocess.keep_native_z")
        return ["seed", *values, *prepared]

    def train_own(self, run: str) -> list[str]:
        """Of the study: what decides this training beside what decides all."""
        datasets = self.plan.runs[run].datasets
        spacing = [self.by_dataset("preprocess.spacing_mm", name) for name in datasets]
        return [*dict.fromkeys(spacing), *self._laid_over("overrides", run), *self._options(run)]

    def train_card(self, dataset: str) -> list[str]:
        """Of the card: what a training on its dataset is told."""
        return self.card(dataset, *READ_BY_TRAIN)

    def predict(self) -> list[str]:
        """Of the study: how test scans are predicted."""
        values = [f"predict.{key}" for key in self.settings.get("predict", ()) if key != "shards"]
        return values + self.study("protocol.test_crop", "protocol.test_crop_margin")

    def _options(self, run: str) -> list[str]:
        return self._laid_over("options", run)

    def _laid_over(self, section: str, run: str) -> list[str]:
        """Keys of a run in a section by method, run or pattern; DVC too reads `*` as a pattern."""
        return [
            f"{section}.{escape(name)}.{key}"
            for name, values in self.settings.get(section, {}).items()
            if self.plan.applies(name, run)
            for key in values
            if key not in MACHINE
        ]


def unique(names: Iterable[str]) -> list[str]:
    """The names without repeats, in their order."""
    return list(dict.fromkeys(names))


def _has(values: Any, name: str) -> bool:
    for key in name.split("."):
        if not isinstance(values, dict) or key not in values:
            return False
        values = values[key]
    return True
