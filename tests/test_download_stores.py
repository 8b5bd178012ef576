"""Synapse and Kaggle: credentials, addresses that hold for a while, and what stays secret."""

import base64
import json
import logging
import traceback

import pytest
from loopback import Site, serve
from toyset import CONTENT, zipped

from hermes.download import DownloadError
from hermes.download.credentials import read_credentials

pytest_plugins = ["toyset_fixtures"]

TICKET = "/repo/v1/entity/syn1/file?redirect=false"
DATASET = "/api/v1/datasets/download/owner/set"
BASIC = "Basic " + base64.b64encode(b"me:secret").decode()
SYNAPSE = {"url": "synapse:syn1", "filename": "a.zip", "unpack": "zip"}
KAGGLE = {"url": "kaggle:owner/set", "filename": "a.zip", "unpack": "zip"}
VARIABLES = (
    *("SYNAPSE_AUTH_TOKEN", "SYNAPSE_PROFILE", "KAGGLE_API_TOKEN", "KAGGLE_USERNAME"),
    *("KAGGLE_KEY", "KAGGLE_CONFIG_DIR"),
)


@pytest.fixture(autouse=True)
def nobody(monkeypatch, tmp_path):
    """A home without credentials."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


@pytest.fixture
def shelf():
    """The other server, to which the stores lead."""
    with serve(Site()) as running:
        running.files["/a.zip?Signature=hidden"] = zipped({"a.nii.gz": CONTENT})
        yield running


@pytest.fixture
def synapse(site, shelf, monkeypatch):
    monkeypatch.setenv("SYNAPSE_AUTH_TOKEN", "secret")
    site.files[TICKET] = f"{shelf.url}/a.zip?Signature=hidden".encode()
    site.wanted[TICKET] = "Bearer secret"
    return site


@pytest.fixture
def kaggle(site, shelf, monkeypatch):
    monkeypatch.setenv("KAGGLE_USERNAME", "me")
    monkeypatch.setenv("KAGGLE_KEY", "secret")
    site.moved[DATASET] = f"{shelf.url}/a.zip?Signature=hidden"
    site.wanted[DATASET] = BASIC
    return site


def test_synapse_gives_an_address_and_the_token_stays_with_it(synapse, shelf, toy):
    toy.get(SYNAPSE, kind="synapse", synapse=synapse.url)
    assert toy.files() == {"a.nii.gz": CONTENT}
    assert set(synapse.seen) == {"Bearer secret"} and shelf.seen == []


def test_kaggle_redirects_and_the_key_stays_with_it(kaggle, shelf, toy):
    toy.get(KAGGLE, kind="kaggle", kaggle=kaggle.url)
    assert toy.files() == {"a.nii.gz": CONTENT}
    assert set(kaggle.seen) == {BASIC} and shelf.seen == []


def test_kaggle_with_a_token(kaggle, shelf, toy, monkeypatch):
    monkeypatch.setenv("KAGGLE_API_TOKEN", "KGAT_secret")
    kaggle.wanted[DATASET] = "Bearer KGAT_secret"
    toy.get(KAGGLE, kind="kaggle", kaggle=kaggle.url)
    assert toy.files() == {"a.nii.gz": CONTENT} and shelf.seen == []


def test_size_is_asked_for_with_one_byte(synapse, shelf, toy, caplog):
    caplog.set_level(logging.INFO, "hermes")
    toy.get(SYNAPSE, kind="synapse", synapse=synapse.url)
    assert [wanted for _, wanted in shelf.asked] == ["bytes=0-0", ""] and not shelf.heads
    assert any("103 kB to fetch" in line for line in caplog.messages)


def test_broken_transfer_asks_for_a_new_address_and_goes_on(synapse, shelf, toy):
    whole = shelf.files.pop("/a.zip?Signature=hidden")
    shelf.files |= {"/a.zip?Signature=1": whole, "/a.zip?Signature=2": whole}

    def renew():
        synapse.files[TICKET] = f"{shelf.url}/a.zip?Signature=2".encode()
        shelf.status["/a.zip?Signature=1"] = 403  # run out

    synapse.files[TICKET] = f"{shelf.url}/a.zip?Signature=1".encode()
    shelf.cut, shelf.between = [2, 40_000], [lambda: None, renew]  # the size, then the file
    toy.get(SYNAPSE, kind="synapse", synapse=synapse.url)
    assert shelf.asked[-2:] == [("/a.zip?Signature=1", ""), ("/a.zip?Signature=2", "bytes=40000-")]
    assert toy.files() == {"a.nii.gz": CONTENT}


def test_address_that_ran_out_at_once_is_asked_for_again(synapse, shelf, toy):
    shelf.fails = [403, 403]  # the size, then the file
    toy.get(SYNAPSE, kind="synapse", synapse=synapse.url)
    assert toy.files() == {"a.nii.gz": CONTENT}


@pytest.mark.parametrize("status", [401, 403, 404])
@pytest.mark.parametrize("store", ["synapse", "kaggle"])
def test_refusal_says_what_to_do_and_shows_no_token(request, toy, caplog, status, store):
    caplog.set_level(logging.DEBUG, "hermes")
    site, archive = request.getfixturevalue(store), {"synapse": SYNAPSE, "kaggle": KAGGLE}[store]
    site.fails = [status] * 2
    with pytest.raises(DownloadError) as error:
        toy.get(archive, kind=store, **{store: site.url})
    told = str(error.value)
    assert f"answers {status}" in told and "accept the conditions at toy.example" in told
    for text in ("".join(traceback.format_exception(error.value)), caplog.text):
        assert "secret" not in text and "hidden" not in text
    assert not toy.raw.exists()


@pytest.mark.parametrize("store", ["synapse", "kaggle"])
def test_failures_behind_the_store_show_no_signature(request, shelf, toy, caplog, store):
    caplog.set_level(logging.DEBUG, "hermes")
    site, archive = request.getfixturevalue(store), {"synapse": SYNAPSE, "kaggle": KAGGLE}[store]
    shelf.status["/a.zip?Signature=hidden"] = 503
    with pytest.raises(DownloadError, match="answers 503") as error:
        toy.get(archive, kind=store, **{store: site.url})
    for text in ("".join(traceback.format_exception(error.value)), caplog.text):
        assert "secret" not in text and "hidden" not in text


def test_answer_that_is_no_address(synapse, toy):
    synapse.files[TICKET] = b"file:///etc/passwd"
    with pytest.raises(DownloadError, match="the answer is no address"):
        toy.get(SYNAPSE, kind="synapse", synapse=synapse.url)


@pytest.mark.parametrize(
    ("archive", "kind", "where"),
    [(SYNAPSE, "synapse", "SYNAPSE_AUTH_TOKEN"), (KAGGLE, "kaggle", r"KAGGLE_USERNAME")],
)
def test_missing_token_and_missing_consent_in_one_message(toy, archive, kind, where):
    with pytest.raises(DownloadError) as error:
        toy.get(archive, kind=kind, accept=[])
    told = str(error.value).splitlines()
    assert "bound to the conditions accepted with an account" in told[0]
    assert "no token was found in the environment variable" in told[1] and where in told[1]
    assert "Ask the owners. Page: toy.example" in told[1]
    assert told[2] == "To go on without: --config without=toy."


def test_archive_fetched_by_hand_needs_no_token(toy, tmp_path):
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror/a.zip").write_bytes(zipped({"a.nii.gz": b"one"}))
    toy.get(SYNAPSE, kind="synapse", mirror=str(tmp_path / "mirror"))
    assert toy.files() == {"a.nii.gz": b"one"}


@pytest.mark.parametrize(
    ("text", "variables", "found"),
    [
        ("[default]\nauthtoken = one%\n[authentication]\nauthtoken = old\n", {}, ("one%",)),
        ("[authentication]\nauthtoken = old\n", {}, ("old",)),
        ("[profile me]\nauthtoken = mine\n", {"SYNAPSE_PROFILE": "me"}, ("mine",)),
        ("[default]\nauthtoken = one\n", {"SYNAPSE_AUTH_TOKEN": " two\n"}, ("two",)),
        ("[default]\nusername = me\n", {}, ()),
    ],
)
def test_synapse_token_as_its_client_keeps_it(tmp_path, text, variables, found):
    (tmp_path / ".synapseConfig").write_text(text)
    assert read_credentials("synapse", variables, tmp_path) == found


@pytest.mark.parametrize(
    ("files", "variables", "found"),
    [
        ({"kaggle.json": '{"username": "me", "key": "k"}'}, {}, ("me", "k")),
        ({"access_token": "KGAT_1\n", "kaggle.json": "{}"}, {}, ("KGAT_1",)),
        ({}, {"KAGGLE_API_TOKEN": "KGAT_2"}, ("KGAT_2",)),
        ({"token": "KGAT_3\n"}, {"KAGGLE_API_TOKEN": "{home}/.kaggle/token"}, ("KGAT_3",)),
        ({}, {"KAGGLE_USERNAME": "me"}, ()),
        ({}, {}, ()),
    ],
)
def test_kaggle_credentials_as_its_client_keeps_them(tmp_path, files, variables, found):
    (tmp_path / ".kaggle").mkdir()
    for name, text in files.items():
        (tmp_path / ".kaggle" / name).write_text(text)
    variables = {name: value.format(home=tmp_path) for name, value in variables.items()}
    assert read_credentials("kaggle", variables, tmp_path) == found


@pytest.mark.parametrize(
    ("store", "name", "text"),
    [
        ("synapse", ".synapseConfig", "authtoken secret"),
        ("kaggle", ".kaggle/kaggle.json", "{secret"),
        ("kaggle", ".kaggle/kaggle.json", json.dumps({"username": "me", "token": "secret"})),
        ("kaggle", ".kaggle/access_token", "two secret\nlines"),
    ],
)
def test_unreadable_credentials_are_named_and_not_shown(tmp_path, store, name, text):
    (tmp_path / ".kaggle").mkdir()
    (tmp_path / name).write_text(text)
    with pytest.raises(DownloadError) as error:
        read_credentials(store, {}, tmp_path)
    assert "secret" not in str(error.value)
    assert error.value.__cause__ is None and error.value.__suppress_context__ == (
        "access" not in name
    )
