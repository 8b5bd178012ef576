"""How a study's datasets stand, said without a network: in place, to fetch, what is missing."""

import json
from pathlib import Path

import pytest
from toyset import CONTENT, zipped

from hermes.config.registry import RegistryError, load_card, load_cards
from hermes.download import DownloadError, sizes
from hermes.download.archives import describe
from hermes.download.mirror import Mirror
from hermes.download.needs import check_accept
from hermes.download.sizes import Size, plain
from hermes.download.state import record_of
from hermes.download.survey import check_total, report, survey

CARDS = Path(__file__).parents[1] / "config/datasets"
PAPER = (
    "bcv ss_t ss_h lits kits amos_ct amos_mr chaos mnms autopet dlbs segthor msd_pancreas".split()
)
COLUMNS = {"ss_h": {"table2": ["SS H"]}, "mnms": {"table2": ["M&Ms"], "table3": ["All"]}}

pytest_plugins = ["toyset_fixtures"]


@pytest.fixture
def look(tmp_path, monkeypatch):
    """Survey datasets in a temporary place, as somebody without tokens."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("SYNAPSE_AUTH_TOKEN", "KAGGLE_API_TOKEN", "KAGGLE_USERNAME", "KAGGLE_CONFIG_DIR"):
        monkeypatch.delenv(name, raising=False)

    def at(cards, accept=(), mirror=None):
        mirror = mirror or Mirror()
        return survey(cards, tmp_path / "data", tmp_path / "cache", mirror, accept, COLUMNS)

    return at


def test_the_papers_study_before_anything_is_done(look):
    text = report("paper", look(load_cards(CARDS, PAPER)), 67 * 10**9)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[0] == "Datasets of the study paper: 0 of 13 are in place."
    told = "\n".join(lines)
    assert "\nAMOS CT about 24.2 GB to fetch needs accept=amos_ct\n" in told
    assert "\nAMOS MR about 24.2 GB to fetch, with AMOS CT needs accept=amos_mr\n" in told
    assert "\nMSD Pancreas about 11.4 GB to fetch\n" in told
    assert "\nCHAOS 891 MB to fetch needs accept=chaos\n" in told
    assert "needs accept=bcv, a token of Synapse\n" in told
    assert "needs accept=dlbs, a token of Kaggle\n" in told
    assert "not fetched needs accept=ss_h, your own copy from structseg2019.grand-challenge" in told
    assert "segthor (or accept=segthor:unofficial)\n" in told
    assert "67 GB are free: " in told and "too few." in told
    accept = "bcv,ss_t,ss_h,lits,kits,amos_ct,amos_mr,chaos,mnms,autopet,dlbs,segthor"
    assert f"--config accept={accept}\n" in told
    assert lines[-1] == (
        "To go on without: --config without=bcv,ss_t,ss_h,mnms,dlbs,segthor, "
        "and tables lack table2 (SS H, M&Ms); table3 (All)."
    )


def test_what_is_accepted_and_what_has_a_token_is_asked_for_no_more(look, monkeypatch):
    monkeypatch.setenv("SYNAPSE_AUTH_TOKEN", "token")
    cards = load_cards(CARDS, ["bcv", "kits", "segthor", "lits"])
    accept = ["bcv", "kits", "segthor:unofficial"]
    text = report("paper", look(cards, accept), 10**12, accept)
    assert [line for line in text.splitlines() if "needs" in line] == [
        line for line in text.splitlines() if line.startswith("  LiTS")
    ]
    assert "--config accept=bcv,kits,segthor:unofficial,lits" in text
    assert "without=" not in text and "too few" not in text


def test_bytes_that_are_here_are_not_counted(look, tmp_path):
    (tmp_path / "cache").mkdir()
    card = load_card(CARDS / "chaos.yaml")
    with open(tmp_path / "cache/CHAOS_Train_Sets.zip.part", "wb") as part:
        part.truncate(500_000_000)
    (chaos,) = look({"chaos": card}, ["chaos"])
    assert chaos.words == "391 MB of 891 MB to fetch"
    (tmp_path / "cache/CHAOS_Train_Sets.zip").touch()
    (chaos,) = look({"chaos": card}, ["chaos"])
    assert chaos.words == "archives here, to unpack" and not chaos.left


def test_archives_of_the_mirror_folder_need_no_token(look, tmp_path):
    (tmp_path / "RawData.zip").touch()
    (bcv,) = look({"bcv": load_card(CARDS / "bcv.yaml")}, ["bcv"], Mirror(folder=tmp_path))
    assert bcv.words == "archives here, to unpack" and not bcv.needs


def test_from_own_copy_to_in_place(look, tmp_path):
    card = load_card(CARDS / "ss_h.yaml")
    raw = tmp_path / "data/raw/ss_h"
    (raw / "HaN_OAR/1").mkdir(parents=True)
    (raw / "HaN_OAR/1/data.nii.gz").write_bytes(b"scan")
    (found,) = look({"ss_h": card}, ["ss_h"])
    assert (found.in_place, found.words, found.needs) == (False, "1 file, to list", ())
    manifest = tmp_path / "data/raw/ss_h.json"
    manifest.write_text('{"files": [{"path": "HaN_OAR/1/data.nii.gz"}]}')
    assert report("paper", look({"ss_h": card}, ["ss_h"]), 1) == ""
    (found,) = look({"ss_h": card})
    assert found.in_place and [need.short for need in found.needs] == ["accept=ss_h"]
    (raw / "HaN_OAR/1/label.nii.gz").write_bytes(b"label")
    text = report("paper", look({"ss_h": card}, ["ss_h"]), 1)
    assert "1 file came or went since they were listed; a run lists them again" in text


def test_unofficial_copy_in_place_stays_bound_to_its_own_consent(look, tmp_path):
    card = load_card(CARDS / "segthor.yaml")
    (tmp_path / "data/raw/segthor/train").mkdir(parents=True)
    (tmp_path / "data/raw/segthor/train/a.nii.gz").write_bytes(b"scan")
    manifest = tmp_path / "data/raw/segthor.json"
    for name in (manifest, record_of(manifest)):
        listed = {"source": "download", "archives": describe(card.archives)}
        listed["files"] = [{"path": "train/a.nii.gz", "bytes": 4}]
        name.write_text(json.dumps(listed))
    for in_place in (True, False):  # without its manifest it is to be listed, and bound as before
        (found,) = look({"segthor": card}, ["segthor"])
        assert found.in_place == in_place and not found.to_fill
        assert [need.short for need in found.needs] == ["accept=segthor:unofficial"]
        (found,) = look({"segthor": card}, ["segthor:unofficial"])
        assert not found.needs and found.words == ("" if in_place else "1 file, to list")
        manifest.unlink(missing_ok=True)


def test_unreadable_credentials_do_not_stop_the_survey(look, tmp_path):
    (tmp_path / ".synapseConfig").write_text("no section")
    (bcv,) = look({"bcv": load_card(CARDS / "bcv.yaml")}, ["bcv"])
    assert "not a configuration file of the Synapse client" in bcv.needs[0].short


def test_a_download_is_in_place_for_the_survey_too(site, toy, look):
    site.files["/toy.zip"] = zipped({"a.nii.gz": CONTENT})
    archive = {"url": f"{site.url}/toy.zip", "filename": "toy.zip", "unpack": "zip"}
    toy.raw = toy.root / "data/raw/toy"
    toy.manifest = toy.root / "data/raw/toy.json"
    cards = {"toy": load_card(toy.card(archive))}
    assert look(cards)[0].words == "1 file of unknown size to fetch"
    toy.get(archive)
    assert report("toys", look(cards), 1) == ""


def test_card_whose_archives_changed_is_said_to_be_outdated_with_bytes(site, toy, look):
    site.files |= {"/1.zip": zipped({"a.nii.gz": CONTENT}), "/2.zip": zipped({"b.nii.gz": CONTENT})}
    toy.raw, toy.manifest = toy.root / "data/raw/toy", toy.root / "data/raw/toy.json"
    first = {"url": f"{site.url}/1.zip", "filename": "1.zip", "unpack": "zip"}
    second = first | {"url": f"{site.url}/2.zip", "filename": "2.zip", "about_bytes": 103_000}
    toy.get(first)
    cards = {"toy": load_card(toy.card(second))}
    for in_place in (True, False):
        (found,) = look(cards)
        assert (found.in_place, found.to_fill) == (in_place, True)
        text = report("toys", [found], 10**9)
        assert "toys: 0 of 1 are in place" in text
        assert "of other archives than the card names now: about 103 kB to fetch\n" in text
        assert "In all about 103 kB to fetch, about 103 kB unpacked" in text
        toy.manifest.unlink(missing_ok=True)
    toy.get(second)  # the stage goes by the same rule
    assert toy.files() == {"b.nii.gz": CONTENT} and report("toys", look(cards), 1) == ""


def test_download_of_which_files_are_gone(site, toy, look):
    site.files["/toy.zip"] = zipped({"a.nii.gz": b"one", "b.nii.gz": b"two"})
    archive = {"url": f"{site.url}/toy.zip", "filename": "toy.zip", "unpack": "zip"}
    toy.raw, toy.manifest = toy.root / "data/raw/toy", toy.root / "data/raw/toy.json"
    toy.get(archive)
    cards = {"toy": load_card(toy.card(archive))}
    (toy.raw / "b.nii.gz").unlink()
    (found,) = look(cards)
    told = f"1 file came or went since they were listed; to have them anew: rm {toy.manifest}"
    assert (found.in_place, found.to_fill, found.words) == (True, False, told)
    toy.manifest.unlink()
    (found,) = look(cards)
    assert found.words == "files of a download are gone: archives here, to unpack"
    toy.get(archive)
    assert report("toys", look(cards), 1) == ""


def test_what_is_unpacked_is_the_cards_estimate_where_it_gives_one(look):
    cards = load_cards(CARDS, ["autopet", "amos_ct", "amos_mr"])
    autopet, ct, mr = look(cards)
    assert str(autopet.left["fdg-pet-ct-lesions.zip"]) == "about 283 GB"
    assert str(autopet.unpacked) == "about 113 GB"
    text = report("paper", [autopet, ct, mr], 400 * 10**9)
    # the archive of both parts of AMOS is fetched once, and each unpacks its own of it
    assert "In all about 307 GB to fetch, about 130 GB unpacked; 400 GB are free: 36.6 GB" in text


def test_datasets_that_fit_one_by_one_but_not_together(look, tmp_path, monkeypatch):
    found = look(load_cards(CARDS, ["msd_pancreas", "amos_ct"]), ["amos_ct"])
    monkeypatch.setattr(sizes, "free_bytes", lambda folder: 45 * 10**9)
    for standing in found:
        check_total([standing], tmp_path / "cache", tmp_path / "data")
    message = r"MSD Pancreas, AMOS CT: about 35\.6 GB to fetch, about 26\.4 GB unpacked; 45 GB free"
    with pytest.raises(DownloadError, match=message + r" on the disk of .*: 17\.1 GB too few"):
        check_total(found, tmp_path / "cache", tmp_path / "data")
    check_total([], tmp_path / "cache", tmp_path / "data")


def test_names_in_accept_are_checked():
    check_accept(["kits", "segthor:unofficial"], ["kits", "segthor"])
    with pytest.raises(RegistryError, match="'kitts'; did you mean 'kits'"):
        check_accept(["kitts"], ["kits", "segthor"])
    with pytest.raises(RegistryError, match="did you mean 'segthor:unofficial'"):
        check_accept(["segthor:open"], ["kits", "segthor"])


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (Size(1_530_000_000), "1.53 GB"),
        (Size(300, about=True) + Size(unknown=2), "about 300 bytes and 2 files of unknown size"),
        (Size(unknown=1), "1 file of unknown size"),
        (Size(), "0 bytes"),
    ],
)
def test_sizes_in_words(size, words):
    assert str(size) == words
    assert plain(282_900_000_000) == "283 GB"
