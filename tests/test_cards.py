"""The cards that ship with the repository, against the paper's dataset table and each other."""

import csv
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from hermes.config.registry import class_count, load_card, load_structures, tasks_of
from hermes.download.archives import expand

CONFIG = Path(__file__).parent.parent / "config"
STRUCTURES = load_structures(CONFIG / "structures.tsv")
CARDS = {p.stem: load_card(p, STRUCTURES) for p in sorted(CONFIG.glob("datasets/*.yaml"))}
UPSTREAM = "bcv ss_t ss_h lits kits amos_ct amos_mr chaos mnms autopet dlbs".split()
DOWNSTREAM = ["segthor", "msd_pancreas"]

each_card = pytest.mark.parametrize("card", CARDS.values(), ids=CARDS.keys())


def with_role(role):
    return {name for name, card in CARDS.items() if card.role == role}


def test_the_thirteen_and_the_samples():
    assert with_role("upstream") == set(UPSTREAM)
    assert with_role("downstream") == set(DOWNSTREAM)
    assert with_role("sample") == {n for n in CARDS if n.startswith("sample_")}
    assert len(with_role("sample")) == 8


def test_counts_of_tasks_and_classes():
    upstream = [CARDS[name] for name in UPSTREAM]
    assert len(tasks_of(upstream)) == 71
    assert class_count(upstream) == 84


def test_only_amos_shares_tasks():
    owners = Counter(task for card in CARDS.values() for task in card.tasks)
    shared = {task for task, count in owners.items() if count > 1}
    assert shared == set(CARDS["amos_mr"].tasks)
    assert set(CARDS["amos_mr"].tasks) < set(CARDS["amos_ct"].tasks)


def test_paper_table_5():
    with open(CONFIG / "published/table5.csv", encoding="utf-8", newline="") as handle:
        table = {row.pop("dataset"): row for row in csv.DictReader(handle)}
    ours = {
        card.title: {
            "body_region": card.region,
            "modality": card.modality_title,
            "clinical_target": card.clinical_target,
            "classes": str(len(card.labels)),
            "size": str(card.published.size),
            "role": card.role,
        }
        for card in CARDS.values()
        if card.role != "sample"
    }
    assert ours == table


def test_every_structure_is_used_and_looks_its_own_way():
    used = {structure for card in CARDS.values() for structure in card.structures}
    assert used == set(STRUCTURES)
    assert len({s.title for s in STRUCTURES.values()}) == len(STRUCTURES)
    assert len({s.colour for s in STRUCTURES.values()}) == len(STRUCTURES)
    for structure in STRUCTURES.values():
        assert structure.kind in ("organ", "lesion", "tissue")
        assert re.fullmatch("#[0-9a-f]{6}", structure.colour)


@each_card
def test_published_counts_fit_the_card(card):
    published = card.published
    assert published.classes == len(card.labels)
    assert published.patients <= published.images
    if card.split.rule == "all_test":
        assert published.images == card.split.test


@each_card
def test_split_has_what_its_rule_needs(card):
    subsets = {image.subset for image in card.images}
    rule = card.split.rule
    if rule == "official_test":
        assert subsets == {"train", "test"}
        assert card.split.train > 0 and card.split.test == 0
    if rule == "official":
        assert {"train", "test"} <= subsets and "" not in subsets
    if rule == "fraction":
        assert card.split.train > 0 and card.split.test > 0


@each_card
def test_sides_follow_names(card):
    for structure in card.structures:
        side = structure.split("_")[0]
        if side in ("left", "right") and not structure.endswith("ventricle"):
            assert card.sides[structure] == side
    assert card.sides.get("liver", "right") == "right"
    assert card.sides.get("spleen", "left") == "left"


@each_card
def test_label_sources_name_known_values_and_holes(card):
    for image in card.images:
        holes = set(re.findall(r"\{(\w+)\}", image.pattern))
        source = image.label
        texts = [image.case, image.patient, source.path, *source.maps.values()]
        assert {hole for text in texts for hole in re.findall(r"\{(\w+)\}", text)} <= holes
        values = {*source.ranges, *source.maps, *source.contours}
        assert values <= {label.value for label in card.labels}
        ranges = sorted(source.ranges.values())
        assert all(low <= high for low, high in ranges)
        assert all(a[1] < b[0] for a, b in pairwise(ranges))


@each_card
def test_archives_can_be_checked_or_say_why_not(card):
    for archive in (file for entry in card.archives for file in expand(entry)):
        assert "{" not in archive.url + archive.filename + archive.into
        assert not archive.sha256 or re.fullmatch("[0-9a-f]{64}", archive.sha256)
        assert not archive.md5 or re.fullmatch("[0-9a-f]{32}", archive.md5)
        if archive.package:
            assert "==" in archive.package and archive.sha256 and archive.bytes


@each_card
def test_a_person_can_read_it(card):
    assert card.description and card.citation and card.licence.name
    assert card.access.instructions
    assert card.access.url.startswith("http")


def test_slabs_of_one_scan_do_not_touch():
    for card in CARDS.values():
        slabs = sorted(image.slab for image in card.images if image.slab)
        assert bool(slabs) == card.split.within_patient
        if slabs:
            (_, below), (above, _) = slabs
            assert below < above


def test_sampling_and_augmentation_of_the_paper():
    weights = {name: CARDS[name].sampling_weight for name in UPSTREAM}
    assert weights == {
        "amos_ct": 1.8,
        "amos_mr": 1.6,
        "bcv": 1.5,
        "ss_t": 0.7,
        "ss_h": 2.6,
        "lits": 0.3,
        "kits": 0.3,
        "chaos": 0.5,
        "mnms": 0.3,
        "dlbs": 0.4,
        "autopet": 0.1,
    }
    often = {name for name in UPSTREAM if CARDS[name].augmentation_probability == 0.2}
    assert often == {"amos_mr", "chaos", "mnms"}
    assert {CARDS[name].augmentation_probability for name in UPSTREAM} == {0.1, 0.2}


def test_page_of_the_datasets_is_up_to_date():
    page = (CONFIG.parent / "docs/datasets.md").read_text(encoding="utf-8")
    rows = [line.strip("|").split("|") for line in page.splitlines() if line.startswith("| `")]
    told = {row[0].strip(" `"): [cell.strip() for cell in row[1:]] for row in rows}
    assert told.keys() == CARDS.keys()
    for name, (title, *_, licence, images, patients, classes, _split) in told.items():
        card = CARDS[name]
        facts = [card.title, card.licence.name]
        counts = [card.published.images, card.published.patients, len(card.labels)]
        assert [title, licence, images, patients, classes] == facts + [str(n) for n in counts]
