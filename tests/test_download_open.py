"""Every dataset that is fetched by itself, in archives made here, from servers that misbehave.

The cards are the repository's own; only addresses, checksums and the range of numbered files are
those of the fabricated archives. Whatever the server does, an archive arrives whole or not at all.
"""

import hashlib
import json
import logging
import re
from pathlib import Path

import pytest
import yaml
from fabricate_archives import ARCHIVES, content, pack
from loopback import Site, serve

from hermes.config.registry import load_card
from hermes.config.schema import Archive
from hermes.convert.patterns import compile_pattern
from hermes.download import DownloadError, run
from hermes.download.archives import expand

CARDS = Path(__file__).parents[1] / "config/datasets"
STORES = {
    "synapse": "/repo/v1/entity/{}/file?redirect=false",
    "kaggle": "/api/v1/datasets/download/{}",
}
each_dataset = pytest.mark.parametrize("name", ARCHIVES)

pytest_plugins = ["toyset_fixtures"]


class Open:
    """A dataset on a server: a copy of its card, its archives, and its download."""

    def __init__(self, name: str, site: Site, root: Path) -> None:
        self.name, self.site, self.root = name, site, root
        self.raw, self.manifest, self.cache = root / "raw", root / "raw.json", root / "cache"
        card = yaml.safe_load((CARDS / f"{name}.yaml").read_text("utf-8"))
        assert {entry["filename"] for entry in card["archives"]} == set(ARCHIVES[name])
        self.served = [path for entry in card["archives"] for path in self._serve(entry)]
        self.card = root / f"{name}.yaml"
        self.card.write_text(yaml.safe_dump(card), "utf-8")

    def _serve(self, entry: dict) -> list[str]:
        """Put an entry's files on the server, and what the card says of them into the entry."""
        made = ARCHIVES[self.name][entry["filename"]]
        checked = bool({"md5", "sha256"} & set(entry))  # a card without a checksum stays without
        for key in ("bytes", "about_bytes", "about_unpacked_bytes", "md5", "sha256"):
            entry.pop(key, None)
        if made.numbers:
            entry |= {"numbers": made.numbers, "url": f"{self.site.url}/{entry['filename']}"}
            files = {f"/{file.filename}": content(file.filename) for file in self._files(entry)}
        else:
            body = pack(entry["filename"], made.wanted + made.beside)
            files = {f"/{entry['filename']}": body}
            if checked:
                entry["sha256"] = hashlib.sha256(body).hexdigest()
            self._address(entry)
        self.site.files |= files
        return list(files)

    def _files(self, entry: dict) -> list[Archive]:
        return expand(Archive.model_validate(entry))

    def _address(self, entry: dict) -> None:
        """An address of the web becomes the server's; a store's stays, and leads to the server."""
        address = f"{self.site.url}/{entry['filename']}"
        store, _, what = entry["url"].partition(":")
        if store == "synapse":
            self.site.files[STORES[store].format(what)] = address.encode()
        elif store == "kaggle":
            self.site.moved[STORES[store].format(what)] = address
        else:
            entry["url"] = address

    def get(self) -> None:
        run(
            card=self.card,
            raw=self.raw,
            manifest=self.manifest,
            cache=self.cache,
            accept=[self.name, f"{self.name}:unofficial"],
            synapse=self.site.url,
            kaggle=self.site.url,
            pause_s=0.0,
        )

    def assert_whole(self) -> None:
        """The raw folder holds what the card wants, and nothing else; the manifest lists it."""
        expected = {}
        for entry in load_card(self.card).archives:
            made = ARCHIVES[self.name][entry.filename]
            for file in expand(entry) if made.numbers else ():
                expected[file.into] = content(file.filename)
            for member in made.wanted:
                kept = Path(entry.into, *Path(member).parts[entry.strip :])
                expected[kept.as_posix()] = content(member)
        found = {p.relative_to(self.raw).as_posix(): p for p in self.raw.rglob("*") if p.is_file()}
        assert {path: file.read_bytes() for path, file in found.items()} == expected
        listed = json.loads(self.manifest.read_text())
        assert (listed["dataset"], listed["source"]) == (self.name, "download")
        assert {file["path"] for file in listed["files"]} == set(expected)

    def assert_absent(self, *wrong: str) -> None:
        """Nothing is in place, and of the wrong archives nothing is kept."""
        assert not self.raw.exists() and not self.manifest.exists()
        for path in wrong:
            assert not list(self.cache.glob(f"{path.strip('/')}*"))


@pytest.fixture
def dataset(name, site, tmp_path, monkeypatch):
    monkeypatch.setenv("SYNAPSE_AUTH_TOKEN", "token")
    monkeypatch.setenv("KAGGLE_API_TOKEN", "token")
    return Open(name, site, tmp_path)


@each_dataset
def test_arrives_as_its_card_expects_it(dataset, site):
    dataset.get()
    dataset.assert_whole()
    site.asked.clear()
    dataset.manifest.unlink()
    dataset.get()
    dataset.assert_whole()
    assert not site.asked


