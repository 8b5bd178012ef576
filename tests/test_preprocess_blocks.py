"""Blocks of cases as jobs: the workflow shares a dataset out, and the result is that of one job."""

import shutil
from pathlib import Path

import pytest
import test_workflow
import yaml
from test_workflow import CONFIG, jobs, snakemake

from hermes.config.study import load_plan
from hermes.preprocess import run

checkout = test_workflow.checkout  # the fixture


def plan_study(checkout: Path, **preprocess: object) -> None:
    """Write the tiny study with other values of its preprocess section."""
    study = yaml.safe_load((CONFIG / "tiny.yaml").read_text())
    study["preprocess"] |= preprocess
    path = checkout / "config" / "studies" / "tiny.yaml"
    path.write_text(yaml.safe_dump(study, sort_keys=False))


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_jobs_of_the_papers_study(checkout):
    shares = load_plan(checkout / "config", "paper").study.preprocess.blocks
    wanted = [f"data/paper/preprocessed/{name}/cases.tsv" for name in ("autopet", "bcv")]
    chosen = ("-n", "--config", "study=paper", "accept=autopet,bcv", "--", *wanted)
    found = jobs(snakemake(*chosen, cwd=checkout))
    assert shares["autopet"] > 1
    assert (found["preprocess_block"], found["preprocess"]) == (shares["autopet"], 2)


@pytest.mark.slow
def test_a_dataset_in_blocks_comes_out_as_in_one_job(checkout):
    plan_study(checkout, blocks={"default": 1, "dlbs": 3}, body_crop=["dlbs"])
    target = "data/tiny/preprocessed/dlbs/cases.tsv"
    chosen = ("--config", "study=tiny", "--", target)
    planned = jobs(snakemake("-n", *chosen, cwd=checkout))
    assert (planned["preprocess_block"], planned["preprocess"]) == (3, 1)
    snakemake("--cores", "2", *chosen, cwd=checkout)
    assert "Nothing to be done" in snakemake("-n", *chosen, cwd=checkout)
    plan, folder = load_plan(checkout / "config", "tiny"), checkout / "data" / "tiny"
    canonical = folder / "canonical" / "dlbs"
    run(
        dataset="dlbs",
        canonical=canonical,
        cases=canonical / "cases.tsv",
        folder=folder / "alone",
        out=folder / "alone" / "cases.tsv",
        classes=len(plan.cards["dlbs"].labels),
        spacing_mm=plan.spacing_mm("dlbs"),
        keep_native_z=False,
        intensity=plan.intensity("dlbs"),
        seed=plan.study.seed,
        body_crop=True,
    )
    blocks = files(folder / "preprocessed" / "dlbs")
    assert len(blocks) == 11  # five cases and the table; no block's own
    assert blocks == files(folder / "alone")
    shutil.rmtree(folder)
