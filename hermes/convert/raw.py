"""A dataset's raw folder, as its manifest lists it."""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from hermes.convert.patterns import compile_pattern, fill, natural

JUNK = {"__MACOSX", "@eaDir", "Thumbs.db", "desktop.ini"}
"""Names that macOS, Synology's stations and Windows leave in folders and archives."""


class CaseError(ValueError):
    """One case cannot be converted; the message is the reason that goes into `rejected.tsv`."""


class ConvertError(ValueError):
    """A dataset cannot be converted; the message names the folder and what was expected."""


def plain(text: str, root: Path) -> str:
    """An error's text in one line, with paths below the raw folder: the same on every machine."""
    return " ".join(text.replace(f"{root}/", "").split())


@dataclass(frozen=True)
class RawFolder:
    """The files of a dataset as its manifest lists them, in natural order."""

    root: Path
    files: Mapping[str, tuple[int, str]]  # path -> (bytes, sha256)
    folders: Mapping[str, tuple[str, ...]] = field(init=False)  # folder -> its own files

    def __post_init__(self) -> None:
        folders = defaultdict(list)
        for path in self.files:
            folders[str(PurePosixPath(path).parent)].append(path)
        object.__setattr__(self, "folders", {f: tuple(paths) for f, paths in folders.items()})

    @classmethod
    def read(cls, root: Path, manifest: Path) -> "RawFolder":
        """Read a manifest; dot-files and what systems leave behind (`JUNK`) are left out.

        Raises:
            ConvertError: no manifest, or not one.
        """
        try:
            entries = json.loads(Path(manifest).read_text(encoding="utf-8"))["files"]
            listed = {entry["path"]: (entry["bytes"], entry["sha256"]) for entry in entries}
        except FileNotFoundError:
            raise ConvertError(
                f"{manifest}: no such manifest; run the stage that writes it (download, phantom)"
            ) from None
        except (ValueError, KeyError, TypeError) as error:
            raise ConvertError(f"{manifest}: not a manifest of raw files: {error!r}") from error
        kept = sorted(filter(_is_data, listed), key=natural)
        return cls(Path(root), {path: listed[path] for path in kept})

    def matching(self, path: str) -> list[str]:
        """The files a path stands for: itself, or those that lie directly in the folder."""
        return [path] if path in self.files else list(self.folders.get(path, ()))

    def open_path(self, path: str) -> Path:
        """Return where a listed file lies, once it is sure to be the one the manifest lists.

        Raises:
            CaseError: the file is gone, empty, or has another size than listed.
        """
        full = self.root / path
        if not full.is_file():
            raise CaseError(f"{path}: the manifest lists it, but the file is gone; fetch it again")
        size, listed = full.stat().st_size, self.files[path][0]
        if size == 0:
            raise CaseError(f"{path}: the file is empty (0 bytes); fetch it again")
        if size != listed:
            raise CaseError(
                f"{path}: {size} bytes, but the manifest says {listed}: it changed after the "
                "manifest was written; fetch it again"
            )
        return full

    def locate(self, pattern: str, holes: Mapping[str, str]) -> str:
        """Fill a pattern's placeholders and return the one file or folder it stands for.

        A `*`, or a placeholder that the image's pattern does not have, matches a part of one
        path component.

        Raises:
            CaseError: nothing matches, or more than one path does.
        """
        filled = fill(pattern, holes)
        if filled in self.files or filled in self.folders:
            return filled
        regex = compile_pattern(pattern, holes)
        found = [path for path in (*self.files, *self.folders) if regex.fullmatch(path)]
        if not found:
            raise CaseError(f"{filled}: no such file or folder; the card expects it there")
        if len(found) > 1:
            raise CaseError(f"{filled}: stands for {len(found)} paths: {', '.join(found[:3])}")
        return found[0]


def _is_data(path: str) -> bool:
    parts = path.split("/")
    return JUNK.isdisjoint(parts) and not any(part.startswith(".") for part in parts)