@each_dataset
def test_every_pattern_of_the_card_finds_a_case(dataset):
    """What the archives are unpacked to is what the images' patterns look for."""
    dataset.get()
    files = [file["path"] for file in json.loads(dataset.manifest.read_text())["files"]]
    paths = {*files, *(str(Path(file).parent) for file in files)}
    card = load_card(dataset.card)
    found = [
        path
        for image in card.images
        for path in paths
        if compile_pattern(image.pattern).fullmatch(path)
    ]
    cases = {"chaos": 3, "kits": 3, "dlbs": 3, "amos_ct": 2, "amos_mr": 2, "lits": 2}
    assert len(found) == cases.get(dataset.name, 1)


@each_dataset
def test_connections_that_drop(dataset, site, caplog):
    site.cut = [500] * 8
    dataset.get()
    dataset.assert_whole()
    assert "broke off" in caplog.text and "are kept, try 2 of 8" in caplog.text


@each_dataset
def test_server_that_is_busy_at_first(dataset, site, caplog):
    site.fails = [503, 429, 500]
    dataset.get()
    dataset.assert_whole()
    assert any(f"the server answers {state}" in caplog.text for state in (503, 429, 500))


@each_dataset
@pytest.mark.parametrize("lack", ["ranges", "tags", "lengths"])
def test_server_that_knows_no_ranges_no_tags_or_no_lengths(dataset, site, lack):
    setattr(site, lack, False)
    site.cut = [] if lack == "lengths" else [500]
    dataset.get()
    dataset.assert_whole()


@each_dataset
def test_file_that_changes_between_tries(dataset, site):
    """The first bytes are another file's: they are not gone on from."""
    path = dataset.served[0]
    right = site.files[path]
    site.files[path] = right[::-1]

    def change():
        site.files[path] = right

    small = 1 if site.moved else 0
    site.cut = [len(right)] * small + [700] * 40
    site.between = [lambda: None] * small + [change] * 40
    dataset.get()
    dataset.assert_whole()


@each_dataset
@pytest.mark.parametrize("fault", ["cut short", "other bytes", "error page"])
def test_wrong_archive_is_refused_and_not_kept(dataset, site, fault):
    path = dataset.served[0]
    right = site.files[path]
    site.files[path] = {
        "cut short": right[:-200],
        "other bytes": right[:300] + bytes(255 - b for b in right[300:304]) + right[304:],
        "error page": b"<html>come back later</html>",
    }[fault]
    unchecked = ("autopet", "dlbs", "kits")
    told = "damaged or cut short" if dataset.name in unchecked else "sha256 is .* card says"
    with pytest.raises(DownloadError, match=f"{re.escape(path.strip('/'))}.*{told}"):
        dataset.get()
    dataset.assert_absent(path + ".part")
    assert not (dataset.cache / path.strip("/")).exists()
    site.files[path] = right
    dataset.get()
    dataset.assert_whole()


def test_image_without_checksum_that_is_cut_short_is_refused(site, tmp_path):
    kits = Open("kits", site, tmp_path)
    path = kits.served[-1]
    site.files[path] = site.files[path][:-50]
    with pytest.raises(DownloadError, match=r"case_00002\.nii\.gz: damaged or cut short"):
        kits.get()
    kits.assert_absent(path)


@each_dataset
def test_server_that_never_answers_leaves_what_came(dataset, site, caplog):
    caplog.set_level(logging.INFO, "hermes")
    path = dataset.served[0]
    site.status[path] = 503
    with pytest.raises(DownloadError, match="given up after 8 tries"):
        dataset.get()
    dataset.assert_absent(path + ".part")
    assert ": licence: " in caplog.messages[0] and ": to cite: " in caplog.messages[1]
    site.status.clear()
    dataset.get()
    dataset.assert_whole()


def test_amos_is_fetched_once_for_both_parts(site, tmp_path):
    (tmp_path / "mr").mkdir()
    ct, mr = Open("amos_ct", site, tmp_path), Open("amos_mr", site, tmp_path / "mr")
    members = ARCHIVES["amos_ct"]["amos22.zip"]
    body = pack("amos22.zip", members.wanted + members.beside)
    for part in (ct, mr):
        card = yaml.safe_load(part.card.read_text("utf-8"))
        card["archives"][0]["sha256"] = hashlib.sha256(body).hexdigest()
        part.card.write_text(yaml.safe_dump(card), "utf-8")
    site.files["/amos22.zip"], mr.cache = body, ct.cache
    ct.get()
    mr.get()
    assert [path for path, _ in site.asked] == ["/amos22.zip"]
    ct.assert_whole()
    mr.assert_whole()


def test_every_dataset_with_an_address_is_fabricated_here():
    cards = [load_card(path) for path in CARDS.glob("*.yaml")]
    assert {card.name for card in cards if any(a.url for a in card.archives)} == set(ARCHIVES)


def test_two_servers_of_one_dataset(tmp_path, site, monkeypatch):
    """KiTS comes from two places; a mirror on the web may stand in for one of them alone."""
    kits = Open("kits", site, tmp_path)
    with serve(Site()) as mirror:
        mirror.files["/kits19-master.zip"] = site.files.pop("/kits19-master.zip")
        monkeypatch.setenv("HERMES_MIRROR", mirror.url)
        kits.get()
    kits.assert_whole()
