"""Files out of packages, from a loopback index and from local folders, as pip's settings say."""

import pytest
from toyset import tarred

from hermes.download import DownloadError
from hermes.download.index import parse_config

pytest_plugins = ["toyset_fixtures"]


@pytest.fixture
def package_index(site, monkeypatch, tmp_path):
    """A package index of two pages on the loopback server, as pip's only index."""
    page = '<html><body><a href="/files/toy-1.0.tar.gz">toy-1.0.tar.gz</a></body></html>'
    site.files["/simple/toy/"] = page.encode()
    site.files["/files/toy-1.0.tar.gz"] = tarred({"toy-1.0/data/a.nii.gz": b"one", "setup.py": b""})
    for name in ("EXTRA_INDEX_URL", "FIND_LINKS", "NO_INDEX", "PROXY", "CERT"):
        monkeypatch.delenv(f"PIP_{name}", raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", str(tmp_path / "pip.conf"))
    (tmp_path / "pip.conf").write_text(f"[global]\nindex-url = {site.url}/simple\n")
    return site


PACKAGE = {
    "package": "toy==1.0",
    "filename": "toy-1.0.tar.gz",
    "unpack": "tar",
    "members": ["toy-1.0/data/*"],
    "strip": 2,
}


def test_file_of_a_package_comes_from_pips_index(package_index, toy):
    content = toy.get(PACKAGE, kind="package")
    assert toy.files() == {"a.nii.gz": b"one"}
    assert content["archives"][0]["package"] == "toy==1.0"


def test_local_index_and_local_links_are_read_from_disk(package_index, toy, tmp_path):
    package_index.files.clear()
    pages = tmp_path / "local/simple/toy"
    pages.mkdir(parents=True)
    (pages / "index.html").write_text('<a href="../../toy-1.0.tar.gz">toy-1.0.tar.gz</a>')
    (tmp_path / "local/toy-1.0.tar.gz").write_bytes(tarred({"toy-1.0/data/a.nii.gz": b"two"}))
    extra = (tmp_path / "local/simple").as_uri()
    with open(tmp_path / "pip.conf", "a") as settings:
        settings.write(f"extra-index-url = {extra}\n")
    toy.get(PACKAGE, kind="package")
    assert toy.files() == {"a.nii.gz": b"two"}


@pytest.mark.parametrize("absent", ["/simple/toy/", "/files/toy-1.0.tar.gz"])
def test_package_that_the_index_lacks(package_index, toy, absent):
    del package_index.files[absent]
    with pytest.raises(DownloadError, match="mirror folder"):
        toy.get(PACKAGE, kind="package")


def test_settings_of_pip_later_sections_win():
    text = "global.index-url='a'\ndownload.index-url='b'\ninstall.index-url='c'\nglobal.cert='d'\n"
    assert parse_config(text) == {"index-url": "b", "cert": "d"}
    assert parse_config(text + ":env:.index-url='e'\n")["index-url"] == "e"
    assert parse_config("global.extra-index-url='f\\ng'")["extra-index-url"].split() == ["f", "g"]
