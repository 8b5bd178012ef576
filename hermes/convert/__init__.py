"""Convert: raw files in the layouts of their datasets become cases in one canonical form.

What a dataset looks like is said by its card alone. A case that cannot be used is left out, named
and reasoned in `rejected.tsv`; the others are converted.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hermes.config.registry import load_card, load_structures
from hermes.config.schema import Card
from hermes.convert.case import COLUMNS, convert_case, outputs_of
from hermes.convert.find import Case, find_cases
from hermes.convert.plausible import one_spacing
from hermes.convert.raw import CaseError, ConvertError, RawFolder, plain
from hermes.convert.sources import Sources, fingerprint, sources_of
from hermes.files.records import Records
from hermes.files.tables import write_tsv
from hermes.files.volume import VolumeError
from hermes.jobs.pool import KILLED, Outcome, run_cases

__all__ = ["COLUMNS", "REJECTED_COLUMNS", "CaseError", "ConvertError", "run"]

logger = logging.getLogger(__name__)

REJECTED_COLUMNS = ("case", "source", "reason")


@dataclass(frozen=True)
class Job:
    """One case with the files it is made of, or the reason why they are not there."""

    case: Case
    sources: Sources | None = None
    fingerprint: str = ""
    reason: str = ""


def run(
    *,
    card: str | Path,
    raw: str | Path,
    manifest: str | Path,
    out: str | Path,
    cases: str | Path,
    rejected: str | Path,
    structures: str | Path | None = None,
    workers: int = 1,
) -> None:
    """Convert every case of a dataset; cases run in parallel.

    A case that is done is recorded, and passed over by a later run unless its files, the card or
    the code have changed. One whose process the system kills is left out like others that fail.

    Args:
        card: `config/datasets/<name>.yaml`.
        raw: the dataset's raw folder.
        manifest: JSON list of the raw files; files it does not list are not seen.
        out: folder for `{case}.nii.gz` (int16 or float32) and `{case}_label.nii.gz` (uint8,
            canonical values), index axes to the patient's Left, Posterior, Superior.
        cases: table of converted cases to write, columns `COLUMNS`.
        rejected: table of cases left out to write, columns `REJECTED_COLUMNS`.
        structures: `config/structures.tsv`; when given, the card's labels are checked against it.
        workers: processes; each needs up to 4 GB for the largest scans (benchmarks/memory.py).

    Raises:
        ConvertError: no case was found, none could be used, or two have one name.
        RegistryError: the card is not valid.
    """
    known = load_structures(structures) if structures else None
    what, folder, out = load_card(card, known), RawFolder.read(Path(raw), Path(manifest)), Path(out)
    jobs = {case.name: _prepare(case, what, folder) for case in find_cases(what, folder)}
    out.mkdir(parents=True, exist_ok=True)
    outcomes = run_cases(
        partial(_recall_or_do, what, out),
        jobs,
        workers,
        f"convert {what.name}",
        (CaseError, VolumeError),
        tell=partial(_tell, what.name, jobs, folder.root),
    )
    rows = [outcome.found for outcome in outcomes if outcome.found]
    failures = [_rejection(jobs, folder.root, each) for each in outcomes if not each.found]
    _records(out).tidy(row["case"] for row in rows)
    write_tsv(rejected, REJECTED_COLUMNS, failures)
    if not rows:
        raise ConvertError(_nothing_left(what, folder, failures))
    varies = what.published is not None and what.published.varying_spacing
    spacings = [[float(mm) for mm in row["spacing_mm"].split()] for row in rows]
    if varies and (odd := one_spacing(spacings)):
        logger.warning("%s: %s", what.name, odd)
    write_tsv(cases, COLUMNS, rows)
    logger.info("%s: %d cases converted, %d rejected", what.name, len(rows), len(failures))


def _prepare(case: Case, card: Card, raw: RawFolder) -> Job:
    try:
        sources = sources_of(case, raw)
    except CaseError as error:
        return Job(case, reason=str(error))
    return Job(case, sources, fingerprint(case, card, raw, sources))


def _recall_or_do(card: Card, out: Path, job: Job) -> dict[str, str]:
    """The row of one case: recorded, or made now."""
    if job.sources is None:
        raise CaseError(job.reason)
    records, name = _records(out), job.case.name
    row = records.recall(name, job.fingerprint)
    if row is None:
        row = convert_case(job.case, card, job.sources, out)
        records.remember(name, job.fingerprint, row)
    return row


def _records(out: Path) -> Records:
    return Records(out, outputs_of, ("*.nii.gz",))


def _tell(name: str, jobs: Mapping[str, Job], root: Path, outcome: Outcome) -> None:
    path = jobs[outcome.case].case.path
    if outcome.details:
        logger.error("%s: %s (%s):\n%s", name, outcome.case, path, outcome.details)
    if outcome.reason:
        reason = plain(outcome.reason, root)
        logger.warning("%s: rejected %s (%s): %s", name, outcome.case, path, reason)
    elif outcome.found and (warnings := outcome.found["warnings"]):
        logger.warning("%s: %s (%s): %s", name, outcome.case, path, warnings)


def _rejection(jobs: Mapping[str, Job], root: Path, outcome: Outcome) -> dict[str, str]:
    again = " With more of it, remove this table to have the case tried again"
    return {
        "case": outcome.case,
        "source": jobs[outcome.case].case.path,
        "reason": plain(outcome.reason, root) + again * (outcome.reason == KILLED),
    }


def _nothing_left(card: Card, raw: RawFolder, failures: list[dict[str, str]]) -> str:
    reasons = "\n  ".join(f"{f['case']} ({f['source']}): {f['reason']}" for f in failures[:5])
    expected = "\n  ".join(dict.fromkeys(source.pattern for source in card.images))
    return (
        f"{raw.root}: none of the {len(failures)} cases of {card.name!r} can be used; patterns "
        f"expected:\n  {expected}\nthe first reasons:\n  {reasons}"
    )
