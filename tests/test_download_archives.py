"""Archives that must not be believed: paths that escape, links, damage, other content."""

import gzip
import hashlib
import io
import tarfile
import zipfile

import pytest
from toyset import CONTENT, deflated, tarred, zipped

from hermes.config.schema import Archive
from hermes.download import DownloadError, members, unpack
from hermes.download.check import check_archive

pytest_plugins = ["toyset_fixtures"]


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
        ({"unpack": "tar"}, "damaged or cut short: not a readable tar archive"),
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
    archive = {"url": f"{site.url}/toy.zip", "filename": "toy.zip", "unpack": "zip"}
    with pytest.raises(DownloadError, match=r"zip: damaged or cut short: .*Bad CRC-32.*a\.nii\.gz"):
        toy.get(archive)
    assert not [path for path in toy.cache.iterdir() if not path.name.endswith(".lock")]
    site.files["/toy.zip"] = whole
    toy.get(archive)
    assert toy.files() == {"a.nii.gz": CONTENT}


def test_archive_that_is_damaged_in_the_cache_is_dropped(site, toy):
    whole = zipped({"a.nii.gz": CONTENT})
    site.files["/toy.zip"] = whole
    archive = {"url": f"{site.url}/toy.zip", "filename": "toy.zip", "unpack": "zip"}
    toy.cache.mkdir()
    (toy.cache / "toy.zip").write_bytes(whole[:5000] + b"\0" * 10 + whole[5010:])
    with pytest.raises(DownloadError, match=r"Bad CRC-32 .*; removed; run again to fetch it anew"):
        toy.get(archive)
    assert not (toy.cache / "toy.zip").exists() and not toy.raw.exists()
    toy.get(archive)
    assert toy.files() == {"a.nii.gz": CONTENT}


def test_damaged_archive_of_a_persons_mirror_is_left_alone(toy, tmp_path):
    (tmp_path / "mirror").mkdir()
    whole = zipped({"a.nii.gz": CONTENT})
    damaged = whole[:5000] + b"\0" * 10 + whole[5010:]
    (tmp_path / "mirror/toy.zip").write_bytes(damaged)
    with pytest.raises(DownloadError, match="put a whole one in its place"):
        toy.get(
            {"filename": "toy.zip", "unpack": "zip"},
            kind="agreement",
            mirror=str(tmp_path / "mirror"),
        )
    assert (tmp_path / "mirror/toy.zip").read_bytes() == damaged


def test_unreadable_archive_with_the_cards_checksum_is_kept(site, toy):
    site.files["/toy"] = zipped({"a.nii.gz": b"one"})
    checksum = hashlib.sha256(site.files["/toy"]).hexdigest()
    archive = {"url": f"{site.url}/toy", "filename": "toy", "unpack": "tar", "sha256": checksum}
    with pytest.raises(DownloadError, match="look whether the card's `unpack` is right"):
        toy.get(archive)
    assert (toy.cache / "toy").exists()
    toy.get(archive | {"unpack": "zip"})
    assert toy.files() == {"a.nii.gz": b"one"} and len(site.asked) == 1


def test_packing_that_is_not_known_is_no_damage(site, toy):
    whole = bytearray(zipped({"a.nii.gz": b"one"}))
    for place in (8, whole.index(b"PK\x01\x02") + 10):
        whole[place] = 9  # the method Deflate64, in the member's own header and in the directory
    site.files["/toy"] = bytes(whole)
    with pytest.raises(DownloadError, match="packed in a way that cannot be read here"):
        toy.get({"url": f"{site.url}/toy", "filename": "toy", "unpack": "zip"})
    assert (toy.cache / "toy").exists()


@pytest.mark.parametrize("pack", [zipped, deflated, tarred])
def test_whichever_byte_is_damaged_it_shows_or_does_not_matter(tmp_path, pack):
    """Any byte: the check refuses it, or unpacking stops, or what is unpacked is right."""
    files = {"a/one.nii": bytes(range(256)) * 2, "a/two.nii": b"two" * 40}
    whole, path = pack(files), tmp_path / "toy"
    archive = Archive(filename="toy", unpack="tar" if pack is tarred else "zip")
    refused = 0
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        folder = tmp_path / f"{place}"
        folder.mkdir()
        try:
            check_archive(path, archive, arrived=True)
            unpack.unpack(path, archive, folder)
        except DownloadError:
            refused += 1
            continue
        found = [p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()]
        assert sorted(found) == sorted(files.values())
    assert refused > len(whole) / 6


