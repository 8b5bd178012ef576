"""What a dataset lacks that only a person can give: consent, a token, a copy of their own."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from hermes.config.registry import RegistryError, nearest
from hermes.config.schema import Archive, Card
from hermes.download.archives import unofficial
from hermes.download.credentials import TITLES, WHERE, read_credentials, store_of


@dataclass(frozen=True)
class Need:
    """One thing that is missing."""

    short: str  # a few words, for a list
    text: str  # whole sentences: why, where, what to do
    accept: str = ""  # what meets it in the configuration's list `accept`, where that does


def check_accept(accept: Iterable[str], known: Collection[str]) -> None:
    """Check the names of the configuration's list `accept`.

    Raises:
        RegistryError: no dataset of this name.
    """
    for entry in accept:
        name, _, suffix = entry.partition(":")
        if name not in known:
            raise RegistryError(f"configuration: accept: {entry!r}{nearest(name, known)}")
        if entry not in (name, unofficial(name)):
            raise RegistryError(
                f"configuration: accept: {entry!r}: {suffix!r} says nothing; did you mean "
                f"{unofficial(name)!r}?"
            )


def consent_needed(card: Card, accept: Collection[str], unofficial_copy: bool) -> Need | None:
    """Say that the terms of a dataset are not accepted; nothing where they need not be or are.

    Args:
        card: the dataset's.
        accept: names of the configuration's list `accept`.
        unofficial_copy: its raw folder was filled from a copy that its owners do not pass on.
    """
    wanted = unofficial(card.name) if unofficial_copy else card.name
    given = {wanted, unofficial(card.name)} & set(accept)
    if given or not (card.consent or unofficial_copy):
        return None
    reason = "these files are passed on by others than its owners" if unofficial_copy else ""
    terms = ", ".join(filter(None, (card.licence.name, card.licence.url or card.access.url)))
    note = f" {card.licence.note}" if card.licence.note else ""
    together = ",".join([*accept, wanted])
    return Need(
        f"accept={wanted}",
        f"{card.title} is used only once you accept its terms: {reason or card.consent} (licence: "
        f"{terms}).{note} Read them; if you accept, add --config accept={together}, or the name to "
        "`accept` in config/config.yaml.",
        accept=wanted,
    )


def copy_needed(
    card: Card, archives: Sequence[Archive], lacking: Sequence[Archive], raw: str | Path
) -> Need | None:
    """Say what a person must bring so that archives can be had; nothing where nothing.

    Args:
        card: the dataset's.
        archives: those that may be used.
        lacking: of them, those that are neither here nor can be asked for by this program.
        raw: the raw folder, where a person's own copy goes.
    """
    if archives and not lacking:
        return None
    page = f" Page: {card.access.url}." if card.access.url else ""
    how = f"{card.access.instructions}{page} Raw folder: {raw}."
    stores = {store_of(archive.url) for archive in lacking} - {""}
    if stores:
        store = min(stores)
        return Need(
            f"a token of {TITLES[store]}",
            f"{card.title} lies with {TITLES[store]}, and no token was found in {WHERE[store]}. "
            f"{how}",
        )
    names = ", ".join(archive.filename for archive in lacking)
    looked = f" Not found in the mirror folder either: {names}." if names else ""
    owners = urlsplit(card.access.url).hostname or "its owners"
    passed_on = any(archive.unofficial for archive in card.archives)
    instead = f" (or accept={unofficial(card.name)})" if passed_on else ""
    return Need(
        f"your own copy from {owners} in {raw}{instead}",
        f"{card.title} is not fetched by itself (access: {card.access.kind}). {how}{looked}",
    )


def fetchable(archive: Archive) -> bool:
    """Say whether this program can ask for an archive, with the credentials that are here."""
    store = store_of(archive.url)
    return bool(read_credentials(store)) if store else bool(archive.url or archive.package)


def without(datasets: Sequence[str], columns: Mapping[str, Sequence[str]]) -> str:
    """Say how to go on without some datasets, and what tables lack then.

    Args:
        datasets: their names.
        columns: table -> titles of the columns that are made of them.
    """
    lost = "; ".join(f"{table} ({', '.join(titles)})" for table, titles in columns.items())
    ending = f", and tables lack {lost}" if lost else ""
    return f"To go on without: --config without={','.join(datasets)}{ending}."
