"""The registry answers mistakes in configuration with the file, the place and the nearest name."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from hermes.config.registry import (
    MODALITIES,
    RegistryError,
    load_card,
    load_structures,
    modality_id,
    tasks_of,
)
from hermes.config.study import load_study

CARD = {
    "name": "toy",
    "title": "Toy",
    "description": "A toy.",
    "citation": "none",
    "licence": {"name": "none"},
    "access": {"kind": "request", "instructions": "Ask."},
    "role": "sample",
    "region": "Abdomen",
    "clinical_target": "Organs",
    "modality_title": "CT",
    "modality": "ct",
    "images": [{"pattern": "{case}.nii.gz", "label": {"format": "none"}}],
    "labels": [{"value": 1, "structure": "liver"}, {"value": 2, "structure": "spleen"}],
    "split": {"rule": "all_test"},
}


def written(folder, changes, name="toy"):
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(CARD | changes))
    return path


@pytest.fixture
def structures(tmp_path):
    path = tmp_path / "structures.tsv"
    rows = ["liver\tLiver\tAbdomen\torgan\t#aa0000", "spleen\tSpleen\tAbdomen\torgan\t#00aa00"]
    path.write_text("\n".join(["name\ttitle\tregion\tkind\tcolour", *rows]) + "\n")
    return path


def test_a_column_of_the_structures_that_is_none_is_refused(structures):
    structures.write_text(structures.read_text().replace("colour", "color"))
    with pytest.raises(RegistryError, match="columns must be name, title, region, kind, colour"):
        load_structures(structures)


def test_card_in_class_order(tmp_path, structures):
    more = {"ignored_values": [7], "task_family": "zoo"}
    labels = [{"value": 5, "structure": "spleen", "also": [6]}, {"value": 2, "structure": "liver"}]
    path = written(tmp_path, more | {"labels": labels})
    card = load_card(path, load_structures(structures))
    assert card.structures == ("spleen", "liver")
    assert card.tasks == ("zoo/spleen", "zoo/liver")
    assert card.canonical_values == {0: 0, 7: 0, 5: 1, 6: 1, 2: 2}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"licens": {"name": "none"}}, r"licens: unknown key; did you mean 'licence'\?"),
        ({"split": {"rul": "all_test"}}, r"split.rul: unknown key; did you mean 'rule'\?"),
        (
            {"images": [{"pattern": "x", "label": {"format": "none", "rangs": {}}}]},
            r"images.0.label.rangs: unknown key; did you mean 'ranges'\?",
        ),
        ({"modality": "mr"}, "modality: 'mr' is not one of"),
        ({"labels": [{"value": 1, "structure": "lung"}] * 2}, r"listed twice: \[1\]"),
        ({"ignored_values": [2]}, r"listed twice: \[2\]"),
        (
            {"labels": [{"value": 1, "structure": "liver", "also": [3, 3]}]},
            r"published values listed twice: \[3\]",
        ),
        (
            {"labels": [{"value": v, "structure": "liver"} for v in (1, 2)]},
            r"structures listed twice: \['liver'\]",
        ),
        ({"sides": {"heart": "left"}}, "not labels: \\['heart'\\]"),
        ({"labels": [{"value": 1, "structure": "livr"}]}, "'livr'; did you mean 'liver'"),
        ({"name": "other"}, "name is 'other', but the file is called 'toy'"),
        (
            {
                "access": {"kind": "http", "instructions": ""},
                "archives": [{"filename": "toy.zip"}],
            },
            "archive toy.zip: give a url or a package",
        ),
    ],
)
def test_mistake_in_a_card_is_named(tmp_path, structures, changes, message):
    path = written(tmp_path, changes)
    with pytest.raises(RegistryError, match=message) as error:
        load_card(path, load_structures(structures))
    assert str(path) in str(error.value)


def test_missing_card_names_the_nearest(tmp_path):
    written(tmp_path, {})
    with pytest.raises(RegistryError, match="did you mean 'toy'"):
        load_card(tmp_path / "toyy.yaml")


def test_text_that_is_not_yaml(tmp_path):
    (tmp_path / "toy.yaml").write_text("name: [")
    with pytest.raises(RegistryError, match="not valid YAML"):
        load_card(tmp_path / "toy.yaml")


def test_structure_listed_twice(structures):
    structures.write_text(structures.read_text() + "liver\tLiver\tAbdomen\torgan\t#000000\n")
    with pytest.raises(RegistryError, match="listed twice: liver"):
        load_structures(structures)


def test_datasets_of_one_family_share_tasks(tmp_path):
    family = {"task_family": "zoo"}
    first = load_card(written(tmp_path, family | {"name": "one"}, "one"))
    fewer = {"labels": CARD["labels"][:1], "name": "two"}
    second = load_card(written(tmp_path, family | fewer, "two"))
    alone = load_card(written(tmp_path, {}))
    found = tasks_of([first, second, alone])
    assert found == ("zoo/liver", "zoo/spleen", "toy/liver", "toy/spleen")


def test_modality_ids():
    assert [modality_id(name) for name in MODALITIES] == [0, 1, 2, 3, 4, -1]
    with pytest.raises(RegistryError, match="did you mean 'cine'"):
        modality_id("cin")


def test_study_with_an_unknown_dataset(tmp_path):
    source = Path(__file__).parent.parent / "config/studies/phantom.yaml"
    study = yaml.safe_load(source.read_text())
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(study | {"datasets": ["bvc"]}))
    with pytest.raises(RegistryError, match="no card for dataset 'bvc'; did you mean 'bcv'"):
        load_study(path, ["bcv", "lits"])


def test_registry_needs_no_torch():
    code = "import sys, hermes.config.registry, hermes.download; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
