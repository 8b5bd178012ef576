"""Convert: raw files in the layouts of their datasets become cases in one canonical form.

What a dataset looks like is said by its card alone. A case that cannot be used is left out, named
and reasoned in `rejected.tsv`; the others are converted.
"""

import logging
import traceback
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tqdm import tqdm

from hermes.convert.case import COLUMNS, convert_case
from hermes.convert.find import Case, find_cases
from hermes.convert.raw import CaseError, ConvertError, RawFolder
from hermes.convert.resume import recall, remember, tidy
from hermes.convert.sources import Sources, fingerprint, sources_of
from hermes.plausible import one_spacing
from hermes.registry import load_card, load_structures
from hermes.schema import Card
from hermes.tables import write_tsv
from hermes.volume import VolumeError

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


@dataclass(frozen=True)
class Outcome:
    """What became of one case: its row of `cases.tsv`, or the reason why there is none."""

    case: Case
    row: dict[str, str] | None = None
    reason: str = ""
    details: str = ""  # traceback of an error that no check foresaw


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

    Args:
        card: `config/datasets/<name>.yaml`.
        raw: the dataset's raw folder.
        manifest: JSON list of the raw files; files it does not list are not seen.
        out: folder for `{case}.nii.gz` (int16 or float32) and `{case}_label.nii.gz` (uint8,
            canonical values), index axes to the patient's Left, Posterior, Superior.
        cases: table of converted cases to write, columns `COLUMNS`.
        rejected: table of cases left out to write, columns `REJECTED_COLUMNS`.
        structures: `config/structures.tsv`; when given, the card's labels are checked against it.
        workers: processes.

    Raises:
        ConvertError: no case was found, none could be used, or two have one name.
        RegistryError: the card is not valid.
    """
    known = load_structures(structures) if structures else None
    what, folder, out = load_card(card, known), RawFolder.read(Path(raw), Path(manifest)), Path(out)
    jobs = [_prepare(case, what, folder) for case in find_cases(what, folder)]
    out.mkdir(parents=True, exist_ok=True)
    outcomes = list(_convert_all(jobs, what, out, workers))
    rows = [outcome.row for outcome in outcomes if outcome.row]
    failures = [outcome for outcome in outcomes if not outcome.row]
    tidy(out, {row["case"] for row in rows})
    write_tsv(rejected, REJECTED_COLUMNS, map(_rejection, failures))
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
        return Job(case, reason=_one_line(str(error), raw.root))
    return Job(case, sources, fingerprint(case, card, raw, sources))


def _convert_all(jobs: list[Job], card: Card, out: Path, workers: int) -> Iterator[Outcome]:
    """Yield outcomes in the order of the cases, each logged as it comes."""
    work = partial(_attempt, card, out)
    if min(workers, len(jobs)) <= 1:
        yield from _watch(map(work, jobs), len(jobs), card.name)
        return
    with ProcessPoolExecutor(workers) as pool:
        yield from _watch(pool.map(work, jobs), len(jobs), card.name)


def _watch(outcomes: Iterable[Outcome], total: int, name: str) -> Iterator[Outcome]:
    bar = tqdm(outcomes, total=total, desc=f"convert {name}", unit="case", disable=None)
    for outcome in bar:
        _log(name, outcome)
        yield outcome


def _log(name: str, outcome: Outcome) -> None:
    case = outcome.case
    if outcome.details:
        logger.error("%s: case %s (%s):\n%s", name, case.name, case.path, outcome.details)
    if outcome.row is None:
        logger.warning("%s: rejected %s (%s): %s", name, case.name, case.path, outcome.reason)
    elif outcome.row["warnings"]:
        logger.warning("%s: %s (%s): %s", name, case.name, case.path, outcome.row["warnings"])


def _attempt(card: Card, out: Path, job: Job) -> Outcome:
    """Convert one case in a worker; a case that fails must not take the others with it."""
    case, sources = job.case, job.sources
    if sources is None:
        return Outcome(case, reason=job.reason)
    try:
        row = recall(out, case.name, job.fingerprint)
        if row is None:
            row = convert_case(case, card, sources, out)
            remember(out, case.name, job.fingerprint, row)
        return Outcome(case, row=row)
    except (CaseError, VolumeError) as error:
        return Outcome(case, reason=_one_line(str(error), sources.root))
    except Exception as error:  # a reader met what no check foresaw: name the case and go on
        reason = _one_line(f"unexpected {type(error).__name__}: {error}", sources.root)
        return Outcome(case, reason=reason, details=traceback.format_exc())


def _one_line(text: str, root: Path) -> str:
    """One line, with paths below the raw folder: the same text on every machine."""
    return " ".join(text.replace(f"{root}/", "").split())


def _rejection(outcome: Outcome) -> dict[str, str]:
    case = outcome.case
    return {"case": case.name, "source": case.path, "reason": outcome.reason}


def _nothing_left(card: Card, raw: RawFolder, failures: list[Outcome]) -> str:
    reasons = "\n  ".join(f"{f.case.name} ({f.case.path}): {f.reason}" for f in failures[:5])
    expected = "\n  ".join(dict.fromkeys(source.pattern for source in card.images))
    return (
        f"{raw.root}: none of the {len(failures)} cases of {card.name!r} can be used; patterns "
        f"expected:\n  {expected}\nthe first reasons:\n  {reasons}"
    )
