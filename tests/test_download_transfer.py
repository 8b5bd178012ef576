"""One transfer: resumed, retried, refused, on a loopback server."""

import logging
from pathlib import Path

import pytest
from loopback import Site, serve
from toyset import CONTENT

from hermes.download import DownloadError, fetch
from hermes.download.fetch import ATTEMPTS
from hermes.download.places import Absent, Bearer, Place, address, mirrored
from hermes.download.progress import Progress
from hermes.download.sizes import Size

pytest_plugins = ["toyset_fixtures"]


def get(place, target, check=lambda path: None, **more):
    if isinstance(place, str):
        place = address(place)
    with Progress("Toy", Size()) as progress:
        fetch.fetch(place, target, progress, check, **{"pause_s": 0.0} | more)


def test_broken_transfer_is_resumed_where_it_stopped(site, tmp_path, caplog):
    site.files["/a.bin"], site.cut = CONTENT, [30_000, 50_000]
    get(f"{site.url}/a.bin", tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert [wanted for _, wanted in site.asked] == ["", "bytes=30000-", "bytes=80000-"]
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]
    assert "80 kB are kept, try 2 of 8" in caplog.text


def test_later_call_goes_on_from_the_part_kept(site, tmp_path):
    site.files["/a.bin"], site.cut = CONTENT, [40_000] + [0] * ATTEMPTS
    with pytest.raises(DownloadError, match="run again to go on from 40000 bytes"):
        get(f"{site.url}/a.bin", tmp_path / "a.bin")
    site.cut, site.asked = [], []
    get(f"{site.url}/a.bin", tmp_path / "a.bin")
    assert site.asked == [("/a.bin", "bytes=40000-")]
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_changed_file_is_fetched_anew(site, tmp_path):
    site.files["/a.bin"], site.cut = CONTENT, [40_000] + [0] * ATTEMPTS
    with pytest.raises(DownloadError):
        get(f"{site.url}/a.bin", tmp_path / "a.bin")
    site.files["/a.bin"], site.cut = CONTENT[::-1], []
    get(f"{site.url}/a.bin", tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("lack", ["tags", "ranges"])
def test_server_that_cannot_resume_starts_afresh(site, tmp_path, lack):
    site.files["/a.bin"], site.cut = CONTENT, [40_000]
    setattr(site, lack, False)
    get(f"{site.url}/a.bin", tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert len(site.asked) == 2


def test_part_that_is_whole_is_only_renamed(site, tmp_path):
    site.files["/a.bin"] = CONTENT
    (tmp_path / "a.bin.part").write_bytes(CONTENT)
    (tmp_path / "a.bin.part.tag").write_text(f'"{hash(CONTENT):x}"')
    get(f"{site.url}/a.bin", tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert [p.name for p in tmp_path.iterdir()] == ["a.bin"]


def test_part_longer_than_the_file_is_dropped(site, tmp_path):
    site.files["/a.bin"] = CONTENT
    (tmp_path / "a.bin.part").write_bytes(CONTENT + b"more")
    (tmp_path / "a.bin.part.tag").write_text(f'"{hash(CONTENT):x}"')
    get(f"{site.url}/a.bin", tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


@pytest.mark.parametrize(("status", "requests_made"), [(404, 1), (403, 1), (503, ATTEMPTS)])
def test_refusals(site, tmp_path, status, requests_made):
    site.status["/a.bin"] = status
    with pytest.raises(DownloadError, match=f"answers {status}") as error:
        get(f"{site.url}/a.bin", tmp_path / "a.bin")
    assert len(site.asked) == requests_made
    assert isinstance(error.value, Absent) == (status == 404)
    assert not list(tmp_path.iterdir())


def test_mirror_that_forbids_what_it_lacks_counts_as_lacking_it(site, tmp_path):
    site.status["/base/a%20b.bin"] = 403
    with pytest.raises(Absent):
        get(mirrored(f"{site.url}/base/", "a b.bin"), tmp_path / "a b.bin")


def test_servers_wish_to_wait_is_granted(site, tmp_path, monkeypatch):
    site.files["/a.bin"], site.fails, site.more = b"one", [429, 503], {"Retry-After": "7"}
    waits = []
    monkeypatch.setattr(fetch.time, "sleep", waits.append)
    get(f"{site.url}/a.bin", tmp_path / "a.bin", pause_s=5.0)
    assert waits == [7.0, 10.0]
    assert (tmp_path / "a.bin").read_bytes() == b"one"


def test_pauses_grow_up_to_a_minute(site, tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr(fetch.time, "sleep", waits.append)
    site.status["/a.bin"] = 503
    with pytest.raises(DownloadError):
        get(f"{site.url}/a.bin", tmp_path / "a.bin", pause_s=1.0)
    assert waits == [1, 2, 4, 8, 16, 32, 60]


def test_wrong_size_is_known_before_the_bytes_come(site, tmp_path):
    site.files["/a.bin"] = b"<html>please log in</html>"
    with pytest.raises(DownloadError, match="has 26 bytes, but the card says 102400"):
        get(f"{site.url}/a.bin", tmp_path / "a.bin", expected=102_400)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        ({"expected": 60_000, "most": 10**6}, "60 kB that the card says"),
        ({"most": 50_000}, "50 kB that the file has at most by the card's about_bytes"),
    ],
)
def test_transfer_that_does_not_end_is_stopped(site, tmp_path, limits, told):
    """The server does not say how much there is: what is more than the card says is not kept."""
    site.files["/a.bin"], site.lengths = CONTENT * 40, False
    with pytest.raises(DownloadError, match=f"more came than the {told}; nothing of it is kept"):
        get(f"{site.url}/a.bin", tmp_path / "a.bin", **limits)
    assert not list(tmp_path.iterdir()) and len(site.asked) == 1


def test_transfer_stops_at_what_the_server_announced(site, tmp_path):
    """A range's header says what the whole file has; the body then runs on."""
    site.files["/a.bin"], site.lengths, site.beyond = CONTENT, False, b"and more"
    (tmp_path / "a.bin.part").write_bytes(CONTENT[:90_000])
    (tmp_path / "a.bin.part.tag").write_text(f'"{hash(CONTENT):x}"')
    with pytest.raises(DownloadError, match="more came than the 102 kB that the server announced"):
        get(f"{site.url}/a.bin", tmp_path / "a.bin", most=10**6)
    assert not list(tmp_path.iterdir())


def test_far_more_than_the_cards_rough_size_is_not_begun(site, tmp_path):
    site.files["/a.bin"] = CONTENT
    with pytest.raises(DownloadError, match=r"has 102 kB, but by .* about_bytes it has 100 kB at"):
        get(f"{site.url}/a.bin", tmp_path / "a.bin", most=100_000)
    assert not list(tmp_path.iterdir())
    get(f"{site.url}/a.bin", tmp_path / "a.bin", most=102_400)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_rough_sizes_of_the_card_are_the_limit(site, toy):
    site.files |= {"/0.bin": CONTENT, "/1.bin": b"small"}
    rough = {"url": f"{site.url}/0.bin", "filename": "0.bin", "about_bytes": 50_000}
    with pytest.raises(DownloadError, match="102 kB, but by the card's about_bytes it has 100 kB"):
        toy.get(rough)
    toy.get(rough | {"about_bytes": 52_000})
    # of numbered files it is the mean, and one may be far larger
    many = {"url": f"{site.url}/{{i}}.bin", "filename": "n{i}.bin", "numbers": [0, 1]}
    toy.get(many | {"about_bytes": 10_000})
    assert toy.files() == {"n0.bin": CONTENT, "n1.bin": b"small"}


def test_file_that_fails_its_check_is_removed(site, tmp_path):
    site.files["/a.bin"] = CONTENT

    def check(path):
        raise DownloadError("another one")

    with pytest.raises(DownloadError, match="another one"):
        get(f"{site.url}/a.bin", tmp_path / "a.bin", check)
    assert not list(tmp_path.iterdir())


def test_nobody_there(site, tmp_path):
    with serve(Site()) as closed:
        url = closed.url
    with pytest.raises(DownloadError, match="no connection: Connection refused; given up"):
        get(f"{url}/a.bin?key=secret", tmp_path / "a.bin")


def test_secrets_of_an_address_are_not_shown(site, tmp_path, caplog):
    caplog.set_level(logging.DEBUG, "hermes")
    site.status["/a.bin?key=hidden"] = 503
    plain = site.url.replace("http://", "http://me:secret@")
    with pytest.raises(DownloadError) as error:
        get(f"{plain}/a.bin?key=hidden", tmp_path / "a.bin")
    for text in (str(error.value), caplog.text):
        assert "secret" not in text and "hidden" not in text
        assert "/a.bin: the server answers 503" in text


def test_full_disk_ends_in_one_clear_error(site, tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("no device that is always full")
    site.files["/a.bin"] = CONTENT
    (tmp_path / "a.bin.part").symlink_to("/dev/full")
    with pytest.raises(DownloadError, match=r"kept in .*a\.bin\.part\. No room is left"):
        get(f"{site.url}/a.bin", tmp_path / "a.bin")
    assert not (tmp_path / "a.bin").exists()


def test_token_goes_to_its_own_server_alone(site, tmp_path):
    with serve(Site()) as other:
        other.files["/a.bin"] = CONTENT
        site.moved["/a.bin"] = f"{other.url}/a.bin"
        get(Place("toy", f"{site.url}/a.bin", Bearer("secret")), tmp_path / "a.bin")
        assert site.seen == ["Bearer secret"] and other.seen == []
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_lines_of_progress_where_no_terminal_watches(caplog):
    caplog.set_level(logging.INFO, "hermes")
    with Progress("Toy", Size(3_000_000, about=True), every_s=0.0) as progress:
        progress.begin("a", 500_000)
        progress.at("a", 1_000_000)
        progress.at("b", 1_000_000)
    assert caplog.messages[0].startswith("Toy: 1 MB of about 3 MB, ")
    assert caplog.messages[-1].startswith("Toy: 2 MB fetched, ")


def test_stopped_progress_ends_the_other_transfers():
    with Progress("Toy", Size()) as progress:
        progress.stop()
        with pytest.raises(DownloadError, match="another file failed"):
            progress.at("a", 1)
