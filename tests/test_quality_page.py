"""The quality page: one file, nothing from elsewhere, and what is wrong stands first."""

import csv
import hashlib
import io
import json
import shutil
import subprocess
import sys
from base64 import b64decode
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from quality_bodies import CONFIG, NAMES, bodies, body, exchange, facts, write

from hermes.files.tables import read_tsv
from hermes.quality import judge, measure
from hermes.report import quality
from hermes.report.protocol import points

ROOT = Path(__file__).parents[1]
STUDY = {"study": "s", "title": "A study", "label": "a label", "seed": 1, "config_sha256": "0" * 64}
PROTOCOL = {
    "split": "paper",
    "test_crop": "none",
    "test_crop_margin": 20,
    "seed": 1,
    "nsd_tolerance_mm": 2.0,
}
WINDOWS = {"ct": {"clip": [-991, 500], "percentiles": None}, "pet": {"percentiles": [2, 98]}}
PREPROCESS = {
    "spacing_mm": {"default": 1.5},
    "intensity": WINDOWS,
    "keep_native_z": [],
    "body_crop": [],
}


class Page(HTMLParser):
    """Elements of a page with their attributes, and its visible text."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.words = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.words.append(data)

    def all(self, tag):
        return [attrs for name, attrs in self.elements if name == tag]


def manifest(folder):
    """A manifest as the download stage writes it, as far as the judge reads it."""
    path = folder / "raw.json"
    path.write_text(json.dumps({"source": "download"}))
    return path


def mirrored(cases):
    cases["case_3"] = cases["case_3"].both(lambda a: np.ascontiguousarray(a[:, :, ::-1]))
    return cases


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A study of a sound dataset, a spoilt one, and one with a copy of a scan of the first."""
    root = tmp_path_factory.mktemp("study")
    copied = {
        "copy": replace(body(12), name="copy"),
        **{f"case_{i}": body(i) for i in (30, 31, 32)},
    }
    datasets = {
        "sound": {f"case_{i}": body(i) for i in range(10, 20)},
        "spoilt": mirrored(bodies()),
        "shared": copied,
    }
    known = [facts(name=name, title=name.capitalize(), sides={}) for name in datasets]
    paths = {key: [] for key in ("measured", "measured_structures", "rejected", "findings",
                                 "pictures")}  # fmt: skip
    for each, (name, cases) in zip(known, datasets.items(), strict=True):
        folder = root / name
        table = write(folder, cases)
        files = {key: str(folder / f"{key}.tsv") for key in paths}
        measure.run(
            dataset=name,
            canonical=folder,
            structures=list(NAMES),
            cases=table,
            measured=files["measured"],
            measured_structures=files["measured_structures"],
            workers=2,
        )
        judge.run(
            facts=each,
            canonical=folder,
            anatomy=CONFIG / "anatomy.tsv",
            manifest=manifest(folder),
            **files,
        )
        for key in paths:
            paths[key].append(files[key])
    lists = root / "lists.json"
    listed = {"s_train": ["copy", "<gone>", "gone"], "s_val": ["case_30"], "s_test": ["case_31"]}
    lists.write_text(json.dumps({"lists": listed}))
    reference = {"key": "s", "patient": "{id}"}
    fraction = {"rule": "fraction", "train": 75, "val": 5, "test": 20}
    rules = [fraction, {"rule": "official", "train": 1, "test": 1}, {"rule": "all_test"}]
    rules[2]["reference"] = reference
    quality.run(
        facts=known,
        splits=[{"protocol": "reference", "rule": rule, "seed": 0} for rule in rules],
        lists=["", "", str(lists)],
        trained=["sound", "spoilt"],
        study=STUDY,
        protocol=PROTOCOL,
        preprocess=PREPROCESS,
        html=root / "quality.html",
        tsv=root / "quality.tsv",
        **paths,
    )
    return root


