"""What the images of a dataset have in common, and what is odd about them."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from hermes.card_check.finding import Finding
from hermes.card_check.scan import ImageFacts, Scan
from hermes.config.schema import Card, Modality
from hermes.convert.plausible import Oddity, implausible, one_spacing
from hermes.words import counted, some

SPACING_MM = (0.05, 20.0)
"""ASSUME: voxels of a clinical scan are neither smaller nor larger; others are in another unit."""


def describe_images(scans: Sequence[Scan]) -> list[str]:
    """Axes, size, spacing and values in a line each."""
    facts = [scan.image for scan in scans if scan.image]
    if not facts:
        return []
    axes = Counter(fact.axes for fact in facts).most_common()
    return [
        "axes in the files  " + ", ".join(f"{name} {number:,}" for name, number in axes),
        "size z, y, x       " + _ranges(fact.size for fact in facts),
        "spacing_mm         " + _ranges(fact.spacing_mm for fact in facts),
        f"values             {min(f.low for f in facts):g} to {max(f.high for f in facts):g}",
    ]


def _ranges(triples: Iterable[Sequence[float | int]]) -> str:
    """Per axis the range and the median: "80-120 (96), 512, 512"."""
    return ", ".join(_range(axis) for axis in zip(*triples, strict=True))


def _range(values: Sequence[float | int]) -> str:
    low, high, middle = min(values), max(values), statistics.median(values)
    if f"{low:.3g}" == f"{high:.3g}":
        return f"{low:.4g}"
    return f"{low:.3g}-{high:.3g} (median {middle:.3g})"


def check_images(card: Card, scans: Sequence[Scan]) -> Iterator[Finding]:
    """Say what is odd about the images that could be read."""
    read = [(scan, scan.image) for scan in scans if scan.image]
    yield from _modalities(read)
    yield from _headers(card, read)


def _modalities(read: list[tuple[Scan, ImageFacts]]) -> Iterator[Finding]:
    odd: dict[tuple[Modality, Oddity], list[str]] = defaultdict(list)
    totals = Counter(scan.case.modality for scan, _ in read)
    for scan, facts in read:
        if oddity := implausible(scan.case.modality, facts.low, facts.high):
            odd[scan.case.modality, oddity].append(scan.case.name)
    for (modality, oddity), names in odd.items():
        yield Finding(
            f"{len(names):,} of {counted(totals[modality], 'image')} of modality {modality} "
            f"({some(names)}): {oddity.what}",
            oddity.change,
            problem=False,
        )


def _headers(card: Card, read: list[tuple[Scan, ImageFacts]]) -> Iterator[Finding]:
    doubts: dict[str, list[str]] = defaultdict(list)
    for scan, _ in read:
        doubts[scan.doubt].append(scan.case.name)
    for doubt, names in doubts.items():
        if doubt:
            yield Finding(
                f"{doubt}: {counted(len(names), 'image')}, {some(names)}",
                "write the true spacing into the headers, or into the card (`identity_affine`)",
                problem=False,
            )
    skewed = [scan.case.name for scan, _ in read if scan.skewed]
    if skewed:
        yield Finding(
            f"{counted(len(skewed), 'image')} whose axes are not at right angles: {some(skewed)}",
            "nothing: they are straightened",
            problem=False,
        )
    low, high = SPACING_MM
    odd = [s.case.name for s, f in read if not all(low <= mm <= high for mm in f.spacing_mm)]
    if odd:
        yield Finding(
            f"{counted(len(odd), 'image')} with voxels below {low} mm or above {high:g} mm, "
            f"perhaps in another unit: {some(odd)}",
            "repair the headers: the unit is the millimetre",
        )
    varies = card.published is not None and card.published.varying_spacing
    if varies and (resampled := one_spacing([facts.spacing_mm for _, facts in read])):
        yield Finding(resampled, problem=False)
