"""What a table was made of: the sidecar beside it, from raw files to the last number.

Every file on the way is listed with its SHA-256; what cannot be read off a hash (how many files,
cases and steps, which settings, which machine) stands beside. `hermes provenance` prints it and
compares it with the files that are there.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hermes.files.atomic import writing
from hermes.files.tables import read_tsv
from hermes.origin import environment, file_hash

OF_DATASET = ("raw", "canonical", "preprocessed", "split")
"""Links of a dataset: its raw manifest, case tables and split."""

LEVELS = 3
"""Of a sidecar that are indented; what is deeper stands on one line."""


@dataclass(frozen=True)
class Chain:
    """The files that a table hangs on.

    Attributes:
        files: kind of link -> path with {dataset} and {run} in it: those of `OF_DATASET`, `model`
            (its description), `origin`, `predictions`, `scores`. A kind may be missing.
        datasets: names.
        pairs: (run, dataset) that are scored.
    """

    files: Mapping[str, str]
    datasets: Sequence[str] = ()
    pairs: Sequence[tuple[str, str]] = ()

    @property
    def runs(self) -> list[str]:
        """Names of the runs, each once."""
        return list(dict.fromkeys(run for run, _ in self.pairs))

    def path(self, kind: str, run: str = "", dataset: str = "") -> str:
        """Path of a link."""
        return self.files[kind].format(run=run, dataset=dataset)

    def paths(self) -> list[str]:
        """All links, in the order in which data flow."""
        found = [
            self.path(kind, dataset=name)
            for name in self.datasets
            for kind in OF_DATASET
            if kind in self.files
        ]
        for kind in ("model", "origin"):
            if kind in self.files:
                found += [self.path(kind, run) for run in self.runs]
        for kind in ("predictions", "scores"):
            if kind in self.files:
                found += [self.path(kind, *pair) for pair in self.pairs]
        return found


@dataclass(frozen=True)
class Made:
    """What a table's stage says of it.

    Attributes:
        outputs: files that were rendered, the CSV first.
        inputs: files it was made of, beside those of the chain.
        chain: links of the table; None where it is made of none.
        settings: of the workflow: what `--config` needs to make the table again.
        extra: what only this table has to say.
    """

    outputs: Sequence[str | Path]
    inputs: Iterable[str | Path] = ()
    chain: Chain | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)


def write_sidecar(path: str | Path, study: Mapping[str, Any], made: Made) -> None:
    """Write the sidecar of a table.

    Args:
        path: JSON to write.
        study: name, label, seed, the whole configuration, as the workflow gives them.
        made: files, chain and settings of the table.
    """
    facts = {key: value for key, value in study.items() if key != "configuration"}
    facts |= {"date": datetime.now(UTC).isoformat(timespec="seconds")} | environment()
    facts["table_sha256"] = file_hash(made.outputs[0])
    facts["outputs_sha256"] = {Path(name).name: file_hash(name) for name in made.outputs}
    facts["settings"] = dict(made.settings)
    facts |= made.extra
    if made.chain:
        facts |= {"chain": asdict(made.chain)} | chain_facts(made.chain, study)
    names = [*made.inputs, *(made.chain.paths() if made.chain else ())]
    facts["inputs_sha256"] = {str(name): file_hash(name) for name in dict.fromkeys(names)}
    facts["configuration"] = study.get("configuration", {})
    with writing(path) as aside:
        aside.write_text(as_text(facts) + "\n", encoding="utf-8")


def as_text(value: Any, levels: int = LEVELS, indent: str = "") -> str:
    """JSON whose first levels are indented, with the rest of each branch on one line."""
    if not levels or not isinstance(value, Mapping) or not value:
        return json.dumps(value, ensure_ascii=False)
    inner = indent + "  "
    lines = [
        f"{inner}{json.dumps(key)}: {as_text(one, levels - 1, inner)}" for key, one in value.items()
    ]
    return "{\n" + ",\n".join(lines) + f"\n{indent}}}"


def chain_facts(chain: Chain, study: Mapping[str, Any]) -> dict[str, Any]:
    """What the links hold: `datasets` and `models`, by name."""
    facts: dict[str, Any] = {"datasets": {n: dataset_facts(chain, n) for n in chain.datasets}}
    if "model" in chain.files:
        common = study.get("configuration", {}).get("study", {}).get("train", {})
        facts["models"] = {run: model_facts(chain, run, common) for run in chain.runs}
    return facts


def dataset_facts(chain: Chain, dataset: str) -> dict[str, Any]:
    """Counts of a dataset's raw files, cases and splits, and where its raw files came from."""
    facts: dict[str, Any] = {}
    if "raw" in chain.files:
        facts["raw"] = raw_facts(Path(chain.path("raw", dataset=dataset)))
    if "split" in chain.files:
        rows = read_tsv(chain.path("split", dataset=dataset))
        parts = Counter(row["split"] for row in rows)
        facts |= {"images": len(rows), "patients": len({row["patient"] for row in rows})}
        facts |= {part: parts[part] for part in ("train", "val", "test")}
    return facts


def raw_facts(manifest: Path) -> dict[str, Any]:
    """Source, number, bytes and a hash over the hashes of the files that a manifest lists."""
    listed = json.loads(manifest.read_text(encoding="utf-8"))
    files = listed["files"]
    facts = {
        "source": listed["source"],
        "files": len(files),
        "bytes": sum(entry["bytes"] for entry in files),
        "files_sha256": joint_hash((entry["path"], entry["sha256"]) for entry in files),
    }
    return facts | ({"archives": listed["archives"]} if listed.get("archives") else {})


def joint_hash(files: Iterable[tuple[str, str]]) -> str:
    """One hash of many (path, sha256): that of their list, sorted, as `sha256sum` prints it."""
    lines = sorted(f"{sha256}  {path}\n" for path, sha256 in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def model_facts(chain: Chain, run: str, common: Mapping[str, Any]) -> dict[str, Any]:
    """How a run's weights came about; of its settings those that differ from the study's."""
    record = json.loads(Path(chain.path("model", run)).read_text(encoding="utf-8"))
    extra, facts = record["extra"], {}
    if "weights_sha256" in record:
        facts["weights_sha256"] = record["weights_sha256"]
    keys = ("seed", "parameters", "device", "ranks", "strict", "cpu_instructions", "precision")
    facts |= {key: extra[key] for key in keys if key in extra}
    training = extra.get("training", {})
    if training:
        facts["steps"] = training["epochs"] * training["iterations"]
        facts["settings"] = {k: v for k, v in training.items() if common.get(k) != v}
    if "data" in extra:
        facts["data"] = extra["data"]
    if "origin" in chain.files:
        origin = json.loads(Path(chain.path("origin", run)).read_text(encoding="utf-8"))
        facts |= {key: origin[key] for key in ("code_sha256", "commit", "changes")}
    return facts
