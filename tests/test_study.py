"""Studies, runs and tables: what the configuration expands to, and how mistakes are answered."""

import shutil
from pathlib import Path

import pytest

from hermes.registry import RegistryError
from hermes.study import load_plan

CONFIG = Path(__file__).parents[1] / "config"
PAPER_COLUMNS = "bcv ss_t ss_h lits_t kits_t amos_ct amos_mr chaos mnms autopet dlbs avg".split()


@pytest.fixture
def config(tmp_path):
    shutil.copytree(CONFIG, tmp_path / "config")
    return tmp_path / "config"


@pytest.mark.parametrize("study", ["phantom", "paper"])
def test_a_traditional_network_per_dataset_and_one_universal(study):
    plan = load_plan(CONFIG, study)
    traditional = [run for run in plan.runs.values() if run.method == "traditional"]
    assert len(traditional) == 11
    assert all(len(run.datasets) == 1 for run in traditional)
    assert len(plan.runs["hermes-r"].datasets) == 11
    assert sum(len(s["tasks"]) for s in plan.training_sets("hermes-r")) == 84


def test_table2_has_the_papers_columns_in_order():
    table = load_plan(CONFIG, "phantom").tables["table2"]
    assert [column.key for column in table.columns] + [table.average] == PAPER_COLUMNS
    assert len(table.scored()) == 22
    only = {c.key: c.structures for c in table.columns if c.structures}
    assert only == {"lits_t": ["liver_tumor"], "kits_t": ["kidney_tumor"]}


def test_the_samples_study_has_its_own_table_and_no_table2():
    assert list(load_plan(CONFIG, "samples").tables) == ["samples"]


def test_overrides_change_a_method_and_leave_the_others():
    plan = load_plan(CONFIG, "phantom")
    common = plan.study.train.model_dump(mode="json")
    assert plan.training("resunet-bcv") == common | plan.study.overrides.get("traditional", {})
    assert plan.training("hermes-r") == common | plan.study.overrides["hermes"]


def test_a_mistyped_dataset_is_answered_with_the_nearest(config):
    path = config / "studies" / "phantom.yaml"
    path.write_text(path.read_text().replace("datasets: [bcv,", "datasets: [bvc,"))
    with pytest.raises(RegistryError, match=r"phantom\.yaml: no card for dataset 'bvc'.*'bcv'"):
        load_plan(config, "phantom")


def test_a_mistyped_key_is_answered_with_the_nearest(config):
    path = config / "studies" / "phantom.yaml"
    path.write_text(path.read_text().replace("  epochs:", "  epoch:"))
    with pytest.raises(RegistryError, match=r"train\.epoch: unknown key; did you mean 'epochs'"):
        load_plan(config, "phantom")


def test_an_unknown_override_is_an_error(config):
    path = config / "studies" / "phantom.yaml"
    path.write_text(path.read_text().replace("  hermes: {", "  hermess: {"))
    with pytest.raises(RegistryError, match="'hermess'; did you mean 'hermes'"):
        load_plan(config, "phantom")


def test_an_unknown_study_is_answered_with_the_nearest():
    with pytest.raises(RegistryError, match="did you mean 'phantom'"):
        load_plan(CONFIG, "phantoms")


def test_a_table_row_needs_a_run_that_exists(config):
    path = config / "tables.yaml"
    path.write_text(path.read_text().replace("run: hermes-r}", "run: hermes_r}"))
    with pytest.raises(RegistryError, match="no run 'hermes_r'; did you mean 'hermes-r'"):
        load_plan(config, "phantom")
