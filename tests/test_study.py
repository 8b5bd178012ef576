"""Studies, runs and tables: what the configuration expands to, and how mistakes are answered."""

import shutil
from collections import Counter
from pathlib import Path

import pytest

from hermes.config.registry import RegistryError
from hermes.config.study import load_plan
from hermes.config.study_tables import Part

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
    assert Counter(run.backbone for run in traditional) == {"resunet": 11, "medformer": 11}
    assert all(len(run.datasets) == 1 for run in traditional)
    universal = [run for run in plan.runs.values() if run.method != "traditional"]
    assert len(universal) == 8
    assert all(len(run.datasets) == 11 for run in universal)
    assert len(plan.runs["hermes-r"].datasets) == 11
    assert sum(len(s["tasks"]) for s in plan.training_sets("hermes-r")) == 84


def test_table2_has_the_papers_columns_in_order():
    table = load_plan(CONFIG, "phantom").tables["table2"]
    assert [column.key for column in table.columns] + [table.average] == PAPER_COLUMNS
    assert len(table.scored()) == 110
    only = {c.key: c.parts for c in table.columns if c.parts[0].structures}
    assert only == {
        "lits_t": (Part("lits", ("liver_tumor",)),),
        "kits_t": (Part("kits", ("kidney_tumor",)),),
    }


def test_the_samples_study_has_its_own_table_and_no_table2():
    assert list(load_plan(CONFIG, "samples").tables) == ["samples"]


def test_overrides_change_a_method_and_leave_the_others():
    plan = load_plan(CONFIG, "phantom")
    common = plan.study.train.model_dump(mode="json")
    assert plan.training("resunet-bcv") == common | plan.study.overrides["traditional"]
    assert plan.training("hermes-r") == common


def test_every_universal_network_of_the_phantom_has_the_same_budget():
    plan = load_plan(CONFIG, "phantom")
    universal = [name for name, run in plan.runs.items() if run.method != "traditional"]
    assert all(plan.training(name) == plan.training("hermes-r") for name in universal)


def test_options_are_the_runs_and_over_them_the_studys():
    plan = load_plan(CONFIG, "phantom")
    assert plan.options("uniseg") == {"prompt_size": [2, 2, 2]}
    assert plan.options("medformer-bcv") == plan.options("hermes-m") != {}
    assert plan.options("hermes-r") == {}
    assert load_plan(CONFIG, "paper").options("uniseg") == {}


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


def test_overrides_reach_runs_of_a_pattern(config):
    edit(
        config / "studies" / "phantom.yaml",
        "  resunet-mnms:",
        "  resunet-ss_*: {epochs: 3}\n  resunet-mnms:",
    )
    plan = load_plan(config, "phantom")
    assert plan.training("resunet-ss_h")["epochs"] == 3
    assert plan.training("resunet-bcv")["epochs"] != 3


def test_an_unknown_override_is_an_error(config):
    edit(config / "studies" / "phantom.yaml", "  traditional: {", "  traditionel: {")
    with pytest.raises(RegistryError, match="'traditionel'; did you mean 'traditional'"):
        load_plan(config, "phantom")


def test_an_unknown_name_in_options_is_an_error(config):
    edit(config / "studies" / "phantom.yaml", "  uniseg: {", "  unisegg: {")
    with pytest.raises(RegistryError, match="options: 'unisegg'; did you mean 'uniseg'"):
        load_plan(config, "phantom")


def test_an_unknown_study_is_answered_with_the_nearest():
    with pytest.raises(RegistryError, match="did you mean 'phantom'"):
        load_plan(CONFIG, "phantoms")


def test_a_table_row_needs_a_run_that_exists(config):
    path = config / "tables.yaml"
    path.write_text(path.read_text().replace("run: hermes-r}", "run: hermes_r}"))
    with pytest.raises(RegistryError, match="no run 'hermes_r'; did you mean 'hermes-r'"):
        load_plan(config, "phantom")


STUDY_MISTAKES = {
    "spacing": (
        "spacing_mm: {default: 8, ss_h: 5",
        "spacing_mm: {default: 8, ss_hh: 5",
        r"preprocess\.spacing_mm: 'ss_hh'; did you mean 'ss_h'",
    ),
    "no default": (
        "spacing_mm: {default: 8, ",
        "spacing_mm: {",
        r"preprocess\.spacing_mm: no default: no value for bcv, ss_t, lits",
    ),
    "voxel scale": (
        "voxel_scale: {default: 5, ss_h",
        "voxel_scale: {defualt: 5, ss_h",
        r"phantom\.voxel_scale: 'defualt'; did you mean 'default'",
    ),
    "native z": (
        "preprocess:\n",
        "preprocess:\n  keep_native_z: [mnm]\n",
        r"preprocess\.keep_native_z: 'mnm'; did you mean 'mnms'",
    ),
    "body crop": (
        "preprocess:\n",
        "preprocess:\n  body_crop: [autopt]\n",
        r"preprocess\.body_crop: 'autopt'; did you mean 'autopet'",
    ),
    "patients": ("patients: {bcv: 16", "patients: {bvc: 16", "'bvc'; did you mean 'bcv'"),
    "no patients": (
        "patients: {bcv: 16, ",
        "patients: {",
        r"phantom\.patients: no value for bcv",
    ),
    "window": (
        "    cine: {percentiles: [2, 98]}\n",
        "",
        r"preprocess\.intensity: no window for modality 'cine', which mnms has",
    ),
}
RUN_MISTAKES = {
    "each": ("each: training", "each: trainin", r"runs\.0\.each: 'trainin' is not one of"),
    "word": ("datasets: training", "datasets: trainin", "'trainin' is not one of 'training'"),
    "list": ("datasets: training", "datasets: [bvc]", "run hermes-r: 'bvc'; did you mean 'bcv'"),
    "nothing": ("    datasets: training\n", "", "hermes-r: give either each or datasets"),
    "placeholder": ("resunet-{dataset}", "resunet-{datset}", "{dataset} in the name goes with"),
}
TABLE_MISTAKES = {
    "columns": ("columns: each", "columns: eech", "'eech' is not one of 'each'"),
    "column key": ("title: BCV", "titel: BCV", "unknown key; did you mean 'title'"),
    "dataset": ("of: [bcv]", "of: [bvc]", "table2: column bcv: of: 'bvc'.*'bcv'"),
    "structure": (
        "of: [lits/liver_tumor]",
        "of: [lits/liver_tumour]",
        "column lits_t: of: 'liver_tumour'; did you mean 'liver_tumor'",
    ),
    "reference": ("reference: ResUNet", "reference: ResUnet", "reference 'ResUnet' is no row"),
    "study": ("study: samples", "study: sample", "study: 'sample'; did you mean 'samples'"),
    "placeholder": ("resunet-{dataset}", "resunet-{datset}", "no run 'resunet-{datset}'; did"),
}
MISTAKES = [
    pytest.param(file, *mistake, id=f"{file}: {name}")
    for file, mistakes in (
        ("studies/phantom.yaml", STUDY_MISTAKES),
        ("runs.yaml", RUN_MISTAKES),
        ("tables.yaml", TABLE_MISTAKES),
    )
    for name, mistake in mistakes.items()
]


