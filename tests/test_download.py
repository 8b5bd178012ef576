"""Download: transfers from a loopback server, a loopback package index, mirrors, copies."""

import hashlib
import io
import json
import tarfile
import threading
import zipfile
from pathlib import Path

import pytest
import requests
import yaml
from loopback import Site, serve

from hermes.download import DownloadError, run
from hermes.download.fetch import ATTEMPTS, fetch
from hermes.download.index import parse_config

CONTENT = bytes(range(256)) * 400  # 102,400 bytes


@pytest.fixture
def site(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serve(Site()) as running:
        yield running


@pytest.fixture
def session():
    with requests.Session() as opened:
        yield opened


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        for name, content in files.items():
            bundle.writestr(name, content)
    return buffer.getvalue()


def tarred(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as bundle:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            bundle.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


class Dataset:
    """A card in a temporary place, and its download."""

    def __init__(self, root: Path, name: str = "toy") -> None:
        self.root, self.name = root, name
        self.raw, self.manifest = root / "raw" / name, root / "raw" / f"{name}.json"
        self.cache = root / "cache"

    def card(self, *archives: dict, kind: str = "http") -> Path:
        path = self.root / f"{self.name}.yaml"
        card = {
            "name": self.name,
            "title": "Toy",
            "description": "Two files.",
            "citation": "none",
            "licence": {"name": "none"},
            "access": {"kind": kind, "url": "toy.example", "instructions": "Ask the owners."},
            "archives": list(archives),
            "role": "sample",
            "region": "Abdomen",
            "clinical_target": "Organs",
            "modality_title": "CT",
            "modality": "ct",
            "images": [{"pattern": "{case}.nii.gz", "label": {"format": "none"}}],
            "labels": [{"value": 1, "structure": "liver"}],
            "split": {"rule": "all_test"},
        }
        path.write_text(yaml.safe_dump(card))
        return path

    def get(self, *archives: dict, kind: str = "http", mirror: str = "") -> dict:
        run(
            card=self.card(*archives, kind=kind),
            raw=self.raw,
            manifest=self.manifest,
            cache=self.cache,
            mirror=mirror,
        )
        return json.loads(self.manifest.read_text())

    def files(self) -> dict[str, bytes]:
        found = (p for p in self.raw.rglob("*") if p.is_file())
        return {p.relative_to(self.raw).as_posix(): p.read_bytes() for p in found}


@pytest.fixture
def toy(tmp_path):
    return Dataset(tmp_path)


# One transfer


def test_broken_transfer_is_resumed_where_it_stopped(site, session, tmp_path):
    site.files["/a.bin"], site.cut = CONTENT, [30_000, 50_000]
    fetch(f"{site.url}/a.bin", tmp_path / "a.bin", session, pause_s=0.0)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert [wanted for _, wanted in site.asked] == ["", "bytes=30000-", "bytes=80000-"]
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_later_call_goes_on_from_the_part_kept(site, session, tmp_path):
    site.files["/a.bin"], site.cut = CONTENT, [40_000] + [0] * ATTEMPTS
    with pytest.raises(DownloadError, match="run again to go on from 40000 bytes"):
        fetch(f"{site.url}/a.bin", tmp_path / "a.bin", session, pause_s=0.0)
    site.cut, site.asked = [], []
    fetch(f"{site.url}/a.bin", tmp_path / "a.bin", session, pause_s=0.0)
    assert site.asked == [("/a.bin", "bytes=40000-")]
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_changed_file_is_fetched_anew(site, session, tmp_path):
    site.files["/a.bin"], site.cut = CONTENT, [40_000] + [0] * ATTEMPTS
    with pytest.raises(DownloadError):
        fetch(f"{site.url}/a.bin", tmp_path / "a.bin", session, pause_s=0.0)
    site.files["/a.bin"], site.cut = CONTENT[::-1], []
    fetch(f"{site.url}/a.bin", tmp_path / "a.bin", session, pause_s=0.0)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT[::-1]


def test_server_without_tags_starts_afresh(site, session, tmp_path):
    site.files["/a.bin"], site.cut, site.tags = CONTENT, [40_000], False
    fetch(f"{site.url}/a.bin", tmp_path / "a.bin", session, pause_s=0.0)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert [wanted for _, wanted in site.asked] == ["", ""]


def test_part_that_is_whole_is_only_renamed(site, session, tmp_path):
    site.files["/a.bin"] = CONTENT
    (tmp_path / "a.bin.part").write_bytes(CONTENT)
    (tmp_path / "a.bin.part.tag").write_text(f'"{hash(CONTENT):x}"')
    fetch(f"{site.url}/a.bin", tmp_path / "a.bin", session, pause_s=0.0)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(("status", "requests_made"), [(404, 1), (403, 1), (503, ATTEMPTS)])
def test_refusals(site, session, tmp_path, status, requests_made):
    site.status["/a.bin"] = status
    with pytest.raises(DownloadError, match=f"answers {status}"):
        fetch(f"{site.url}/a.bin", tmp_path / "a.bin", session, pause_s=0.0)
    assert len(site.asked) == requests_made
    assert not list(tmp_path.iterdir())


def test_name_and_password_are_not_shown(site, session, tmp_path):
    address = site.url.replace("http://", "http://me:secret@")
    with pytest.raises(DownloadError) as error:
        fetch(f"{address}/a.bin", tmp_path / "a.bin", session, pause_s=0.0)
    assert "secret" not in str(error.value)


# The stage


def test_archive_becomes_raw_folder_and_manifest(site, toy):
    inside = {"top/b/2.nii.gz": b"two", "top/a.nii.gz": b"one", "__MACOSX/top/._a.nii.gz": b"x"}
    site.files["/toy.zip"] = zipped(inside)
    archive = {
        "url": f"{site.url}/toy.zip",
        "filename": "toy.zip",
        "sha256": hashlib.sha256(site.files["/toy.zip"]).hexdigest(),
        "bytes": len(site.files["/toy.zip"]),
        "unpack": "zip",
        "members": ["top/*.nii.gz"],
        "strip": 1,
    }
    content = toy.get(archive)
    assert toy.files() == {"a.nii.gz": b"one", "b/2.nii.gz": b"two"}
    assert (content["dataset"], content["source"]) == ("toy", "download")
    sums = {"a.nii.gz": (3, b"one"), "b/2.nii.gz": (3, b"two")}
    assert content["files"] == [
        {"path": path, "bytes": size, "sha256": hashlib.sha256(data).hexdigest()}
        for path, (size, data) in sums.items()
    ]


def test_second_run_fetches_nothing_and_changes_nothing(site, toy):
    site.files["/toy.zip"] = zipped({"a.nii.gz": b"one"})
    archive = {"url": f"{site.url}/toy.zip", "filename": "toy.zip", "unpack": "zip"}
    first = toy.get(archive)
    before = (toy.raw / "a.nii.gz").stat().st_mtime_ns
    toy.manifest.unlink()
    site.asked.clear()
    assert toy.get(archive) == first
    assert (toy.raw / "a.nii.gz").stat().st_mtime_ns == before
    assert not site.asked


def test_card_that_names_another_archive_makes_the_folder_anew(site, toy):
    site.files |= {"/1.zip": zipped({"a.nii.gz": b"one"}), "/2.zip": zipped({"b.nii.gz": b"two"})}
    toy.get({"url": f"{site.url}/1.zip", "filename": "1.zip", "unpack": "zip"})
    toy.get({"url": f"{site.url}/2.zip", "filename": "2.zip", "unpack": "zip"})
    assert toy.files() == {"b.nii.gz": b"two"}


def test_lost_file_of_a_download_comes_back(site, toy):
    site.files["/toy.zip"] = zipped({"a.nii.gz": b"one", "b.nii.gz": b"two"})
    archive = {"url": f"{site.url}/toy.zip", "filename": "toy.zip", "unpack": "zip"}
    toy.get(archive)
    (toy.raw / "b.nii.gz").unlink()
    assert [f["path"] for f in toy.get(archive)["files"]] == ["a.nii.gz", "b.nii.gz"]


@pytest.mark.parametrize("wrong", [{"sha256": "0" * 64}, {"md5": "0" * 32}, {"bytes": 7}])
def test_file_that_is_not_the_cards_is_refused(site, toy, wrong):
    site.files["/toy.zip"] = zipped({"a.nii.gz": b"one"})
    archive = {"url": f"{site.url}/toy.zip", "filename": "toy.zip", "unpack": "zip"}
    with pytest.raises(DownloadError, match="but the card says"):
        toy.get(archive | wrong)
    assert not toy.raw.exists() and not toy.manifest.exists()
    assert [p for p in toy.cache.iterdir() if not p.name.endswith(".lock")] == []


def test_numbered_files_go_where_the_card_says(site, toy):
    for i in range(3):
        site.files[f"/images/case_{i:05d}.nii.gz"] = b"%d" % i
    archive = {
        "url": f"{site.url}/images/case_{{i:05d}}.nii.gz",
        "filename": "case_{i:05d}.nii.gz",
        "numbers": [0, 2],
        "into": "data/case_{i:05d}/imaging.nii.gz",
    }
    toy.get(archive)
    assert toy.files() == {f"data/case_0000{i}/imaging.nii.gz": b"%d" % i for i in range(3)}


def test_mirror_stands_in_by_file_name(site, toy, tmp_path):
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror/toy.zip").write_bytes(zipped({"a.nii.gz": b"one"}))
    archive = {"url": f"{site.url}/gone/toy.zip", "filename": "toy.zip", "unpack": "zip"}
    toy.get(archive, mirror=str(tmp_path / "mirror"))
    assert toy.files() == {"a.nii.gz": b"one"}
    assert not site.asked


def test_archive_of_two_datasets_is_fetched_once(site, tmp_path):
    site.files["/toy.zip"] = zipped({"a.nii.gz": CONTENT})
    archive = {"url": f"{site.url}/toy.zip", "filename": "toy.zip", "unpack": "zip"}
    pair = [Dataset(tmp_path, "one"), Dataset(tmp_path, "two")]
    threads = [threading.Thread(target=dataset.get, args=(archive,)) for dataset in pair]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(site.asked) == 1
    assert pair[0].files() == pair[1].files() == {"a.nii.gz": CONTENT}


def test_persons_copy_is_listed_and_left_alone(toy):
    (toy.raw / "sub").mkdir(parents=True)
    (toy.raw / "sub/a.nii.gz").write_bytes(b"mine")
    content = toy.get({"filename": "toy.zip", "unpack": "zip"}, kind="request")
    assert content["source"] == "copy"
    assert [f["path"] for f in content["files"]] == ["sub/a.nii.gz"]
    assert toy.files() == {"sub/a.nii.gz": b"mine"}


def test_copy_with_files_added_to_a_download_is_never_removed(site, toy):
    site.files["/toy.zip"] = zipped({"a.nii.gz": b"one"})
    toy.get({"url": f"{site.url}/toy.zip", "filename": "toy.zip", "unpack": "zip"})
    (toy.raw / "mine.nii.gz").write_bytes(b"mine")
    content = toy.get({"url": f"{site.url}/other.zip", "filename": "other.zip", "unpack": "zip"})
    assert content["source"] == "copy"
    assert toy.files() == {"a.nii.gz": b"one", "mine.nii.gz": b"mine"}


@pytest.mark.parametrize("kind", ["agreement", "request", "synapse", "kaggle"])
def test_dataset_that_needs_a_person_says_what_to_do(toy, kind):
    with pytest.raises(DownloadError, match=r"Ask the owners\. Page: toy\.example\..*toy\.zip"):
        toy.get({"filename": "toy.zip", "unpack": "zip"}, kind=kind)
    assert not toy.raw.exists()


def test_persons_archive_in_the_mirror_is_used(toy, tmp_path):
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror/toy.zip").write_bytes(zipped({"Top/P_1/GT.nii.gz": b"one"}))
    archive = {"filename": "toy.zip", "unpack": "zip", "strip": 1, "into": "train"}
    toy.get(archive, kind="agreement", mirror=str(tmp_path / "mirror"))
    assert toy.files() == {"train/P_1/GT.nii.gz": b"one"}


# Archives that must not be believed


@pytest.mark.parametrize("name", ["../evil", "a/../../evil", "/evil", "..\\evil", "C:/evil"])
@pytest.mark.parametrize("pack", [zipped, tarred])
def test_member_that_leaves_the_folder_is_refused(site, toy, name, pack):
    kind = "zip" if pack is zipped else "tar"
    site.files["/toy"] = pack({"a.nii.gz": b"one", name: b"evil"})
    with pytest.raises(DownloadError, match="outside of its folder"):
        toy.get({"url": f"{site.url}/toy", "filename": "toy", "unpack": kind})
    assert not list(toy.root.rglob("evil*")) and not toy.raw.exists()
    assert [p for p in toy.root.glob("raw/*") if p.is_dir()] == []


def link(kind: bytes | None) -> bytes:
    """An archive with a link: of a tar's type, or (None) a zip's symbolic link."""
    buffer = io.BytesIO()
    if kind is None:
        with zipfile.ZipFile(buffer, "w") as bundle:
            member = zipfile.ZipInfo("link")
            member.external_attr = 0o120777 << 16
            bundle.writestr(member, "/etc/passwd")
        return buffer.getvalue()
    with tarfile.open(fileobj=buffer, mode="w") as bundle:
        member = tarfile.TarInfo("link")
        member.type, member.linkname = kind, "/etc/passwd"
        bundle.addfile(member)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, None])
