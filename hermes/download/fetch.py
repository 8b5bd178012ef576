"""One file over HTTP: resumed where it broke off, retried with back-off, whole or absent."""

import os
import time
from pathlib import Path
from urllib.parse import urlsplit

import requests
import urllib3
from tqdm import tqdm

from hermes.download.files import CHUNK, DownloadError

ATTEMPTS = 5
"""ASSUME: a server that fails five times in a row without sending a byte stays away."""

TIMEOUT_S = (20, 60)
"""ASSUME: seconds to connect, and without any byte, before a transfer counts as broken."""

FIRST_PAUSE_S = 1.0
"""Seconds before the first retry; doubled each time."""

PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP states that may pass by themselves."""


def shown(url: str) -> str:
    """Return an address without the name and password it may carry."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


class Broken(Exception):
    """A transfer stopped early; what came is kept."""


def fetch(
    url: str, target: Path, session: requests.Session, pause_s: float = FIRST_PAUSE_S
) -> None:
    """Fetch an address into a file.

    The bytes gather in `<target>.part`, which a later call goes on from if the server still has
    the same file (its ETag or date is kept beside it).

    Args:
        url: http or https address.
        target: where the whole file is put.
        session: carries certificates and proxies.
        pause_s: seconds before the first retry.

    Raises:
        DownloadError: the server refuses, or keeps failing.
    """
    part = target.with_name(f"{target.name}.part")
    failures = 0
    while True:
        before = _size(part)
        try:
            _transfer(url, part, session)
            break
        except (Broken, requests.ConnectionError, requests.Timeout) as error:
            failures = 1 if _size(part) > before else failures + 1
            if failures >= ATTEMPTS:
                raise DownloadError(
                    f"{shown(url)}: {error}; given up after {ATTEMPTS} tries without a byte, "
                    f"run again to go on from {_size(part)} bytes"
                ) from error
            time.sleep(pause_s * 2 ** (failures - 1))
        except requests.RequestException as error:
            raise DownloadError(
                f"{shown(url)}: {error}; correct the address in the card"
            ) from error
    os.replace(part, target)
    _tag_file(part).unlink(missing_ok=True)


def _transfer(url: str, part: Path, session: requests.Session) -> None:
    """Ask for what is missing and append it; `part` is whole on return."""
    headers = {"Accept-Encoding": "identity"}
    start, tag = _size(part), _read_tag(part)
    if start and tag:
        headers |= {"Range": f"bytes={start}-", "If-Range": tag}
    with session.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as response:
        if response.headers.get("Content-Range") == f"bytes */{start}":
            return  # whole already: nothing lies beyond
        resumed = response.status_code == 206
        if response.status_code == 416 or (resumed and not _continues(response, start)):
            part.unlink()
            raise Broken("the part kept does not fit the server's file; started afresh")
        _check_status(url, response)
        total = _total(response, start if resumed else 0)
        _tag_file(part).write_text(_tag_of(response))
        _append(response, part, start if resumed else 0, total)
    if total is not None and _size(part) != total:
        raise Broken(f"{_size(part)} of {total} bytes came")


def _append(response: requests.Response, part: Path, start: int, total: int | None) -> None:
    with (
        open(part, "ab" if start else "wb") as handle,
        tqdm(
            desc=part.name.removesuffix(".part"),
            initial=start,
            total=total,
            unit="B",
            unit_scale=True,
            disable=None,  # silent where no terminal watches
        ) as bar,
    ):
        try:
            while chunk := response.raw.read1(CHUNK):  # what is there, so that nothing is lost
                handle.write(chunk)
                bar.update(len(chunk))
        except urllib3.exceptions.HTTPError as error:
            raise Broken(str(error)) from error


def _check_status(url: str, response: requests.Response) -> None:
    if response.status_code in PASSING:
        raise Broken(f"the server answers {response.status_code} {response.reason}")
    if response.status_code not in (200, 206):
        raise DownloadError(
            f"{shown(url)}: the server answers {response.status_code} {response.reason}; look "
            "whether the card's address still holds, or put the file into the mirror folder"
        )


def _continues(response: requests.Response, start: int) -> bool:
    return response.headers.get("Content-Range", "").startswith(f"bytes {start}-")


def _total(response: requests.Response, start: int) -> int | None:
    """Bytes of the whole file, where the server says."""
    length = response.headers.get("Content-Length")
    return start + int(length) if length is not None else None


def _tag_of(response: requests.Response) -> str:
    """What `If-Range` may hold: a strong ETag, else the date of the last change, else nothing."""
    tag = response.headers.get("ETag", "")
    return tag if tag.startswith('"') else response.headers.get("Last-Modified", "")


def _tag_file(part: Path) -> Path:
    return part.with_name(f"{part.name}.tag")


def _read_tag(part: Path) -> str:
    tag = _tag_file(part)
    return tag.read_text() if tag.is_file() else ""


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0