def test_the_page_stands_alone_and_speaks_to_those_who_do_not_see_it(built):
    text = (built / "quality.html").read_text()
    page = Page(text)
    assert not page.all("script") and not page.all("link") and not page.all("iframe")
    assert "url(" not in text and "@import" not in text
    images = page.all("img")
    assert len(images) == 9
    for image in images:
        assert image["src"].startswith("data:image/jpeg;base64,")
        assert image["alt"].startswith("Axial, coronal and sagittal slice of ")
    assert all("aria-label" in svg or svg.get("aria-hidden") == "true" for svg in page.all("svg"))
    assert all(link["href"].startswith("#") for link in page.all("a"))
    targets = {attrs["id"] for attrs in page.all("section")}
    assert targets == {"sound", "spoilt", "shared", "protocol"}
    assert len(text) < 500_000


def test_the_overview_marks_every_dataset_in_words(built):
    text = (built / "quality.html").read_text()
    overview = text.split("<tbody>")[1].split("</tbody>")[0]
    rows = [" ".join(Page(row).words).split() for row in overview.split("<tr>")[1:]]
    said = [" ".join(row) for row in rows]
    assert said[0].startswith("Sound Look at it 10 10 9 0 case_12: same image")
    assert said[1].startswith("Spoilt Clear up first 10 10 9 0 case_3: mirrored left to right")
    assert said[2].startswith("Shared Look at it 4 4 9 0")


def test_the_table_holds_every_finding_and_what_was_sound(built):
    with open(built / "quality.tsv", newline="") as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    assert list(rows[0]) == ["dataset", "case", "level", "check", "message"]
    assert {row["level"] for row in rows} <= {"ok", "note", "warning", "error"}
    assert [(r["dataset"], r["case"], r["check"]) for r in rows if r["level"] == "error"] == [
        ("spoilt", "case_3", "position"),
        ("spoilt", "", "split"),
    ]
    copies = [r for r in rows if r["check"] == "duplicates" and r["level"] == "warning"]
    assert {(r["dataset"], r["case"]) for r in copies} == {("sound", "case_12"), ("shared", "copy")}
    checks = {row["check"] for row in rows if row["dataset"] == "spoilt"}
    assert checks >= {"counts", "references", "position", "volumes", "spacing", "duplicates"}


def test_the_splits_notes_are_told_and_text_is_escaped(built):
    text = (built / "quality.html").read_text()
    assert "2 patients of the published train list not here: &lt;gone&gt;, gone" in text
    assert "<gone>" not in text


def test_a_split_that_is_refused_is_told_and_the_page_is_there(built):
    rows = read_tsv(built / "quality.tsv")
    (refused,) = [r["message"] for r in rows if (r["check"], r["level"]) == ("split", "error")]
    assert refused == "no official subset for case_0, case_1, case_2, case_3, case_4"
    numbers = Page((built / "quality.html").read_text()).words
    for parts in ("7 / 1 / 2", "0 / 0 / 0", "1 / 1 / 1"):  # drawn, refused, listed
        assert parts in numbers


def test_the_protocol_in_force_stands_beside_the_published_one(built):
    text = " ".join(Page((built / "quality.html").read_text()).words)
    for words in ("drawn with the seed 1; the subsets of spoilt, shared are given",
                  "1.5 mm isotropic", "clipped to -991 and 500 HU", "all of every test scan",
                  "NSD within 2 mm", "scans' own grid"):  # fmt: skip
        assert words in text


def test_a_protocol_that_leaks_says_so_and_counts_as_the_published_one():
    published = PROTOCOL | {"test_crop": "reference", "split": "reference"}
    study = PREPROCESS | {"keep_native_z": ["autopet"]}
    found = {p.name: p for p in points(published, study, ["autopet", "bcv"], ["pet", "ct"], [])}
    assert "leaks" in found["Test scans"].here
    names = ("Test scans", "Split", "Training grid", "Slice spacing", "Grey values, PET")
    assert all(found[name].same for name in names)
    here = {p.name: p for p in points(PROTOCOL, PREPROCESS, ["autopet"], ["pet"], [])}
    assert here["Split"].here.endswith("its subsets are given, nothing is drawn")
    assert here["Slice spacing"].same is False
    assert here["Test scans"].same is False


