"""One transfer: resumed, retried, refused, on a loopback server."""

import pytest
import requests
from toyset import CONTENT

from hermes.download import DownloadError
from hermes.download.fetch import ATTEMPTS, fetch

pytest_plugins = ["toyset_fixtures"]


@pytest.fixture
def session():
    with requests.Session() as opened:
        yield opened


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
