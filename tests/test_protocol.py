"""The protocol's switches: from the command line to every stage, the sidecars and the page."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import test_workflow
import yaml

from hermes.config.registry import RegistryError
from hermes.config.study import load_plan
from hermes.report.protocol import points

checkout = test_workflow.checkout  # the fixture
CONFIG = Path(__file__).parents[1] / "config"
PROTOCOL = {
    "split": "paper",
    "test_crop": "none",
    "test_crop_margin": 20,
    "seed": 1,
    "nsd_tolerance_mm": 2.0,
}
PREPROCESS = {
    "spacing_mm": {"default": 1.5},
    "intensity": {"pet": {"percentiles": [2, 98]}},
    "keep_native_z": [],
}


def told(crop, body_crop, name):
    """A point of the page, for a study of autopet and bcv."""
    protocol, preprocess = PROTOCOL | {"test_crop": crop}, PREPROCESS | {"body_crop": body_crop}
    found = points(protocol, preprocess, ["autopet", "bcv"], ["pet"], [])
    return next(point for point in found if point.name == name)


BOTH = ["autopet", "bcv"]
TOLD = [
    ("none", [], "all of every test scan is predicted"),
    ("none", ["dlbs"], "all of every test scan is predicted"),  # left out of the study
    (
        "none",
        ["autopet"],
        "all of every test scan is predicted, but in autopet the stored part, the body's box",
    ),
    ("none", BOTH, "the stored part of every test scan, the body's box, is predicted"),
    (
        "image",
        ["autopet"],
        "the body's box, found in the image, 20 voxels around, is predicted, but in autopet the "
        "stored part, the body's box",
    ),
    (
        "reference",
        BOTH,
        "the reference segmentation's box, 20 voxels around, is predicted: it leaks the answer; in "
        "autopet, bcv as far as the stored body's box reaches",
    ),
]


@pytest.mark.parametrize(("crop", "body_crop", "text"), TOLD)
def test_the_page_says_what_is_predicted_of_a_stored_box(crop, body_crop, text):
    assert told(crop, body_crop, "Test scans").here == text


def test_the_page_says_what_is_stored_and_that_a_shorter_box_is_not_the_published_one():
    stored = {None: [], "some": ["autopet"], "all": BOTH}
    texts = {key: told("none", names, "Stored part").here for key, names in stored.items()}
    assert texts == {
        None: "the whole scan",
        "some": "the whole scan; in autopet the body's box, found in the image",
        "all": "the body's box, found in the image",
    }
    assert told("reference", [], "Test scans").same is True
    assert told("reference", ["bcv"], "Test scans").same is False


def switched(text, study="paper", without=()):
    """The plan under `--config 'protocol=<text>'`, as the command line reads it."""
    return load_plan(CONFIG, study, without=without, protocol=yaml.safe_load(text))


def test_native_slices_are_a_switch():
    assert not load_plan(CONFIG, "paper").preparation(["autopet"])["autopet"]["keep_native_z"]
    plan = switched("{keep_native_z: [autopet], test_crop: image}")
    assert plan.study.protocol.test_crop == "image"
    assert plan.study.preprocess.keep_native_z == ["autopet"]
    prepared = plan.preparation(["autopet", "bcv"])
    assert [prepared[name]["keep_native_z"] for name in ("autopet", "bcv")] == [True, False]


def test_what_a_switch_does_not_name_stays():
    before = load_plan(CONFIG, "paper")
    plan = switched("{intensity: {ct: {percentiles: [1, 99]}}, spacing_mm: {mnms: 1}}")
    assert plan.intensity("bcv")["ct"] == {"percentiles": (1.0, 99.0)}
    assert plan.intensity("bcv")["pet"] == before.intensity("bcv")["pet"]
    assert [plan.spacing_mm(name) for name in ("mnms", "bcv")] == [1, 1.5]
    assert plan.study.preprocess.blocks == before.study.preprocess.blocks
    assert plan.study.preprocess.body_crop == ["autopet"]
    assert switched("{body_crop: []}").study.preprocess.body_crop == []


def test_a_switch_may_name_a_dataset_that_is_left_out():
    plan = switched("{keep_native_z: [autopet]}", without=["autopet"])
    assert "autopet" not in plan.cards


MISTAKES = [
    (
        "{keep_native: [autopet]}",
        "protocol: keep_native: unknown key; did you mean 'keep_native_z'",
    ),
    ("{blocks: {default: 2}}", "protocol: blocks: unknown key"),
    ("{keep_native_z: [autopt]}", "protocol: keep_native_z: 'autopt'; did you mean 'autopet'"),
    ("{body_crop: [bvc]}", "protocol: body_crop: 'bvc'; did you mean 'bcv'"),
    ("{body_crop: true}", "protocol: body_crop: Input should be a valid list"),
    ("{spacing_mm: {bvc: 2}}", "protocol: spacing_mm: 'bvc'; did you mean 'bcv'"),
    ("{spacing_mm: 2}", "protocol: spacing_mm: Input should be a valid dict"),
    ("{intensity: {ct: {clp: [0, 1]}}}", "protocol: intensity.ct.clp: unknown key.*'clip'"),
    ("{intensity: {cr: {clip: [0, 1]}}}", r"protocol: intensity\.cr.*'cr' is not one of"),
    ("{test_crop: whole}", "protocol: test_crop: 'whole' is not one of 'none'"),
]


@pytest.mark.parametrize(("text", "answer"), MISTAKES)
def test_a_wrong_switch_is_answered(text, answer):
    with pytest.raises(RegistryError, match=f"^configuration: {answer}"):
        switched(text)


def calls(stage, text):
    """The values that a dry run hands to a stage, call by call."""
    lines = [line for line in text.splitlines() if f"stage.py {stage} " in line]
    commands = [shlex.split(line) for line in lines]
    return [json.loads(words[words.index(stage) + 1]) for words in commands]


def test_a_switch_reaches_the_stage_and_the_tables_sidecar(checkout):
    command = [sys.executable, "-m", "snakemake", "-n", "-p", "--config", "study=paper"]
    switches = "protocol={keep_native_z: [autopet], intensity: {pet: {clip: [0, 20]}}}"
    target = "results/paper/table2.csv"
    done = subprocess.run(
        [*command, "accept=autopet", switches, "--", target],
        cwd=checkout,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    text = done.stdout + done.stderr
    prepared = next(v for v in calls("preprocess", text) if v["dataset"] == "autopet")
    assert prepared["keep_native_z"] is True
    assert prepared["body_crop"] is True
    assert prepared["intensity"]["pet"] == {"clip": [0, 20]}
    facts = calls("report.tables", text)[0]["study"]
    assert facts["protocol"]["test_crop"] == "none"
    assert facts["preprocess"]["keep_native_z"] == facts["preprocess"]["body_crop"] == ["autopet"]
    assert facts["preprocess"]["intensity"]["pet"] == {"clip": [0, 20]}
    assert facts["preprocess"]["spacing_mm"] == {"default": 1.5}
