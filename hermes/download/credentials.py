"""Tokens of the stores that ask for an account, from where their own clients keep them.

Synapse: the environment variable SYNAPSE_AUTH_TOKEN, or ~/.synapseConfig (the section of
SYNAPSE_PROFILE, `default` or `authentication`). Kaggle: KAGGLE_API_TOKEN (the token or a file that
holds it), KAGGLE_USERNAME with KAGGLE_KEY, or kaggle.json or access_token in ~/.kaggle
(KAGGLE_CONFIG_DIR). Messages never show what was read.
"""

import configparser
import json
import os
from collections.abc import Mapping
from pathlib import Path

from hermes.download.files import DownloadError

Credentials = tuple[str, ...]
"""A token, or a name and a key; empty where none were found."""

WHERE = {
    "synapse": "the environment variable SYNAPSE_AUTH_TOKEN, or ~/.synapseConfig",
    "kaggle": "the environment variables KAGGLE_USERNAME and KAGGLE_KEY, or KAGGLE_API_TOKEN, or "
    "~/.kaggle/kaggle.json",
}
"""Where a store's credentials are looked for, in words."""

TITLES = {"synapse": "Synapse", "kaggle": "Kaggle"}


def store_of(url: str) -> str:
    """Return the store that an archive's address names, "synapse" or "kaggle"; "" for the web's."""
    scheme = url.partition(":")[0]
    return scheme if scheme in TITLES else ""


def read_credentials(
    store: str, environment: Mapping[str, str] = os.environ, home: Path | None = None
) -> Credentials:
    """Read the credentials of a store.

    Args:
        store: "synapse" or "kaggle".
        environment: variables.
        home: where the clients keep their files; default: the user's home.

    Raises:
        DownloadError: a file of credentials cannot be read, or a token cannot be one.
    """
    home = home or Path.home()
    found = (_synapse if store == "synapse" else _kaggle)(environment, home)
    found = tuple(part.strip() for part in found)
    if not all(
        part and part.isascii() and part.isprintable() and " " not in part for part in found
    ):
        raise DownloadError(
            f"{TITLES[store]}: the credentials found are empty or hold what no token holds; "
            f"correct {WHERE[store]}"
        )
    return found


def _synapse(environment: Mapping[str, str], home: Path) -> Credentials:
    if environment.get("SYNAPSE_AUTH_TOKEN"):
        return (environment["SYNAPSE_AUTH_TOKEN"],)
    path = home / ".synapseConfig"
    if not path.is_file():
        return ()
    settings = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        settings.read(path, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError):
        raise DownloadError(f"{path}: not a configuration file of the Synapse client") from None
    profile = environment.get("SYNAPSE_PROFILE", "default")
    for section in ("default" if profile == "default" else f"profile {profile}", "authentication"):
        token = settings.get(section, "authtoken", fallback="")
        if token:
            return (token,)
    return ()


def _kaggle(environment: Mapping[str, str], home: Path) -> Credentials:
    folder = Path(environment.get("KAGGLE_CONFIG_DIR", home / ".kaggle"))
    token = environment.get("KAGGLE_API_TOKEN", "")
    if token:
        return (_content(Path(token)) or token,)
    name, key = environment.get("KAGGLE_USERNAME"), environment.get("KAGGLE_KEY")
    if name and key:
        return name, key
    token = _content(folder / "access_token")
    if token:
        return (token,)
    path = folder / "kaggle.json"
    if not path.is_file():
        return ()
    try:
        entries = json.loads(path.read_text("utf-8"))
        return str(entries["username"]), str(entries["key"])
    except (ValueError, KeyError, TypeError):
        raise DownloadError(
            f"{path}: not a token file of Kaggle, which holds username and key"
        ) from None


def _content(path: Path) -> str:
    """Return the text of a small file; "" where there is none."""
    try:
        return path.read_text("utf-8").strip() if path.is_file() else ""
    except OSError:  # a token that is too long to be a path
        return ""
