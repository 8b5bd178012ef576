"""What the cards and the study say of a dataset, as the judge needs it."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class LabelFacts(BaseModel):
    """One class of a dataset, in class order."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: int = Field(description="in the published files")
    structure: str
    title: str
    kind: str = Field(description="organ, lesion or tissue")
    colour: str
    volume_ml_low: float | None = None
    volume_ml_high: float | None = None
    median_ml: float | None = Field(None, description="published median volume")

    @property
    def name(self) -> str:
        """As it reads inside a sentence."""
        first, rest = self.title[:1], self.title[1:]
        return first.lower() + rest


class DatasetFacts(BaseModel):
    """One dataset."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    labels: tuple[LabelFacts, ...]
    sides: dict[str, str] = Field(default_factory=dict, description="structure -> left or right")
    expected: dict[str, int] = Field(
        default_factory=dict, description="number of images, patients, empty images, where known"
    )
    unsure: tuple[str, ...] = Field((), description="numbers that sources disagree on")
    varying_spacing: bool = Field(False, description="spacing is known to differ between scans")
    volume_slack: float = Field(
        1.0, ge=1, description="factor by which the plausible volumes are widened at both ends"
    )
    intensity: dict[str, dict[str, Any]] = Field(
        default_factory=dict, description="modality -> the window that preprocessing applies"
    )
    spacing_mm: float | None = Field(None, description="of the training grid")
    description: str = ""

    def range_ml(self, label: LabelFacts) -> tuple[float, float] | None:
        """Volumes that a whole structure of an adult may have; None: any."""
        if label.volume_ml_low is None or label.volume_ml_high is None:
            return None
        return label.volume_ml_low / self.volume_slack, label.volume_ml_high * self.volume_slack

    def label(self, structure: str) -> LabelFacts:
        """The class of a structure."""
        return next(label for label in self.labels if label.structure == structure)
