"""The closed schema of `config/studies/*.yaml`, `config/runs.yaml` and `config/tables.yaml`.

A study is a set of datasets, a protocol and a budget; runs are what is trained; tables are what is
reported. Reading them together is `hermes.config.study`.
"""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from hermes.config.schema import Closed, Intensity, Modality


class Protocol(Closed):
    """Where the paper and its published code part ways: what is done here."""

    split: Literal["paper", "reference"] = Field(
        "paper",
        description="paper: the paper's rule, drawn by the study's seed; reference: the published "
        "code's lists, for the datasets that are in them",
    )
    test_crop: Literal["none", "image", "reference"] = Field(
        "none",
        description="what is predicted of a test scan. none: all of it; image: the body's box, "
        "found in the image; reference: the box of the reference segmentation, as the published "
        "code has it, which leaks the answer. Of the datasets in preprocess.body_crop no more than "
        "the stored box can be predicted: none is image there",
    )
    test_crop_margin: int = Field(
        20, ge=0, description="voxels of the training grid around the box; published: 20"
    )


PROTOCOL_OF_PREPROCESS = ("spacing_mm", "intensity", "keep_native_z", "body_crop")
"""Values of `preprocess` that the configuration's `protocol` may change too."""


class Preprocess(Closed):
    spacing_mm: dict[str, float] = Field(
        description="isotropic target spacing: `default`, and by dataset where it differs"
    )
    intensity: dict[Modality, Intensity] = Field(description="window by modality")
    keep_native_z: list[str] = Field(
        default_factory=list,
        description="datasets left at their native slice spacing; the published code: autopet",
    )
    body_crop: list[str] = Field(
        default_factory=list,
        description="datasets of which only the body's box, found in the image, is stored and "
        "predicted; intensities are those of the whole scan, and what lies outside counts as "
        "background. For CT and PET with air around the body; hermes/preprocess/body.py says why "
        "not for MR",
    )
    blocks: dict[str, Annotated[int, Field(ge=1)]] = Field(
        default_factory=lambda: {"default": 1},
        description="jobs that share a dataset's cases, `default` and by dataset; 1: one job",
    )


MACHINE = ("ranks", "accumulate", "workers", "threads", "save_minutes")
"""Training values that say how this machine computes: they change a result by rounding at most."""


class Training(Closed):
    base_channels: int = Field(description="channels of the first stage; 32 in the paper")
    crop: tuple[int, int, int] = Field(description="training crop in voxels, z y x")
    margin: int = Field(description="voxels read beyond the crop on each axis for augmentation")
    batch: int = Field(description="crops per step")
    epochs: int
    iterations: int = Field(description="steps per epoch")
    warmup_epochs: float = 0
    learning_rate: float = 2e-3
    weight_decay: float = 1e-5
    ema_decay: float = 0.99
    modality_weight: float = Field(0.01, description="of the modality cross-entropy")
    loss: Literal["native", "common"] = Field(
        "native", description="native: the method's own; common: the one of Hermes for every method"
    )
    sampling: Literal["native", "published", "uniform", "sqrt"] = Field(
        "published",
        description="how often a dataset is drawn in universal training. published: the card's "
        "weight per volume; uniform: every dataset alike; sqrt: by the root of its volumes; "
        "native: as the method's own paper does",
    )
    foreground: float = Field(
        0.0, ge=0, le=1, description="share of crops centred on an annotated voxel; paper: 0"
    )
    augment: bool = Field(True, description="the published augmentation")
    affine_probability: float = Field(
        0.5, ge=0, le=1, description="share of crops deformed by an affine; published: 0.5"
    )
    validation_crops: int = Field(
        8, ge=0, description="fixed crops of validation cases whose loss is logged each epoch"
    )
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    ranks: int = Field(
        0,
        ge=0,
        description="processes that share each step's crops equally, a GPU each; 0: as many as the "
        "configuration's `gpus`",
    )
    accumulate: int = Field(
        1,
        ge=1,
        description="parts in which a process works off its share of a step, one after the other: "
        "more parts take less memory and give the same gradient",
    )
    workers: int = Field(
        0, ge=0, description="processes that read crops, per rank; 0: in the training one"
    )
    threads: int = Field(1, description="CPU threads of one rank")
    save_minutes: float = Field(
        10.0, ge=0, description="between saved states within an epoch; each epoch is saved anyhow"
    )


