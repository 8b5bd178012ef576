"""All tables of a study on one page, for people: the tables' Markdown as HTML, nothing added.

Everything stands in the file: no script, no font, nothing from elsewhere.
"""

import logging
import re
from collections.abc import Iterator, Sequence
from html import escape
from itertools import groupby
from pathlib import Path

from hermes.files.atomic import writing

logger = logging.getLogger(__name__)

STYLE = """\
body { margin: 0 auto; max-width: 1500px; padding: 28px 32px 60px; color: #1d2329; background: #fff;
  font: 14.5px/1.5 "Source Sans 3", "Segoe UI", "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 25px; font-weight: 600; margin: 0 0 4px; }
h2 { font-size: 17px; font-weight: 600; margin: 26px 0 6px; }
p { margin: 4px 0 10px; max-width: 90ch; }
section + section { border-top: 2px solid #1d2329; margin-top: 44px; padding-top: 14px; }
div { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th { font-weight: 600; color: #59636c; font-size: 13px; vertical-align: bottom; }
th, td { text-align: left; padding: 4px 14px 4px 0; border-bottom: 1px solid #d9dee3; }
th.n, td.n { text-align: right; }
td { white-space: nowrap; }
tbody tr:hover { background: #f4f6f8; }
th:first-child, td:first-child { position: sticky; left: 0; background: #fff; }
"""


def run(*, tables: Sequence[str | Path], title: str, label: str, page: str | Path) -> None:
    """Write the page.

    Args:
        tables: Markdown files, in the order of the page.
        title: of the study.
        label: what the study's numbers are.
        page: HTML to write.
    """
    sections = [section(Path(path).read_text(encoding="utf-8")) for path in tables]
    head = f"{title}. {label}"
    with writing(page) as aside:
        aside.write_text(
            '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
            f"<title>{escape(head)}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n"
            + "\n".join(sections)
            + "\n</body>\n</html>\n",
            encoding="utf-8",
        )
    logger.info("%d tables", len(sections))


def section(markdown: str) -> str:
    """A table's Markdown as HTML: headings, paragraphs, tables and `**bold**` are known."""
    lines = [line.strip() for line in markdown.splitlines()]
    blocks = [list(group) for whole, group in groupby(lines, key=bool) if whole]
    return "\n".join(["<section>", *(_block(block) for block in blocks), "</section>"])


def _block(lines: Sequence[str]) -> str:
    if lines[0].startswith("|"):
        return "\n".join(_table(lines))
    if heading := re.match(r"(#+) (.*)", lines[0]):
        level = len(heading[1])
        return f"<h{level}>{_inline(heading[2])}</h{level}>"
    return f"<p>{_inline(' '.join(lines))}</p>"


def _table(lines: Sequence[str]) -> Iterator[str]:
    """A table whose second line says by a colon which columns are to the right."""
    head, rule, *body = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    marks = [' class="n"' if cell.endswith(":") else "" for cell in rule]
    yield "<div><table><thead>"
    yield _row(head, marks, "th")
    yield "</thead><tbody>"
    for cells in body:
        yield _row(cells, marks, "td")
    yield "</tbody></table></div>"


def _row(cells: Sequence[str], marks: Sequence[str], tag: str) -> str:
    inner = "".join(
        f"<{tag}{mark}>{_inline(cell)}</{tag}>" for cell, mark in zip(cells, marks, strict=True)
    )
    return f"<tr>{inner}</tr>"


def _inline(text: str) -> str:
    return re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", escape(text))
