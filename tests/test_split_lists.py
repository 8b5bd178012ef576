"""The published lists as a file: fetched or from a mirror, read without running it, checked."""

import json
from pathlib import Path

import pytest
import yaml
from loopback import Site, serve

from hermes.download import DownloadError
from hermes.split import lists

SOURCE = Path(__file__).parents[1] / "config" / "published" / "split_lists.yaml"
LISTS = {"toy_train": [1, 2, 3], "toy_val": [4], "toy_test": [5, 6]}
# a file of the published form; what it holds beside the lists is never run
TEXT = """import nothing_of_this_name
toy = {
    'toy_train': [1, 2, 3],
    'toy_val': [4],


    'toy_test': [5, 6],
}
other = open('/dev/null')
"""


def known(folder, url="http://127.0.0.1:1/lists.py", **changed):
    """Write what is known of the toy's lists; returns the file."""
    content = {
        "url": url,
        "filename": "lists.py",
        "assignment": "toy",
        "counts": {"toy": [3, 1, 2]},
        "sha256": lists.content_sha256(LISTS),
    }
    path = folder / "known.yaml"
    path.write_text(yaml.safe_dump(content | changed))
    return path


def from_mirror(folder, text, **changed):
    mirror = folder / "mirror"
    mirror.mkdir()
    (mirror / "lists.py").write_text(text)
    out = folder / "out" / "lists.json"
    source = known(folder, **changed)
    lists.run(source=source, out=out, cache=folder / "cache", mirror=str(mirror))
    return json.loads(out.read_text())


def test_lists_are_read_from_the_mirror_without_running_the_file(tmp_path):
    content = from_mirror(tmp_path, TEXT)
    assert content["lists"] == LISTS
    assert content["content_sha256"] == lists.content_sha256(LISTS)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (TEXT.replace("[4]", "[4, 7]"), "toy_val has 2 entries instead of 1"),
        (TEXT.replace("[4]", "[7]"), "each of the 3 split lists has as many entries as expected"),
        (TEXT.replace("toy_val", "toy_eval"), "lists missing or not expected: toy_eval, toy_val"),
        (TEXT.replace("toy = {", "tot = {"), "'toy' is not assigned a dictionary of lists"),
        (TEXT + "toy = {}\n", "'toy' is not assigned a dictionary of lists, once"),
        (TEXT.replace("[4]", "list([4])"), "cannot be read as literals"),
        (TEXT.replace("[4]", "[4"), "cannot be read as literals"),
        (TEXT.replace("[4]", "['a', 4]"), "not assigned a dictionary of lists"),
    ],
)
def test_other_lists_than_the_known_ones_are_refused(tmp_path, text, reason):
    with pytest.raises(DownloadError, match=reason) as told:
        from_mirror(tmp_path, text)
    assert "mirror/lists.py" in str(told.value)
    assert not (tmp_path / "out" / "lists.json").exists()


def test_as_many_entries_but_other_ones_says_how_to_go_on_and_that_works(tmp_path):
    with pytest.raises(DownloadError) as told:
        from_mirror(tmp_path, TEXT.replace("[4]", "[7]"))
    found = lists.content_sha256(LISTS | {"toy_val": [7]})
    source, expected = str(tmp_path / "known.yaml"), lists.content_sha256(LISTS)
    for words in (
        "mirror/lists.py: each of",
        f"sha256 {found}; {source} expects {expected}",
        "Compare the file with http://127.0.0.1:1/lists.py",
        f"write `sha256: {found}` into {source}",
    ):
        assert words in str(told.value)
    source = known(tmp_path, sha256=found)
    out = tmp_path / "lists.json"
    lists.run(source=source, out=out, cache=tmp_path / "cache", mirror=str(tmp_path / "mirror"))
    assert json.loads(out.read_text())["lists"]["toy_val"] == [7]


def test_the_known_lists_hold_what_their_description_says():
    sizes = lists.Source(**yaml.safe_load(SOURCE.read_text())).sizes()
    assert len(sizes) == 33
    assert (sizes["mnm_test"], sizes["structseg_head_oar_val"], sum(sizes.values())) == (
        170,
        2,
        2305,
    )


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve(Site(files={"/lists.py": TEXT.encode()})) as running:
        yield running


def test_lists_are_fetched_once_and_kept(site, tmp_path):
    source, out = known(tmp_path, f"{site.url}/lists.py"), tmp_path / "lists.json"
    for _ in range(2):
        lists.run(source=source, out=out, cache=tmp_path / "cache")
    assert json.loads(out.read_text())["lists"] == LISTS
    assert len(site.asked) == 1


def test_a_mirror_on_the_web_is_asked_first_and_the_address_next(site, tmp_path):
    source, out = known(tmp_path, f"{site.url}/lists.py"), tmp_path / "lists.json"
    lists.run(source=source, out=out, cache=tmp_path / "cache", mirror=f"{site.url}/mirror/")
    assert [path for path, _ in site.asked] == ["/mirror/lists.py", "/lists.py"]
    site.files["/mirror/lists.py"] = site.files.pop("/lists.py")
    lists.run(source=source, out=out, cache=tmp_path / "other", mirror=f"{site.url}/mirror/")
    assert json.loads(out.read_text())["lists"] == LISTS


def test_a_fetched_file_that_is_not_the_known_one_is_not_kept(site, tmp_path):
    source = known(tmp_path, f"{site.url}/lists.py", counts={"toy": [3, 2, 2]})
    with pytest.raises(DownloadError, match="toy_val has 1 entries instead of 2"):
        lists.run(source=source, out=tmp_path / "lists.json", cache=tmp_path / "cache")
    assert not [path for path in (tmp_path / "cache").iterdir() if not path.name.endswith(".lock")]


def test_an_address_that_is_gone_says_so(site, tmp_path):
    source = known(tmp_path, f"{site.url}/gone.py")
    with pytest.raises(DownloadError, match="404"):
        lists.run(source=source, out=tmp_path / "lists.json", cache=tmp_path / "cache")
