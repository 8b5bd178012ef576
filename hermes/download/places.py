"""Where an archive is asked for: an address, a package of the index, a mirror, Synapse or Kaggle.

Synapse answers a request that carries the token with an address that holds for a while, as text;
Kaggle redirects to one. So every try asks anew, and the token goes to the store alone: requests
drops it where a redirect leads to another host.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

import requests
from requests.auth import AuthBase, HTTPBasicAuth

from hermes.config.schema import Archive
from hermes.download import index
from hermes.download.credentials import TITLES, WHERE, read_credentials, store_of
from hermes.download.files import DownloadError

SYNAPSE = "https://repo-prod.prod.sagebase.org"
"""Base address of Synapse's REST interface, as its clients have it."""

KAGGLE = "https://www.kaggle.com"
"""Base address of Kaggle's REST interface."""

TIMEOUT_S = (20, 60)
"""ASSUME: seconds to connect, and without any byte, before a transfer counts as broken."""

PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
"""HTTP states that may pass by themselves."""

GONE = frozenset({404, 410})

Authorize = Callable[[requests.PreparedRequest], requests.PreparedRequest]
"""What puts a person's credentials into a request."""

ADDRESS_ADVICE = (
    "look whether the card's address still holds, or put the file into the mirror folder"
)


class Broken(Exception):
    """A transfer stopped early; what came is kept. `wait_s`: how long the server wants no more."""

    def __init__(self, message: str, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.wait_s = wait_s


class Absent(DownloadError):
    """A place has not got the file."""


class Bearer(AuthBase):
    """A token in the request's header."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _nobody(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Ask as nobody, whatever a .netrc file says of the host."""
    return request


@dataclass(frozen=True)
class Place:
    """An address with what is needed to ask there."""

    name: str  # in messages; holds no secret
    url: str = field(repr=False)
    auth: Authorize | None = field(default=None, repr=False)
    ticket: bool = False  # the address answers with another, which holds for a while
    advice: str = ADDRESS_ADVICE
    gone: frozenset[int] = GONE
    session: Callable[[], requests.Session] = requests.Session

    def ask(
        self, session: requests.Session, headers: dict[str, str], method: str = "GET"
    ) -> requests.Response:
        """Send a request and return the answer, its body still to be read.

        Raises:
            Broken: no answer, or one that may pass.
            DownloadError: the server refuses.
        """
        if not self.ticket:
            answer = self._send(session, method, self.url, headers, self.auth)
            self._check(answer)
            return answer
        address = self._given(session)
        answer = self._send(session, method, address, headers, _nobody)
        if answer.status_code in (400, 401, 403):
            answer.close()
            raise Broken(f"the address given has run out ({answer.status_code})")
        self._check(answer)
        return answer

    def _given(self, session: requests.Session) -> str:
        """Ask for the address that holds for a while."""
        with self._send(session, "GET", self.url, {}, self.auth) as answer:
            self._check(answer)
            try:
                address = answer.text.strip().strip('"')
            except requests.RequestException as error:
                raise Broken(explain(error)) from None
        if urlsplit(address).scheme not in ("http", "https"):
            raise DownloadError(f"{self.name}: the answer is no address; {self.advice}")
        return address

    def _send(
        self,
        session: requests.Session,
        method: str,
        url: str,
        headers: dict[str, str],
        auth: Authorize | None,
    ) -> requests.Response:
        try:
            return session.request(
                method,
                url,
                headers=headers,
                auth=auth,
                stream=True,
                timeout=TIMEOUT_S,
                allow_redirects=True,
            )
        except (requests.ConnectionError, requests.Timeout) as error:
            raise Broken(explain(error)) from None  # its text may hold the address's secrets
        except requests.RequestException as error:
            raise DownloadError(
                f"{self.name}: {type(error).__name__}; correct the address in the card"
            ) from None

    def _check(self, answer: requests.Response) -> None:
        status = f"the server answers {answer.status_code} {answer.reason}"
        if answer.status_code in PASSING:
            wait = answer.headers.get("Retry-After", "")
            answer.close()
            raise Broken(status, float(wait) if wait.isdigit() else 0.0)
        if answer.status_code in (200, 206, 416):
            return
        answer.close()
        kind = Absent if answer.status_code in self.gone else DownloadError
        raise kind(f"{self.name}: {status}; {self.advice}")


def explain(error: BaseException) -> str:
    """Say why a connection failed, without the address, which may hold a secret."""
    if isinstance(error, requests.exceptions.SSLError):
        return "the server's certificate is not trusted"
    if isinstance(error, requests.exceptions.ProxyError):
        return "the proxy lets nothing through"
    if isinstance(error, requests.Timeout):
        return f"no answer within {max(TIMEOUT_S)} s"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return f"no connection: {cause.strerror}"
        cause = cause.__cause__ or cause.__context__
    return f"no connection ({type(error).__name__})"


def shown(url: str) -> str:
    """Return an address without the name, the password and the query it may carry."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def address(url: str) -> Place:
    """Return a plain address as a place."""
    return Place(shown(url), url)


def mirrored(base: str, filename: str) -> Place:
    """Return a file's place in a mirror on the web; some answer 403 for what they have not."""
    url = f"{base.rstrip('/')}/{quote(filename)}"
    return Place(
        shown(url),
        url,
        gone=GONE | {403},
        advice="look at the configuration's mirror and at HERMES_MIRROR",
    )


def place_of(
    archive: Archive, page: str, synapse: str = SYNAPSE, kaggle: str = KAGGLE
) -> Place | Path:
    """Return where an archive is asked for, or a path where a local package index holds it.

    Args:
        archive: with an address or a package.
        page: where a person looks after the dataset's conditions.
        synapse: base address of Synapse.
        kaggle: base address of Kaggle.

    Raises:
        DownloadError: no index has the package.
    """
    store = store_of(archive.url)
    if not store:
        return address(archive.url) if archive.url else _packaged(archive)
    _, _, what = archive.url.partition(":")
    credentials = read_credentials(store)
    advice = (
        f"accept the conditions at {page} with your account, and see that the token in "
        f"{WHERE[store]} holds and may download"
    )
    auth = HTTPBasicAuth(*credentials) if len(credentials) == 2 else Bearer(*credentials)
    ticket = store == "synapse"
    path = (
        f"repo/v1/entity/{what}/file?redirect=false"
        if ticket
        else f"api/v1/datasets/download/{what}"
    )
    base = synapse if ticket else kaggle
    return Place(
        f"{archive.filename} of {TITLES[store]} ({what})", f"{base}/{path}", auth, ticket, advice
    )


def _packaged(archive: Archive) -> Place | Path:
    settings = index.read_settings()
    found = index.locate(archive.package, archive.filename, settings)
    if isinstance(found, Path):
        return found
    return Place(f"{archive.filename} of {archive.package}", found, session=settings.session)
