"""The closed schema of `config/runs.yaml` and `config/tables.yaml`: training and reporting."""

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

from hermes.schema import Closed


def _form(value: Any) -> str:
    return "word" if isinstance(value, str) else "list"


class RunEntry(Closed):
    """One network, or one per dataset."""

    name: str = Field(description="with {dataset} where `each` makes one run per dataset")
    method: str
    backbone: str = "resunet"
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


class Column(Closed):
    key: str
    title: str
    dataset: str
    structures: list[str] = Field(default_factory=list, description="empty: all of the dataset")


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
