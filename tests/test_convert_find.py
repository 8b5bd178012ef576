"""Convert: path patterns, manifests, and the tables the stages hand on."""

import json
from pathlib import Path

import pytest
from fabricate import write_card

from hermes.config.registry import load_card
from hermes.convert.find import find_cases
from hermes.convert.patterns import compile_pattern, natural
from hermes.convert.raw import CaseError, ConvertError, RawFolder
from hermes.files.tables import TableError, read_tsv, write_tsv


def folder(*paths):
    return RawFolder(Path("raw"), dict.fromkeys(paths, (1, "")))


@pytest.mark.parametrize(
    ("pattern", "path", "holes"),
    [
        ("{case}/{case}.nii", "a/a.nii", {"case": "a"}),
        ("{case}/{case}.nii", "a/b.nii", None),
        ("P_{hash}/{study}/x.nii", "P_1_2/3/x.nii", {"hash": "1_2", "study": "3"}),
        ("{number}_{rest}.nii", "1_2_3.nii", {"number": "1", "rest": "2_3"}),
        ("{case}.nii", "a/b.nii", None),
        ("{case}.nii", "a.nii.gz", None),
        ("s(+)_{case}.nii", "s(+)_1.nii", {"case": "1"}),
        ("*_{case}.nii", "any_1.nii", {"case": "1"}),
    ],
)
def test_patterns_match_parts_of_one_path_component(pattern, path, holes):
    match = compile_pattern(pattern).fullmatch(path)
    assert (match.groupdict() if match else None) == holes


def test_numbers_in_names_sort_as_numbers():
    names = ["img10", "img2", "img02", "a10b2", "a10b1", "10", "9"]
    assert sorted(names, key=natural) == ["9", "10", "a10b1", "a10b2", "img02", "img2", "img10"]


def test_locate_finds_files_folders_and_names_with_unknown_parts():
    raw = folder("p1/set_7.dcm", "p1/img/a.dcm", "p2/set_1.dcm", "p2/set_2.dcm")
    assert raw.locate("{case}/set_*.dcm", {"case": "p1"}) == "p1/set_7.dcm"
    assert raw.locate("{case}/img", {"case": "p1"}) == "p1/img"
    assert raw.locate("{case}/{other}.dcm", {"case": "p1"}) == "p1/set_7.dcm"
    with pytest.raises(CaseError, match=r"p2/set_\*\.dcm: stands for 2 paths"):
        raw.locate("{case}/set_*.dcm", {"case": "p2"})
    with pytest.raises(CaseError, match=r"p3/set_\*\.dcm: no such file or folder"):
        raw.locate("{case}/set_*.dcm", {"case": "p3"})


def test_reference_beside_its_image_is_no_image(tmp_path):
    label = {"format": "nifti", "path": "{case}_seg.nii.gz"}
    card = load_card(
        write_card(tmp_path / "toy.yaml", [{"pattern": "{case}.nii.gz", "label": label}])
    )
    raw = folder("p1.nii.gz", "p1_seg.nii.gz", "p2.nii.gz", "p2_seg.nii.gz")
    assert [case.name for case in find_cases(card, raw)] == ["p1", "p2"]


def test_resource_forks_and_dot_files_are_passed_over(tmp_path):
    paths = ["b10.nii", "b9.nii", "__MACOSX/b1.nii", "x/__MACOSX/b1.nii", "._b2.nii", ".x/b3.nii"]
    files = [{"path": path, "bytes": 1, "sha256": ""} for path in paths]
    (tmp_path / "raw.json").write_text(json.dumps({"files": files}))
    raw = RawFolder.read(tmp_path / "raw", tmp_path / "raw.json")
    assert list(raw.files) == ["b9.nii", "b10.nii"]


def test_manifest_that_is_missing_or_none_is_named(tmp_path):
    with pytest.raises(ConvertError, match=r"raw\.json: no such manifest"):
        RawFolder.read(tmp_path / "raw", tmp_path / "raw.json")
    for content in ("{", "[]", json.dumps({"files": [{"path": "a"}]})):
        (tmp_path / "raw.json").write_text(content)
        with pytest.raises(ConvertError, match=r"raw\.json: not a manifest"):
            RawFolder.read(tmp_path / "raw", tmp_path / "raw.json")


def test_tables_come_back_as_written(tmp_path):
    path = tmp_path / "new" / "t.tsv"
    rows = [{"case": 'a "b" c', "size": "1 2 3", "note": ""}, {"case": "ä", "size": 4, "note": 0.5}]
    write_tsv(path, ["case", "size", "note"], rows)
    assert path.read_bytes() == 'case\tsize\tnote\na "b" c\t1 2 3\t\nä\t4\t0.5\n'.encode()
    assert read_tsv(path) == [{k: str(v) for k, v in row.items()} for row in rows]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"a": 1}, r"t\.tsv: a row and the header disagree about the columns \['b'\]"),
        ({"a": 1, "b": 2, "c": 3}, r"disagree about the columns \['c'\]"),
        ({"a": 1, "b": "x\ty"}, r"a tab or a newline in 'x\\ty'"),
    ],
)
def test_rows_that_do_not_fit_their_table_leave_no_file(tmp_path, row, reason):
    with pytest.raises(TableError, match=reason):
        write_tsv(tmp_path / "t.tsv", ["a", "b"], [row])
    assert not list(tmp_path.iterdir())


def test_damaged_tables_are_named(tmp_path):
    path = tmp_path / "t.tsv"
    with pytest.raises(TableError, match=r"t\.tsv: no such table"):
        read_tsv(path)
    path.write_text("")
    with pytest.raises(TableError, match=r"t\.tsv: empty"):
        read_tsv(path)
    path.write_text("a\tb\n1\t2\n3\n")
    with pytest.raises(TableError, match="line 3 has 1 columns, the header has 2"):
        read_tsv(path)
