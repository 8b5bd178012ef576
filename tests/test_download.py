"""The download stage: raw folder and manifest, cache, mirror, a person's own copy."""

import gzip
import hashlib
import threading

import pytest
from toyset import CONTENT, Dataset, zipped

from hermes.download import DownloadError, obtain

pytest_plugins = ["toyset_fixtures"]


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
    content = [gzip.compress(b"%d" % i) for i in range(3)]
    for i in range(3):
        site.files[f"/images/case_{i:05d}.nii.gz"] = content[i]
    archive = {
        "url": f"{site.url}/images/case_{{i:05d}}.nii.gz",
        "filename": "case_{i:05d}.nii.gz",
        "numbers": [0, 2],
        "into": "data/case_{i:05d}/imaging.nii.gz",
    }
    toy.get(archive)
    assert toy.files() == {f"data/case_0000{i}/imaging.nii.gz": content[i] for i in range(3)}


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


def test_archives_that_are_here_are_checked_side_by_side(toy, monkeypatch):
    toy.cache.mkdir()
    for i in range(3):
        (toy.cache / f"{i}.bin").write_bytes(b"%d" % i)
    ready, right = threading.Barrier(3, timeout=20), obtain.check_archive

    def together(path, archive):
        ready.wait()
        right(path, archive)

    monkeypatch.setattr(obtain, "check_archive", together)
    archive = {"url": "http://nowhere/{i}.bin", "filename": "{i}.bin", "numbers": [0, 2]}
    toy.get(archive, workers=3)
    assert toy.files() == {f"{i}.bin": b"%d" % i for i in range(3)}
    (toy.raw / "0.bin").unlink()
    with pytest.raises(DownloadError, match=r"0\.bin: 1 bytes, but the card says 7"):
        toy.get(archive | {"bytes": 7}, workers=3)


@pytest.mark.parametrize("by_variable", [False, True])
def test_mirror_on_the_web_goes_before_the_address(site, toy, monkeypatch, by_variable):
    site.files["/base/toy.zip"] = zipped({"a.nii.gz": b"mirrored"})
    site.files["/toy.zip"] = zipped({"a.nii.gz": b"owner's"})
    archive = {"url": f"{site.url}/toy.zip", "filename": "toy.zip", "unpack": "zip"}
    if by_variable:
        monkeypatch.setenv("HERMES_MIRROR", f"{site.url}/base")
    toy.get(archive, mirror="" if by_variable else f"{site.url}/base")
    assert toy.files() == {"a.nii.gz": b"mirrored"}


def test_what_a_mirror_on_the_web_lacks_comes_from_its_address(site, toy):
    site.files["/toy.zip"] = zipped({"a.nii.gz": b"one"})
    archive = {"url": f"{site.url}/toy.zip", "filename": "toy.zip", "unpack": "zip"}
    toy.get(archive, mirror=f"{site.url}/base")
    assert [path for path, _ in site.asked] == ["/base/toy.zip", "/toy.zip"]
    assert toy.files() == {"a.nii.gz": b"one"}


def test_files_come_side_by_side_and_end_when_one_fails(site, toy, monkeypatch):
    ready, met = threading.Barrier(3, timeout=20), []
    transfer = obtain._transfer

    def together(place, *arguments):
        met.append(ready.wait())
        transfer(place, *arguments)

    monkeypatch.setattr(obtain, "_transfer", together)
    site.files = {f"/{i}.bin": CONTENT for i in range(2)}
    archive = {"url": f"{site.url}/{{i}}.bin", "filename": "{i}.bin", "numbers": [0, 2]}
    with pytest.raises(DownloadError, match=r"2\.bin: the server answers 404"):
        toy.get(archive, connections=3)
    assert sorted(met) == [0, 1, 2] and not toy.raw.exists()
