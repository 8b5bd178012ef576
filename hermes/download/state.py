"""What a raw folder holds: a person's own files, a download, one of other archives, nothing.

The stage that fills it and the summary that says what is missing go by this one rule.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from hermes.config.schema import Archive, Card
from hermes.download.archives import describe, expand
from hermes.download.files import list_files

TO_FILL = ("absent", "incomplete", "outdated")
"""States in which the stage fills a raw folder."""


def record_of(manifest: Path) -> Path:
    """Return where a run that fetched keeps its manifest a second time, since a person may remove
    the first to have a folder listed anew."""
    return manifest.with_name(f".{manifest.stem}.record")


def state(raw: Path, manifest: Path, card: Card, archives: list[Archive]) -> str:
    """Say what a raw folder holds.

    Only what an earlier run wrote can be incomplete or outdated.

    Args:
        raw: the raw folder.
        manifest: of the folder; what an earlier run recorded lies beside it.
        card: the dataset's.
        archives: those that may be used.

    Returns:
        "absent": nothing; "copy": a person's own files; "download": what these archives hold;
        "unofficial": what archives hold that may not be used; "incomplete": a download of which
        files are gone; "outdated": a download of other archives than the card names now.
    """
    files = {path: (raw / path).stat().st_size for path in list_files(raw)}
    if not files:
        return "absent"
    known = _recorded(manifest)
    if known is None:
        return "copy"
    ours = {entry["path"]: entry["bytes"] for entry in known["files"]}
    if not files.items() <= ours.items():
        return "copy"
    if known["archives"] == describe(archives):
        return "download" if files == ours else "incomplete"
    every = [file for entry in card.archives for file in expand(entry)]
    return "unofficial" if known["archives"] == describe(every) else "outdated"


def own_files(raw: Path, manifest: Path) -> str:
    """A fingerprint of a person's own copy: names, sizes and times of its files.

    "" where the folder is empty or holds a download, whose archives say what it is.
    """
    if _recorded(manifest) is not None:
        return ""
    files, seen = list_files(raw), hashlib.sha256()
    for path in files:
        facts = (raw / path).stat()
        seen.update(f"{path}\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode())
    return seen.hexdigest() if files else ""


def _recorded(manifest: Path) -> dict[str, Any] | None:
    """Return what the last download wrote of a folder: its record, or a manifest without one."""
    for path in (record_of(manifest), manifest):
        if path.is_file():
            known = json.loads(path.read_text("utf-8"))
            if known.get("source") == "download":
                return known
    return None
