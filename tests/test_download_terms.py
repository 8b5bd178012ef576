"""Terms and people: consent, unofficial copies, what a person must bring."""

import logging
from pathlib import Path

import pytest
from toyset import zipped

from hermes.config.registry import load_card
from hermes.download import DownloadError

ROOT = Path(__file__).parents[1]
CARDS = {p.stem: load_card(p) for p in sorted((ROOT / "config/datasets").glob("*.yaml"))}

pytest_plugins = ["toyset_fixtures"]


@pytest.mark.parametrize("kind", ["agreement", "request"])
def test_dataset_that_needs_a_person_says_what_to_do(toy, kind):
    with pytest.raises(DownloadError) as error:
        toy.get({"filename": "toy.zip", "unpack": "zip"}, kind=kind, columns={"table2": ["Toy"]})
    told = str(error.value)
    assert f"Ask the owners. Page: toy.example. Raw folder: {toy.raw}" in told
    assert "Not found in the mirror folder either: toy.zip" in told
    assert "--config without=toy, and tables lack table2 (Toy)." in told
    assert not toy.raw.exists()


def test_persons_archive_in_the_mirror_is_used(toy, tmp_path):
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror/toy.zip").write_bytes(zipped({"Top/P_1/GT.nii.gz": b"one"}))
    archive = {"filename": "toy.zip", "unpack": "zip", "strip": 1, "into": "train"}
    toy.get(archive, kind="agreement", mirror=str(tmp_path / "mirror"))
    assert toy.files() == {"train/P_1/GT.nii.gz": b"one"}


def test_what_a_mirror_on_the_web_lacks_and_no_address_has(site, toy):
    with pytest.raises(DownloadError, match=r"Ask the owners\..*toy\.zip"):
        toy.get({"filename": "toy.zip"}, kind="agreement", mirror=site.url)


def test_terms_come_before_everything_else(site, toy, caplog):
    caplog.set_level(logging.INFO, "hermes")
    toy.licence = {"name": "CC-BY-NC-4.0", "url": "https://toy.example/nc", "commercial": False}
    archive = {"url": f"{site.url}/toy.zip", "filename": "toy.zip", "unpack": "zip"}
    with pytest.raises(DownloadError) as error:
        toy.get(archive, accept=["other"])
    told = str(error.value)
    assert "not for commercial use (licence: CC-BY-NC-4.0, https://toy.example/nc)" in told
    assert "--config accept=other,toy" in told and "--config without=toy" in told
    assert not site.asked and not toy.manifest.exists()
    site.files["/toy.zip"] = zipped({"a.nii.gz": b"one"})
    toy.get(archive, accept=["toy"])
    told = [line for line in caplog.messages if "licence: CC-BY-NC-4.0" in line or "cite" in line]
    assert len(told) == 4 and caplog.messages.index(told[-1]) < caplog.messages.index(
        f"fetching {site.url}/toy.zip"
    )


def test_terms_that_sources_disagree_on_are_asked_for_by_a_field_of_their_own(site, toy):
    site.files["/toy.zip"] = zipped({"a.nii.gz": b"one"})
    archive = {"url": f"{site.url}/toy.zip", "filename": "toy.zip", "unpack": "zip"}
    toy.licence = {"name": "CC-BY-4.0", "disputed": True, "note": "One listing says else."}
    with pytest.raises(
        DownloadError, match=r"disagree on its terms \(licence: CC-BY-4\.0, .*listing"
    ):
        toy.get(archive, accept=[])
    assert not site.asked
    toy.licence = {"name": "disputed"}  # a name says nothing of its own
    toy.get(archive, accept=[])
    assert toy.files() == {"a.nii.gz": b"one"}


def test_cards_whose_terms_sources_disagree_on():
    disputed = {name: card for name, card in CARDS.items() if card.licence.disputed}
    assert set(disputed) == {"amos_ct", "amos_mr", "lits", "autopet"}
    assert all(card.licence.note and card.consent for card in disputed.values())


def test_page_of_the_datasets_says_what_must_be_accepted():
    page = (ROOT / "docs/datasets.md").read_text("utf-8")
    rows = [line.strip("|").split("|") for line in page.splitlines() if line.startswith("| `")]
    told = {row[0].strip(" `"): row[4].strip() for row in rows if row[0].strip(" `") in CARDS}
    assert told == {name: "yes" if card.consent else "no" for name, card in CARDS.items()}


def test_terms_hold_for_a_persons_own_copy_too(toy):
    (toy.raw / "sub").mkdir(parents=True)
    (toy.raw / "sub/a.nii.gz").write_bytes(b"mine")
    with pytest.raises(DownloadError, match=r"bound to an agreement.*accept=toy"):
        toy.get(kind="agreement", accept=[])
    assert not toy.manifest.exists()


def test_unofficial_copy_is_fetched_only_where_it_is_accepted(site, toy):
    site.files["/toy.zip"] = zipped({"a.nii.gz": b"one"})
    archive = {"url": f"{site.url}/toy.zip", "filename": "toy.zip", "unpack": "zip"}
    archive["unofficial"] = True
    with pytest.raises(DownloadError, match="not fetched by itself"):
        toy.get(archive, kind="agreement")
    assert not site.asked
    toy.get(archive, kind="agreement", accept=["toy:unofficial"])
    assert toy.files() == {"a.nii.gz": b"one"}
    with pytest.raises(DownloadError, match=r"passed on by others.*accept=toy,toy:unofficial"):
        toy.get(archive, kind="agreement")
    assert toy.files() == {"a.nii.gz": b"one"}
