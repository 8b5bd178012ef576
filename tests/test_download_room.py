"""Room on the disk: asked for before the first byte, and what happens where it runs out."""

import errno
import logging

import pytest
from toyset import CONTENT, deflated, zipped

from hermes.download import DownloadError, sizes, stage

pytest_plugins = ["toyset_fixtures"]


def test_plain_file_is_linked_and_takes_no_room_twice(site, toy):
    site.files["/scan.nii"] = b"scan"
    toy.get({"url": f"{site.url}/scan.nii", "filename": "scan.nii", "into": "a/b.nii"})
    assert (toy.raw / "a/b.nii").samefile(toy.cache / "scan.nii")


def test_room_is_looked_for_before_the_first_byte(site, toy, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "hermes")
    site.files["/toy.zip"] = zipped({"a.nii.gz": CONTENT})
    archive = {"url": f"{site.url}/toy.zip", "filename": "toy.zip", "unpack": "zip"}
    monkeypatch.setattr(sizes, "free_bytes", lambda folder: 150_000)
    with pytest.raises(DownloadError, match=r"103 kB to fetch, about 103 kB unpacked; 150 kB free"):
        toy.get(archive)
    assert site.heads == ["/toy.zip"] and not site.asked
    monkeypatch.setattr(sizes, "free_bytes", lambda folder: 10**9)
    toy.get(archive)
    assert "Toy: 103 kB to fetch, about 103 kB unpacked; 1 GB free" in caplog.messages


def test_bytes_that_are_here_need_no_room(site, toy, monkeypatch):
    site.files["/scan.bin"] = CONTENT
    toy.cache.mkdir()
    (toy.cache / "scan.bin.part").write_bytes(CONTENT[:100_000])
    (toy.cache / "scan.bin.part.tag").write_text(f'"{hash(CONTENT):x}"')
    monkeypatch.setattr(sizes, "free_bytes", lambda folder: 3_000)
    toy.get({"url": f"{site.url}/scan.bin", "filename": "scan.bin", "bytes": len(CONTENT)})
    assert site.asked == [("/scan.bin", "bytes=100000-")]
    assert toy.files() == {"scan.bin": CONTENT}


def test_rough_size_of_the_card_stands_in_where_the_server_is_silent(site, toy, monkeypatch):
    site.files["/toy.zip"], site.lengths = zipped({"a.nii.gz": b"one"}), False
    monkeypatch.setattr(sizes, "free_bytes", lambda folder: 10**9)
    archive = {"url": f"{site.url}/toy.zip", "filename": "toy.zip", "unpack": "zip"}
    with pytest.raises(
        DownloadError, match="about 900 MB to fetch, about 900 MB unpacked; 1 GB fr"
    ):
        toy.get(archive | {"about_bytes": 900_000_000})
    toy.get(archive)
    assert toy.files() == {"a.nii.gz": b"one"}


def test_cards_estimate_of_what_is_unpacked_goes_before_the_archives_size(
    site, toy, monkeypatch, caplog
):
    caplog.set_level(logging.INFO, "hermes")
    site.files["/toy.zip"] = zipped({"a.nii.gz": CONTENT, "b.nii.gz": b"two"})
    archive = {"url": f"{site.url}/toy.zip", "filename": "toy.zip", "unpack": "zip"}
    archive |= {"members": ["b.*"], "about_unpacked_bytes": 2_000}
    monkeypatch.setattr(sizes, "free_bytes", lambda folder: 110_000)
    toy.get(archive)
    assert toy.files() == {"b.nii.gz": b"two"}
    assert "Toy: 103 kB to fetch, about 2 kB unpacked; 110 kB free" in caplog.messages


def test_zip_that_unpacks_to_more_than_the_disk_has(site, toy, monkeypatch):
    site.files["/toy.zip"] = deflated({"a.nii": bytes(10**6)})
    monkeypatch.setattr(sizes, "free_bytes", lambda folder: 10**5)
    with pytest.raises(DownloadError, match="Toy: 1 MB unpacked; 100 kB free"):
        toy.get({"url": f"{site.url}/toy.zip", "filename": "toy.zip", "unpack": "zip"})
    assert not toy.raw.exists() and (toy.cache / "toy.zip").exists()


def test_disk_that_fills_while_unpacking_leaves_nothing_half_written(site, toy, monkeypatch):
    site.files["/toy.zip"] = zipped({"a.nii.gz": b"one", "b.nii.gz": b"two"})
    archive = {"url": f"{site.url}/toy.zip", "filename": "toy.zip", "unpack": "zip"}
    whole = stage.unpack

    def fills_up(path, archive, folder):
        whole(path, archive, folder)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(stage, "unpack", fills_up)
    with pytest.raises(DownloadError, match=r"its archives are kept\. No room is left on the disk"):
        toy.get(archive)
    assert not any((toy.root / "raw").iterdir())
    site.asked.clear()
    monkeypatch.setattr(stage, "unpack", whole)
    toy.get(archive)
    assert toy.files() == {"a.nii.gz": b"one", "b.nii.gz": b"two"} and not site.asked


def test_leftovers_of_a_killed_run_are_cleared_away(site, toy):
    site.files["/toy.zip"] = zipped({"a.nii.gz": b"one"})
    (toy.root / "raw/.toy.unpacking").mkdir(parents=True)
    (toy.root / "raw/.toy.unpacking/half").write_bytes(b"half")
    toy.get({"url": f"{site.url}/toy.zip", "filename": "toy.zip", "unpack": "zip"})
    assert toy.files() == {"a.nii.gz": b"one"}
    assert not (toy.root / "raw/.toy.unpacking").exists()
