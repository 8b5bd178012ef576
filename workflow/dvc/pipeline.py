"""What the DVC stages of a study share: its plan and paths, commands, and parameters in slots.

DVC writes a stage once for many datasets or runs (`foreach`), with `${key}` for the name and
`${item...}` for what differs. It expands no lists there, so that parameters whose number differs
are padded to one number with one of their own, which DVC reads once.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keys import Keys, unique

from hermes.config.registry import read_yaml
from hermes.config.study import Plan, load_plan, names_in
from hermes.sources import source_files

Stage = dict[str, Any]
KEY = "${key}"


@dataclass(frozen=True)
class Pipeline:
    """A study as DVC sees it.

    Attributes:
        plan: what is built.
        keys: which keys of the configuration decide it.
        root: of the repository.
    """

    plan: Plan
    keys: Keys
    root: Path

    @classmethod
    def of(cls, study: str, root: Path) -> "Pipeline":
        """Read the study and everything it refers to, with what `config.yaml` has different."""
        config = read_yaml(root / "config" / "config.yaml")
        plan = load_plan(
            root / "config",
            study,
            without=names_in(config["without"]),
            protocol=config["protocol"] or {},
        )
        return cls(plan, Keys(plan, root / "config"), root)

    @property
    def data(self) -> str:
        """Folder of the study's data."""
        return f"data/{self.plan.study.name}"

    @property
    def results(self) -> str:
        """Folder of the study's results."""
        return f"results/{self.plan.study.name}"

    @property
    def settings(self) -> str:
        """The study's own file."""
        return f"config/studies/{self.plan.study.name}.yaml"

    @property
    def switches(self) -> dict[str, list[str]]:
        """Parameters of what the configuration may have different from the study."""
        return {"config/config.yaml": ["protocol", "without"]}

    @property
    def protocol(self) -> dict[str, list[str]]:
        """Parameters of what the configuration may have different from the study's protocol."""
        return {"config/config.yaml": ["protocol"]}

    def cards(self, datasets: Iterable[str] | None = None) -> list[str]:
        """Files of the cards: of these datasets, or of all."""
        return [f"config/datasets/{name}.yaml" for name in datasets or self.plan.cards]

    def code(self, *stages: str) -> list[str]:
        """Source files of some stages of Hermes; a package's folder where all its modules are used.

        DVC reads its lock at every call, with every file of every stage.
        """
        files = unique(f for name in stages for f in source_files(f"hermes.{name}", self.root))
        whole = {
            str(folder)
            for folder in {Path(file).parent for file in files} - {Path("hermes")}
            if {str(path.relative_to(self.root)) for path in (self.root / folder).glob("[!_]*.py")}
            <= {*files}
        }
        return unique(
            parent if (parent := Path(file).parent.as_posix()) in whole else file for file in files
        )

    def command(self, rules: str, *targets: str, force: str = "", note: str = "") -> str:
        """Have Snakemake run these rules alone for the targets.

        Args:
            rules: names, parted by spaces.
            targets: files to make.
            force: rules that run in any case, since what they made last is not deleted before.
            note: what decides the result and has no key in a file; DVC compares commands.
        """
        forced = f" --forcerun {force}" if force else ""
        said = f"  # {note}" if note else ""
        return (
            f"snakemake --cores all --rerun-incomplete --config study={self.plan.study.name}"
            f" --allowed-rules {rules}{forced} -- {' '.join(targets)}{said}"
        )


def padded(lists: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """The lists at one length, each padded with its first entry."""
    longest = max(map(len, lists.values()))
    return {name: [*some, *[some[0]] * (longest - len(some))] for name, some in lists.items()}


def slots(field: str, lists: Mapping[str, Sequence[str]]) -> list[str]:
    """What stands in a stage for the parameters of `${item.<field>}`."""
    return [f"${{item.{field}[{i}]}}" for i in range(len(next(iter(lists.values()))))]


def kept(*paths: str) -> list[dict[str, dict[str, bool]]]:
    """Outputs that DVC does not delete before their stage, which passes over cases that hold."""
    return [{path: {"persist": True}} for path in paths]
