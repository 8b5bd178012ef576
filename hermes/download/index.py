"""Files out of packages, through the index that pip is set up with.

pip's own settings are asked (`pip config list`: files, user, environment), so that a mirror, a
certificate or a proxy that works for `pip download` works here. Nothing is installed or run.
"""

import ast
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

import requests
from pypi_simple import PYPI_SIMPLE_ENDPOINT, NoSuchProjectError, ProjectPage, PyPISimple

from hermes.download.files import DownloadError

SECTIONS = ("global", "download", ":env:")
"""Sections of pip's configuration that `pip download` reads, the later one wins."""


@dataclass(frozen=True)
class IndexSettings:
    """Where packages are looked for."""

    indexes: tuple[str, ...] = (PYPI_SIMPLE_ENDPOINT,)
    folders: tuple[Path, ...] = ()  # pip's find-links, those that are local
    certificate: str = ""
    proxy: str = ""

    def session(self) -> requests.Session:
        """Return a session with the certificate and the proxy."""
        session = requests.Session()
        if self.certificate:
            session.verify = self.certificate
        if self.proxy:
            session.proxies = {"http": self.proxy, "https": self.proxy}
        return session


def read_settings() -> IndexSettings:
    """Read pip's settings; pip's defaults where it says nothing."""
    values = _pip_values()
    indexes = [values.get("index-url", PYPI_SIMPLE_ENDPOINT)]
    indexes += values.get("extra-index-url", "").split()
    if values.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        indexes = []
    links = [_local(link) or Path(link) for link in values.get("find-links", "").split()]
    return IndexSettings(
        indexes=tuple(indexes),
        folders=tuple(link for link in links if link.is_dir()),
        certificate=values.get("cert", ""),
        proxy=values.get("proxy", ""),
    )


def _pip_values() -> dict[str, str]:
    command = [sys.executable, "-m", "pip", "config", "list"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    if answer.returncode:  # an environment without pip: its variables still count
        prefix = "PIP_"
        names = (name for name in os.environ if name.startswith(prefix))
        return {n.removeprefix(prefix).lower().replace("_", "-"): os.environ[n] for n in names}
    return parse_config(answer.stdout)


def parse_config(text: str) -> dict[str, str]:
    """Read the lines of `pip config list`, such as `global.index-url='https://...'`."""
    values: dict[str, dict[str, str]] = {section: {} for section in SECTIONS}
    for line in text.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        if section in values and value:
            values[section][name] = str(ast.literal_eval(value))
    return {name: value for section in SECTIONS for name, value in values[section].items()}


def locate(package: str, filename: str, settings: IndexSettings) -> str | Path:
    """Find a package's file: an address, or a path where a local folder holds it.

    Args:
        package: "name==version".
        filename: the file's name in the index.
        settings: of `read_settings`.

    Raises:
        DownloadError: no index has it.
    """
    for folder in settings.folders:
        if (folder / filename).is_file():
            return folder / filename
    project = package.partition("==")[0]
    seen: list[str] = []
    for index in settings.indexes:
        page = _page(index, project, settings)
        for found in page.packages if page else ():
            if found.filename == filename:
                return _local(found.url) or found.url
            seen.append(found.filename)
    near = ", ".join(seen[-5:]) or "nothing of this name"
    raise DownloadError(
        f"{filename} of {package}: not in the package index that pip is set up with (found: "
        f"{near}); put the file into the mirror folder, or correct the card"
    )


def _page(index: str, project: str, settings: IndexSettings) -> ProjectPage | None:
    """Return an index's page of a project, or nothing where it has none."""
    folder = _local(index)
    if folder:
        page = folder / project / "index.html"
        if not page.is_file():
            return None
        return ProjectPage.from_html(project, page.read_text("utf-8"), base_url=page.as_uri())
    try:
        with settings.session() as session:
            return PyPISimple(index, session=session).get_project_page(project, timeout=60)
    except NoSuchProjectError:
        return None
    except requests.RequestException as error:
        raise DownloadError(
            f"package index of pip: {type(error).__name__} on the page of {project}; look at "
            "`pip config list`, or put the file into the mirror folder"
        ) from error


def _local(url: str) -> Path | None:
    parts = urlsplit(url)
    return Path(url2pathname(parts.path)) if parts.scheme == "file" else None