def test_pictures_show_the_case_in_doubt_first_with_the_right_on_the_left(built):
    shown = json.loads((built / "spoilt" / "pictures.tsv").read_text())
    assert (shown[0]["case"], shown[0]["level"]) == ("case_3", "error")
    assert len(shown) == 3
    for place, (case, left) in enumerate((("case_3", False), (shown[-1]["case"], True))):
        data = next(each for each in shown if each["case"] == case)["image"].split(",")[1]
        axial = np.asarray(Image.open(io.BytesIO(b64decode(data))), dtype=float)[:, :232]
        brown = axial[..., 0] - axial[..., 2] > 25  # the liver's colour over grey
        assert bool(np.nonzero(brown)[1].mean() < 116) is left, place


def test_exchanged_labels_show_in_the_measurements_of_the_stage(tmp_path):
    cases = bodies(1)
    cases["case_0"] = cases["case_0"].relabelled(exchange("liver", "spleen"))
    table = write(tmp_path, cases)
    measure.run(
        dataset="x",
        canonical=tmp_path,
        structures=list(NAMES),
        cases=table,
        measured=tmp_path / "m.tsv",
        measured_structures=tmp_path / "s.tsv",
    )
    volumes = {row["structure"]: float(row["volume_ml"]) for row in read_tsv(tmp_path / "s.tsv")}
    assert volumes["spleen"] > 500 > volumes["liver"]


@pytest.mark.slow
def test_a_tiny_study_gets_its_page_from_nothing(tmp_path):
    for name in ("Snakefile", "workflow", "config", "hermes"):
        source = ROOT / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, tmp_path / name, ignore=ignored)
        else:
            shutil.copy(source, tmp_path / name)
    shutil.copy(ROOT / "tests" / "tiny_study" / "tiny.yaml", tmp_path / "config" / "studies")
    target = "results/tiny/quality.html"
    chosen = ("--config", "study=tiny", "without=mnms", "--", target)
    done = snakemake(tmp_path, *chosen)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Sound" in (tmp_path / target).read_text()
    levels = {row["level"] for row in read_tsv(tmp_path / "results" / "tiny" / "quality.tsv")}
    assert "error" not in levels
    assert not (tmp_path / "data" / "tiny" / "preprocessed").exists()
    spoil_a_scan(tmp_path / "data" / "tiny" / "raw" / "dlbs")
    done = snakemake(tmp_path, *chosen)
    assert done.returncode == 0, done.stdout + done.stderr
    found = read_tsv(tmp_path / "results" / "tiny" / "quality.tsv")
    (counts,) = [row["message"] for row in found if row["check"] == "counts"]
    assert counts == (
        "4 patients instead of 5; 1 case could not be used, see below; the split is refused, and "
        "so is training"
    )
    assert "Clear up first" in (tmp_path / target).read_text()
    done = snakemake(tmp_path, *chosen[:-1], "results/tiny/splits/dlbs.tsv")
    assert done.returncode != 0
    assert "dlbs: 4 patients instead of 5. Cases that cannot be used are in" in done.stderr
    assert not (tmp_path / "results" / "tiny" / "splits" / "dlbs.tsv").exists()


def snakemake(folder, *arguments):
    command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


def spoil_a_scan(raw):
    """Cut the file of one scan; its list is written anew, as for files that were corrected."""
    listed = raw.with_name(f"{raw.name}.json")
    manifest = json.loads(listed.read_text())
    entry = max(manifest["files"], key=lambda file: file["bytes"])
    content = (raw / entry["path"]).read_bytes()[:1000]
    (raw / entry["path"]).write_bytes(content)
    entry |= {"bytes": 1000, "sha256": hashlib.sha256(content).hexdigest()}
    listed.write_text(json.dumps(manifest))
