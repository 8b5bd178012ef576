"""Figures and numbers of a study, made from its tables: the same bytes each time, and readable."""

import json
import re

import numpy as np
import pytest
from matplotlib import image

from hermes.files.tables import read_tsv
from hermes.report import dice_chart, metrics, training_curves
from hermes.report.metrics import MetricsError
from hermes.report.training_curves import CurveError
from hermes.train.log import write_metrics

HEAD = "model,column,dice,low,high,difference,difference_low,difference_high\n"
LABEL = "Phantom results on synthetic patients"


@pytest.fixture
def intervals(tmp_path):
    path = tmp_path / "table2_intervals.csv"
    path.write_text(
        HEAD
        + "ResUNet,bcv,50.25,40.00,60.50,0.00,0.00,0.00\n"
        + "ResUNet,avg,50.25,40.00,60.50,0.00,0.00,0.00\n"
        + "Hermes-R (no text),bcv,70.00,65.00,72.00,19.75,1.00,30.00\n"
        + "Hermes-R (no text),avg,nan,nan,nan,nan,nan,nan\n"
    )
    return path


def history(epochs, loss=2.0, val=float("nan")):
    rest = {"cross_entropy": 1.0, "overlap": 0.5, "modality": 0.1, "val_loss": val}
    return [
        {"epoch": e, "step": 2 * e, "learning_rate": 0.01 / e, "loss": loss / e, **rest}
        for e in range(1, epochs + 1)
    ]


@pytest.fixture
def runs(tmp_path):
    found = {}
    for name, rows in {"net-a": history(3), "net-b": history(5, val=1.5)}.items():
        found[name] = tmp_path / f"{name}.tsv"
        write_metrics(found[name], rows)
    return found


def test_numbers_of_the_tables_are_nested_and_tidy(intervals, tmp_path):
    out, dice = tmp_path / "metrics.json", tmp_path / "dice.tsv"
    metrics.run(intervals={"table2": intervals, "again": intervals}, metrics=out, dice=dice)
    table = {"ResUNet": {"bcv": 50.25, "avg": 50.25}, "Hermes-R (no text)": {"bcv": 70.0}}
    assert json.loads(out.read_text()) == {"table2": table, "again": table}
    rows = read_tsv(dice)
    assert len(rows) == 6
    assert list(rows[2].values()) == [
        "table2", "Hermes-R (no text)", "bcv", "70.00", "65.00", "72.00",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["model,bcv\nResUNet,50\n", HEAD + "ResUNet,bcv,much,1,2,0,0,0\n"])
def test_what_is_no_intervals_is_refused_by_name(tmp_path, text):
    path = tmp_path / "odd.csv"
    path.write_text(text)
    with pytest.raises(MetricsError, match=r"odd\.csv: not the intervals of a table"):
        metrics.run(intervals={"t": path}, metrics=tmp_path / "m", dice=tmp_path / "d")


def drawn_twice(tmp_path, draw):
    """Draw into two places, whose files must be alike; returns the texts of the SVG."""
    folders = tmp_path / "first", tmp_path / "second"
    for folder in folders:
        draw(svg=folder / "x.svg", png=folder / "x.png")
    first, second = ([(f / name).read_bytes() for name in ("x.svg", "x.png")] for f in folders)
    assert first == second
    assert image.imread(folders[0] / "x.png").std() > 0.05  # something is drawn
    text = first[0].decode()
    assert not re.search(r"20\d\d-\d\d-\d\d", text)  # no date
    return re.findall(r"<!-- (.*) -->", text)  # texts, which are drawn as outlines


def test_curves_of_all_trainings_are_one_figure(runs, tmp_path):
    given = {"runs": list(runs), "metrics": list(runs.values()), "label": LABEL}
    texts = drawn_twice(tmp_path, lambda **files: training_curves.run(**given, **files))
    assert {"net-a", "net-b", LABEL, "validation loss"} <= set(texts)
    assert {"3 epochs, lr 0.01", "5 epochs, lr 0.01"} <= set(texts)


def test_validation_is_not_in_the_legend_where_nobody_validated(runs, tmp_path):
    given = {"runs": ["net-a"], "metrics": [runs["net-a"]], "label": LABEL}
    texts = drawn_twice(tmp_path, lambda **files: training_curves.run(**given, **files))
    assert "training loss" in texts and "validation loss" not in texts


def test_a_training_that_went_astray_does_not_flatten_the_others(runs, tmp_path):
    write_metrics(tmp_path / "astray.tsv", history(4, loss=1e4))
    paths = [*runs.values(), tmp_path / "astray.tsv"]
    curves = {str(path): training_curves.read_curve(path) for path in paths}
    assert training_curves.loss_range(curves) == pytest.approx((0, 1.08 * 3 * 2))


def test_a_loss_that_lies_above_the_axis_all_through_is_drawn_in_tenths():
    def curve(*losses):
        return {"loss": np.array(losses), "val_loss": np.full(len(losses), np.nan)}

    assert training_curves.divisor(curve(17.0, 12.0), highest=3.6) == 10
    assert training_curves.divisor(curve(400.0, 120.0), highest=3.6) == 1000
    assert training_curves.divisor(curve(17.0, 1.0), highest=3.6) == 1
    assert training_curves.divisor(curve(np.nan), highest=3.6) == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [("epoch\tstep\n", "no epoch is over"), ("epoch\tloss\n1\t2\n", "no column learning_rate")],
)
def test_a_curve_that_cannot_be_drawn_is_refused_by_name(tmp_path, text, words):
    (tmp_path / "m.tsv").write_text(text)
    with pytest.raises(CurveError, match=rf"m\.tsv: {words}"):
        training_curves.read_curve(tmp_path / "m.tsv")


def test_dice_of_every_model_is_one_figure(intervals, tmp_path):
    given = {"intervals": intervals, "title": "Dice per dataset", "label": LABEL}
    given["columns"] = [["bcv", "BCV"], ["avg", "Average"], ["none", "Absent"]]
    texts = drawn_twice(tmp_path, lambda **files: dice_chart.run(**given, **files))
    assert {"ResUNet", "Hermes-R (no text)", "BCV", "Average", LABEL} <= set(texts)
    assert "Absent" not in texts
    with pytest.raises(MetricsError, match="no cell of none"):
        given["columns"] = [["none", "Absent"]]
        dice_chart.run(**given, svg=tmp_path / "a.svg", png=tmp_path / "a.png")
