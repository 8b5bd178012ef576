"""Archives that must not be believed: paths that escape, links, damage, other content."""

import io
import tarfile
import zipfile

import pytest
from toyset import CONTENT, tarred, zipped

from hermes.download import DownloadError

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