def edit(path, right, other):
    text = path.read_text()
    assert right in text
    path.write_text(text.replace(right, other))


@pytest.mark.parametrize(("file", "right", "wrong", "answer"), MISTAKES)
def test_a_mistyped_name_is_answered(config, file, right, wrong, answer):
    edit(config / file, right, wrong)
    with pytest.raises(RegistryError, match=answer) as error:
        load_plan(config, "phantom")
    assert str(error.value).startswith(str(config / file))


def test_all_datasets_listed_need_no_default(config):
    listed = ", ".join(f"{name}: 7" for name in load_plan(config, "phantom").cards)
    edit(
        config / "studies" / "phantom.yaml",
        "spacing_mm: {default: 8, ss_h: 5, mnms: 5, dlbs: 5}",
        f"spacing_mm: {{{listed}}}",
    )
    assert load_plan(config, "phantom").spacing_mm("bcv") == 7


def test_runs_and_tables_of_datasets_that_the_study_lacks_are_left_out(config):
    edit(config / "runs.yaml", "datasets: training", "datasets: [bcv, lits]")
    plan = load_plan(config, "samples")
    assert "hermes-r" not in plan.runs
    assert plan.tables == {}
    assert load_plan(config, "phantom").runs["hermes-r"].datasets == ["bcv", "lits"]


def test_scored_runs_are_those_of_the_tables_in_order(config):
    plan = load_plan(config, "samples")
    kept = [name for name in plan.runs if name.startswith("resunet-") or name == "hermes-r"]
    assert plan.scored_runs() == kept
    path = config / "tables.yaml"
    row = '    - {model: ResUNet, run: "resunet-{dataset}"}\n'
    path.write_text(path.read_text().replace(row, "").replace("  reference: ResUNet\n", ""))
    plan = load_plan(config, "samples")
    assert plan.scored_runs() == ["hermes-r"]
    assert len(kept) == 9


def test_a_study_is_called_as_its_file(config):
    text = (config / "studies" / "samples.yaml").read_text()
    (config / "studies" / "other.yaml").write_text(text)
    with pytest.raises(RegistryError, match="name is 'samples', but the file is called 'other'"):
        load_plan(config, "other")


def test_datasets_left_out_take_their_columns_with_them():
    plan = load_plan(CONFIG, "paper", without=["ss_h", "lits"])
    assert "ss_h" not in plan.cards
    assert plan.runs["hermes-r"].datasets == [
        n for n in plan.cards if n in plan.runs["hermes-r"].datasets
    ]
    table = plan.tables["table2"]
    assert table.left_out == ("SS H", "LiTS T")
    assert "ss_h" not in [c.key for c in table.columns]
    aspects = {c.key: c for c in plan.tables["table3"].columns}
    assert aspects["tumor_lesion"].left_out == ("lits",)
    assert "region_head_neck" not in aspects


def test_a_dataset_left_out_may_have_overrides():
    assert "resunet-mnms" in load_plan(CONFIG, "phantom").study.overrides
    assert "resunet-mnms" not in load_plan(CONFIG, "phantom", without=["mnms"]).runs


def test_a_dataset_that_is_not_there_cannot_be_left_out():
    with pytest.raises(RegistryError, match="without: 'sh' is not in paper; did you mean 'ss_h'"):
        load_plan(CONFIG, "paper", without=["sh"])


def test_switches_of_the_protocol_are_checked():
    assert (
        load_plan(CONFIG, "paper", protocol={"split": "reference"}).study.protocol.split
        == "reference"
    )
    with pytest.raises(RegistryError, match="protocol: splt: unknown key; did you mean 'split'"):
        load_plan(CONFIG, "paper", protocol={"splt": "reference"})


def test_table3_is_made_of_the_papers_groups():
    columns = {c.key: c for c in load_plan(CONFIG, "phantom").tables["table3"].columns}
    assert columns["difficult_classes"].below == 80
    assert len(columns["all_classes"].parts) == len(columns["all_datasets"].parts) == 11
    assert (columns["all_classes"].mean, columns["all_datasets"].mean) == ("classes", "parts")