class Prediction(Closed):
    stride: float = Field(0.5, gt=0, le=1, description="step between windows, share of the window")
    threshold: float = 0.5
    batch: int = Field(1, description="windows per forward pass")
    shards: dict[str, Annotated[int, Field(ge=1)]] = Field(
        default_factory=lambda: {"default": 1},
        description="jobs that share the test cases of a dataset, `default` and by dataset",
    )


class Scoring(Closed):
    nsd_tolerance_mm: float = Field(2.0, gt=0)
    surface: bool = Field(True, description="NSD and HD95 beside Dice")


class Phantom(Closed):
    """How large the synthetic study is."""

    patients: dict[str, int] = Field(description="patients per dataset")
    voxel_scale: dict[str, float] = Field(
        description="factor on the published in-plane spacing, `default` and by dataset; slices "
        "are at least as thick as the plane is coarse. 1: as the real datasets have them"
    )


class Study(Closed):
    """A set of datasets, a budget and a set of runs."""

    name: str
    title: str
    kind: Literal["phantom", "real"] = Field(description="phantom: made here; real: downloaded")
    label: str = Field(description="what its numbers are, printed beside every table")
    seed: int
    datasets: list[str] = Field(min_length=1)
    protocol: Protocol = Protocol()
    phantom: Phantom | None = None
    preprocess: Preprocess
    train: Training
    overrides: dict[str, dict[str, float | int | bool | str]] = Field(
        default_factory=dict,
        description="training values that differ, by method, run, or pattern of runs such as "
        "medformer-*; the later over the earlier",
    )
    options: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="options of networks that differ, by method, run, or pattern of runs",
    )
    predict: Prediction = Prediction()
    evaluate: Scoring = Scoring()
    workers: int = Field(1, ge=1, description="cases in parallel inside a job of the data stages")


def _form(value: Any) -> str:
    return "word" if isinstance(value, str) else "list"


class RunEntry(Closed):
    """One network, or one per dataset."""

    name: str = Field(description="with {dataset} where `each` makes one run per dataset")
    method: str
    backbone: str = "resunet"
    options: dict[str, Any] = Field(
        default_factory=dict, description="what only this method knows; see its file"
    )
    each: Literal["", "training"] = Field(
        "", description="training: one run for every dataset trained on"
    )
    datasets: Annotated[
        Annotated[Literal["training"], Tag("word")] | Annotated[list[str], Tag("list")],
        Discriminator(_form),
    ] = Field(default_factory=list, description="`training`, or names of datasets")

    @model_validator(mode="after")
    def one_choice(self) -> "RunEntry":
        if bool(self.each) == bool(self.datasets):
            raise ValueError(f"run {self.name}: give either each or datasets")
        if bool(self.each) != ("{dataset}" in self.name):
            raise ValueError(f"run {self.name}: {{dataset}} in the name goes with each")
        return self


class RunFile(Closed):
    runs: list[RunEntry]


ALL = "all"
"""Stands for every dataset that is trained on."""


class Column(Closed):
    key: str
    title: str
    of: list[str] = Field(
        min_length=1,
        description="what the column is the mean of: datasets, <dataset>/<structure>, or `all`",
    )
    mean: Literal["classes", "parts"] = Field(
        "classes", description="classes: every class alike; parts: every dataset alike"
    )
    below: float | None = Field(
        None, description="only classes whose Dice in the reference row is below this, in per cent"
    )


class RowEntry(Closed):
    model: str
    run: str = Field(description="name of a run, with {dataset} where each dataset has its own")


class TableEntry(Closed):
    title: str
    study: str = Field("", description="the only study that has this table; empty: any that can")
    published: str = Field("", description="file in config/published/ with the paper's numbers")
    rows: list[RowEntry]
    columns: Annotated[
        Annotated[Literal["each"], Tag("word")] | Annotated[list[Column], Tag("list")],
        Discriminator(_form),
    ] = Field(description="`each`: one per dataset of the study")
    average: str = Field("", description="key of a last column with the mean of the others")
    reference: str = Field(
        "", description="model that the others are compared with; default: the first row"
    )

    @model_validator(mode="after")
    def reference_is_a_row(self) -> "TableEntry":
        models = [row.model for row in self.rows]
        if self.reference and self.reference not in models:
            raise ValueError(f"reference {self.reference!r} is no row; rows are {models}")
        return self


class Run(Closed):
    """One training: a method on some datasets."""

    name: str
    method: str
    backbone: str = "resunet"
    options: dict[str, Any] = Field(default_factory=dict)
    datasets: list[str]


class Row(Closed):
    """A table's row: for each dataset the run that is scored on it."""

    model: str
    runs: dict[str, str]
