"""The pins are written once: pip's lock and conda's environment hold the same."""

import importlib.util
import re
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]


def load_script():
    path = ROOT / "workflow" / "scripts" / "environment.py"
    spec = importlib.util.spec_from_file_location("environment", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def normal(pin: str) -> str:
    name, _, version = pin.partition("==")
    return re.sub(r"[-_.]+", "-", name).lower() + "==" + version


def test_environment_yml_holds_the_locked_pins():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    listed = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    locked = load_script().pins((ROOT / "requirements.lock").read_text())
    assert {normal(p) for p in listed if "==" in p} == {normal(p) for p in locked} | {
        "torch==2.13.0"
    }


def test_direct_dependencies_are_locked_at_their_version():
    pins = load_script().pins
    locked = {normal(p) for p in pins((ROOT / "requirements.lock").read_text())}
    direct = {normal(p) for p in pins((ROOT / "requirements.in").read_text())}
    assert direct - locked == {"torch==2.13.0"}
