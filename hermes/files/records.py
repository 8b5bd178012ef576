"""Records of finished cases, so that a later run of a stage passes over what has not changed."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from hermes.files.atomic import writing

RECORDS = ".records"
"""Below a stage's folder; one JSON file per case, removed with the folder itself."""


@dataclass(frozen=True)
class Records:
    """The finished cases of one folder.

    Attributes:
        folder: where the outputs lie.
        outputs: paths that a case may have there, given the folder and the case's name.
        patterns: globs of the files in the folder that are some case's outputs.
    """

    folder: Path
    outputs: Callable[[Path, str], tuple[Path, ...]]
    patterns: tuple[str, ...]

    def remember(self, case: str, fingerprint: str, values: dict[str, str]) -> None:
        """Record a case whose outputs are whole, with what the stage has to say of it."""
        record = {"fingerprint": fingerprint, "values": values, "bytes": self._sizes(case)}
        with writing(self._path(case)) as aside:
            aside.write_text(json.dumps(record, indent=1, sort_keys=True), encoding="utf-8")

    def recall(self, case: str, fingerprint: str) -> dict[str, str] | None:
        """The values of a case made from the same things, whose outputs lie there whole.

        Any other record is removed: what is written next is not what it tells of.
        """
        try:
            record = json.loads(self._path(case).read_text(encoding="utf-8"))
            same = record["fingerprint"] == fingerprint and record["bytes"] == self._sizes(case)
            if same:
                return record["values"]
        except (FileNotFoundError, ValueError, KeyError):
            pass
        self._path(case).unlink(missing_ok=True)
        return None

    def tidy(self, cases: Iterable[str]) -> None:
        """Remove outputs and records of all other cases, and files that a killed run left aside.

        Only for a run that is alone in the folder.
        """
        kept = {path for case in cases for path in (*self._outputs(case), self._path(case))}
        found = [path for pattern in self.patterns for path in self.folder.glob(pattern)]
        for path in (*found, *(self.folder / RECORDS).glob("*.json")):
            if path not in kept:
                path.unlink()

    def _path(self, case: str) -> Path:
        return self.folder / RECORDS / f"{case}.json"

    def _outputs(self, case: str) -> tuple[Path, ...]:
        return self.outputs(self.folder, case)

    def _sizes(self, case: str) -> list[int]:
        """Bytes of every output; -1 where there is none."""
        return [p.stat().st_size if p.is_file() else -1 for p in self._outputs(case)]
