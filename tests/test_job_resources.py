"""What jobs ask for: one file for all rules, closed, its mistakes named."""

import re
from pathlib import Path

import pytest
import yaml

from hermes.config.job_resources import Ask, load_asks
from hermes.config.registry import RegistryError

ROOT = Path(__file__).parents[1]
FILE = ROOT / "config" / "resources.yaml"


def test_every_rule_with_a_command_has_its_line_and_no_other_is_listed():
    rules = set()
    for path in (ROOT / "workflow" / "rules").glob("*.smk"):
        for part in re.split(r"(?m)^(?= *rule \w+:)", path.read_text())[1:]:
            if "shell:" in part:
                rules.add(re.match(r" *rule (\w+):", part)[1])
    assert set(yaml.safe_load(FILE.read_text())["rules"]) == rules


def test_a_study_of_its_own_overrides_what_the_rules_ask_for():
    common, paper = load_asks(FILE, "phantom"), load_asks(FILE, "paper")
    assert set(common) == set(paper)
    assert paper["train"].memory_mb > common["train"].memory_mb
    assert paper["split"] == common["split"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rules: {train: {memory_mb: 1}}", "rules.train.minutes: Field required"),
        ("rules: {train: {memory: 1, minutes: 1}}", "did you mean 'memory_mb'"),
        ("rules: {train: {memory_mb: 0, minutes: 1}}", "greater than 0"),
        (
            "rules: {train: {memory_mb: 1, minutes: 1}}\n"
            "studies: {paper: {trian: {memory_mb: 1, minutes: 1}}}",
            "studies: paper: no rule 'trian'; did you mean 'train'",
        ),
    ],
)
def test_a_mistake_is_named(tmp_path, text, message):
    path = tmp_path / "resources.yaml"
    path.write_text(text)
    with pytest.raises(RegistryError, match=re.escape(message)):
        load_asks(path, "paper")


def test_every_attempt_asks_for_more_memory_up_to_the_most():
    ask = Ask(memory_mb=100, minutes=1)
    assert [ask.megabytes(attempt) for attempt in (1, 2, 3)] == [100, 200, 300]
    capped = Ask(memory_mb=100, most_mb=150, minutes=1)
    assert [capped.megabytes(attempt) for attempt in (1, 2, 3)] == [100, 150, 150]