def test_links_and_devices_are_refused(site, toy, kind):
    site.files["/toy"] = link(kind)
    unpack = "tar" if kind else "zip"
    with pytest.raises(DownloadError, match="link or a device"):
        toy.get({"url": f"{site.url}/toy", "filename": "toy", "unpack": unpack})
    assert not toy.raw.exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"members": ["a/*", "z/*"]}, "no member matches z/"),
        ({"strip": 2}, "lies above the 2 folders"),
        ({"strip": 1}, "two files for x"),
        ({"unpack": "tar"}, "not a readable tar archive"),
    ],
)
def test_archive_that_is_not_as_the_card_says(site, toy, more, message):
    site.files["/toy"] = zipped({"a/x": b"1", "b/x": b"2"})
    archive = {"url": f"{site.url}/toy", "filename": "toy", "unpack": "zip"}
    with pytest.raises(DownloadError, match=message):
        toy.get(archive | more)
    assert not toy.raw.exists()


def test_damaged_archive_is_refused(site, toy):
    whole = zipped({"a.nii.gz": CONTENT})
    site.files["/toy.zip"] = whole[:5000] + b"\0" * 10 + whole[5010:]
    with pytest.raises(DownloadError, match="not a readable zip archive"):
        toy.get({"url": f"{site.url}/toy.zip", "filename": "toy.zip", "unpack": "zip"})


# Packages


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
