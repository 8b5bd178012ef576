"""A mirror: a folder, or an address on the web, whose files stand in for any by their name."""

import os
from dataclasses import dataclass
from pathlib import Path

from hermes.config.schema import Archive


@dataclass(frozen=True)
class Mirror:
    """One of the two, or neither."""

    folder: Path | None = None
    base: str = ""  # http or https address

    def stored(self, archive: Archive, cache: Path) -> Path | None:
        """Return where an archive lies already, in the folder or in the cache; unchecked."""
        places = [folder / archive.filename for folder in (self.folder, cache) if folder]
        return next((place for place in places if place.is_file()), None)


def read_mirror(configured: str) -> Mirror:
    """Return the mirror of the configuration, else that of the environment variable HERMES_MIRROR.

    An address that holds a password belongs into the variable, which no log shows.
    """
    named = configured or os.environ.get("HERMES_MIRROR", "")
    if named.startswith(("http://", "https://")):
        return Mirror(base=named)
    return Mirror(folder=Path(named).expanduser() if named else None)
