"""A report as plain text: what does not fit first, then what was found, the verdict last."""

import textwrap

from hermes.card_check import Finding, Report

WIDTH = 100


def render(report: Report) -> str:
    """Write a report for a terminal or a file; the last line is the verdict."""
    blocks = [
        _listed("Does not fit", [finding for finding in report.findings if finding.problem]),
        _listed("Worth a look", [finding for finding in report.findings if not finding.problem]),
        *(_section(title, lines) for title, lines in report.sections.items()),
        report.verdict,
    ]
    return "\n\n".join(block for block in blocks if block)


def _listed(title: str, findings: list[Finding]) -> str:
    if not findings:
        return ""
    lines = [title]
    for number, finding in enumerate(findings, start=1):
        lines += _wrapped(finding.what, f"{number:3}. ")
        if finding.change:
            lines += _wrapped(finding.change, "     -> ")
    return "\n".join(lines)


def _wrapped(text: str, start: str) -> list[str]:
    """Lines of at most `WIDTH` letters; patterns and paths are never broken."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=start,
        subsequent_indent=" " * len(start),
        break_long_words=False,
        break_on_hyphens=False,
    )


def _section(title: str, lines: list[str]) -> str:
    return "\n".join([title, *(f"  {line}" for line in lines)]) if lines else ""
