"""A stage's source files are what it imports, and nothing that it does not."""

from pathlib import Path

import pytest

from hermes.sources import source_files

ROOT = Path(__file__).parents[1]


def test_follows_imports_transitively(tmp_path):
    package = tmp_path / "pack"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "a.py").write_text("from pack import b\nimport os\n")
    (package / "b.py").write_text("def late():\n    from pack.inner.c import thing\n")
    (package / "inner" / "c.py").write_text("import pack.a\nthing = 1\n")
    (package / "unused.py").write_text("")
    assert source_files("pack.a", tmp_path) == ["pack/a.py", "pack/b.py", "pack/inner/c.py"]


def test_a_name_that_is_no_module_is_refused():
    with pytest.raises(ValueError, match=r"hermes\.nosuch: no such module"):
        source_files("hermes.nosuch", ROOT)


def test_a_module_goes_before_what_is_left_of_a_package_of_its_name(tmp_path):
    (tmp_path / "pack" / "a" / "__pycache__").mkdir(parents=True)
    (tmp_path / "pack" / "a.py").write_text("")
    assert source_files("pack.a", tmp_path) == ["pack/a.py"]


def test_what_is_imported_from_a_package_by_name_is_that_module_alone(tmp_path):
    package = tmp_path / "pack" / "inner"
    package.mkdir(parents=True)
    (tmp_path / "pack" / "a.py").write_text("from pack.inner import b\n")
    for name in ("__init__", "b", "c"):
        (package / f"{name}.py").write_text("")
    assert source_files("pack.a", tmp_path) == ["pack/a.py", "pack/inner/b.py"]


def test_a_loss_is_part_of_training_and_of_no_data_stage():
    assert "hermes/losses/__init__.py" in source_files("hermes.train", ROOT)
    # a method names its loss, so predict has it too; it is predicted anew after training anyhow
    for stage in ("phantom", "download", "convert", "preprocess", "split", "evaluate"):
        assert "hermes/losses/__init__.py" not in source_files(f"hermes.{stage}", ROOT), stage