@pytest.mark.parametrize("pack", [zipped, tarred])
@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["scan/a.nii.gz", "scan/A.nii.gz"], "two files for scan/A.nii.gz"),
        (["scan", "scan/a.nii.gz"], "two files for scan/a.nii.gz|cannot be written: Not a dir"),
        (["x" * 300], "cannot be written: File name too long"),
    ],
)
def test_names_that_do_not_go_together(site, toy, pack, names, message):
    kind = "zip" if pack is zipped else "tar"
    site.files["/toy"] = pack(dict.fromkeys(names, b"one"))
    with pytest.raises(DownloadError, match=message):
        toy.get({"url": f"{site.url}/toy", "filename": "toy", "unpack": kind})
    assert not toy.raw.exists()


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_one_name_twice_is_refused(site, toy):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        bundle.writestr("a.nii.gz", b"one")
        bundle.writestr("a.nii.gz", b"two")
    site.files["/toy"] = buffer.getvalue()
    with pytest.raises(DownloadError, match=r"two files for a\.nii\.gz"):
        toy.get({"url": f"{site.url}/toy", "filename": "toy", "unpack": "zip"})


def test_encrypted_member_is_refused(site, toy):
    whole = bytearray(zipped({"a.nii.gz": b"one"}))
    whole[whole.index(b"PK\x01\x02") + 8] |= 1  # the flag in the directory
    whole[6] |= 1  # and in the member's own header
    site.files["/toy"] = bytes(whole)
    with pytest.raises(
        DownloadError, match=r"member 'a\.nii\.gz' is encrypted; unpack the archive"
    ):
        toy.get({"url": f"{site.url}/toy", "filename": "toy", "unpack": "zip"})
    assert not toy.raw.exists()


@pytest.mark.parametrize("pack", [deflated, tarred])
def test_bomb_is_refused(site, toy, monkeypatch, pack):
    monkeypatch.setattr(members, "HARMLESS_BYTES", 10**6)
    kind = "zip" if pack is deflated else "tar"
    archive = {"url": f"{site.url}/toy", "filename": "toy", "unpack": kind}
    site.files["/toy"] = pack({"a.nii": bytes(10**6)})  # grows a thousandfold, but to nothing large
    toy.get(archive)
    site.files["/toy2"] = pack({"b.nii": bytes(3 * 10**6)})
    with pytest.raises(DownloadError, match=r"would unpack to \S+ MB or more"):
        toy.get(archive | {"url": f"{site.url}/toy2", "filename": "toy2"})
    assert toy.files() == {"a.nii": bytes(10**6)}


def test_bomb_whose_directory_lies_is_found_while_it_unpacks(tmp_path, monkeypatch):
    monkeypatch.setattr(members, "HARMLESS_BYTES", 10**6)
    path = tmp_path / "toy.zip"
    path.write_bytes(deflated({"a.nii": bytes(3 * 10**6)}))
    archive = Archive(filename="toy.zip", unpack="zip")
    (tmp_path / "raw").mkdir()
    with pytest.raises(DownloadError, match="no archive of scans does"):
        unpack.unpack(path, archive, tmp_path / "raw")
    assert (tmp_path / "raw/a.nii").stat().st_size <= 10**6


def test_directory_that_understates_a_member_is_damage(site, toy):
    whole = bytearray(deflated({"a.nii": bytes(10**6)}))
    place = whole.index(b"PK\x01\x02") + 24  # unpacked size in the directory
    whole[place : place + 4] = (1000).to_bytes(4, "little")
    site.files["/toy"] = bytes(whole)
    with pytest.raises(DownloadError, match="damaged or cut short"):
        toy.get({"url": f"{site.url}/toy", "filename": "toy", "unpack": "zip"})
    assert not toy.raw.exists()


@pytest.mark.parametrize(("unpacked", "name"), [("zip", "a.zip"), ("none", "a.nii.gz")])
def test_file_without_checksum_that_is_cut_short_never_enters_the_cache(site, toy, unpacked, name):
    whole = zipped({"a": CONTENT}) if unpacked == "zip" else gzip.compress(CONTENT)
    site.files["/a"] = whole[: len(whole) // 2]
    with pytest.raises(DownloadError, match="damaged or cut short"):
        toy.get({"url": f"{site.url}/a", "filename": name, "unpack": unpacked})
    assert not [path for path in toy.cache.iterdir() if not path.name.endswith(".lock")]
