"""The method that docs/add-a-method.md writes down is one: it is run as it stands there."""

import re

import pytest
import torch
from method_cases import ROOT, ask, batch_of, sample_of, spec_of

from hermes.models import build_model, load_model, methods, save_model
from hermes.models.build import method_of
from hermes.models.interface import Method
from hermes.models.resunet import ResUNet
from hermes.train.optim import Lamb

NEAR = {"rtol": 1e-3, "atol": 1e-3}


@pytest.fixture
def documented(monkeypatch):
    """The specification of the documented method, which is in the list for the test's time."""
    text = (ROOT / "docs" / "add-a-method.md").read_text()
    module, entry = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    names = {"Method": Method, "ResUNet": ResUNet}
    exec(compile(module, "add-a-method.md", "exec"), names)
    for name, method in eval("{" + entry + "}", names).items():
        monkeypatch.setitem(methods.METHODS, name, method)
    assert f"method: {name}," in text
    return spec_of(name)


def test_it_trains(documented):
    model, batch = build_model(documented), batch_of(0, 3)
    optimizer = Lamb(model.parameters(), lr=0.04)
    losses = []
    for _ in range(4):
        total = sum(method_of(documented).loss(ask(model, batch), batch))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        losses.append(total.item())
    assert losses[-1] < 0.95 * losses[0], losses


@torch.no_grad()
def test_mixed_batches_datasets_and_disk(documented, tmp_path):
    model, batch = build_model(documented).eval(), batch_of(0, 2)
    together = ask(model, batch).logits
    for row in range(2):
        alone = ask(model, sample_of(batch, row)).logits[0]
        torch.testing.assert_close(together[row, : len(alone)], alone, **NEAR)
    batch.dataset = batch.dataset.flip(0)
    assert (ask(model, batch).logits - together).abs().max() > 1e-3
    save_model(tmp_path, model, documented, {})
    loaded, _, _ = load_model(tmp_path)
    assert torch.equal(ask(loaded, batch).logits, ask(model, batch).logits)
