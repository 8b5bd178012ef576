"""MedFormer and Hermes-M as networks: parameter counts, padding, sizes, learning, growth."""

import copy
import dataclasses

import pytest
import torch
import torch.nn.functional as F
from autocast import sound_gradients
from torch import nn

from hermes.losses import segmentation_loss
from hermes.models import ModelSpec, build_model, grow, load_model, save_model
from hermes.models.hermes_m import HermesM
from hermes.models.medformer import MedFormer
from hermes.report.cost import count_macs

SPEC = ModelSpec(
    method="hermes",
    backbone="medformer",
    base_channels=4,
    tasks=("a/liver", "a/spleen", "b/heart", "b/aorta"),
    datasets={"a": ("a/liver", "a/spleen"), "b": ("b/heart", "b/aorta")},
    modalities=("ct", "pet", "unknown"),
    prior_length=3,
    options={"attention_blocks": [1, 2, 1, 1, 2], "heads": [2, 1, 4, 2, 2], "map_tokens": 5},
)


def with_options(method="hermes", **options):
    return dataclasses.replace(SPEC, method=method, options=SPEC.options | options)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def ask(model, tasks, modality=0, size=(32, 32, 32)):
    """The model's output for the same random image in every row of `tasks`."""
    torch.manual_seed(0)
    tasks = torch.tensor(tasks)
    image = torch.randn(1, 1, *size, dtype=next(model.parameters()).dtype)
    unused = torch.zeros(len(tasks), dtype=torch.int64)
    image = image.repeat(len(tasks), 1, 1, 1, 1)
    return model(image, tasks, unused, torch.full((len(tasks),), modality))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build_model(SPEC).eval()


@pytest.fixture(scope="module")
def paper_model():
    """The paper's Hermes-M as it counts it; on the meta device, since only shapes matter."""
    with torch.device("meta"):
        backbone = MedFormer(32, token_norm=nn.LayerNorm)
        return HermesM(backbone, tasks=42, modalities=2, modality_head=False, auxiliary=False)


def test_medformer_parameters_with_three_classes():
    spec = dataclasses.replace(
        SPEC, method="traditional", base_channels=32, tasks=SPEC.tasks[:3], datasets={}, options={}
    )
    with torch.device("meta"):
        assert count(build_model(spec)) == 43_198_211


def test_hermes_m_parameters(paper_model):
    assert count(paper_model) == 44_499_776


def test_hermes_m_parameters_with_eleven_datasets():
    with torch.device("meta"):
        network = HermesM(MedFormer(32, token_norm=nn.LayerNorm), tasks=73, modalities=6)
    assert count(network) == 47_129_990


@pytest.mark.parametrize(
    ("modules", "parameters"),
    [
        (("backbone.stem",), 56_160),
        (("backbone.down1",), 465_664),
        (("backbone.down2", "priors.0"), 1_515_008),
        (("backbone.down3", "priors.1"), 8_457_728),
        (("backbone.down4", "priors.2"), 22_503_296),
        (("backbone.map_fusion",), 1_683_840),
        (("backbone.up1", "priors.3"), 6_423_488),
        (("backbone.up2", "priors.4"), 926_464),
        (("backbone.up3",), 995_328),
        (("backbone.up4",), 248_832),
        (("readout",), 1_223_968),
    ],
)
def test_hermes_m_parameters_by_module(paper_model, modules, parameters):
    assert sum(count(paper_model.get_submodule(name)) for name in modules) == parameters


@pytest.mark.parametrize(
    ("method", "tasks", "gmac"), [("traditional", 3, 1127.8), ("hermes", 14, 1129.8)]
)
def test_arithmetic_is_near_the_published(method, tasks, gmac):
    """Two fused attentions make the logits twice: 0.2 % more in Hermes-M."""
    names = tuple(f"a/{row}" for row in range(tasks))
    spec = dataclasses.replace(
        SPEC, method=method, base_channels=32, tasks=names, datasets={"a": names}, options={}
    )
    assert count_macs(spec, "a") / 1e9 == pytest.approx(gmac, rel=2e-3)


@torch.no_grad()
def test_padded_tasks_change_nothing_for_real_ones(model):
    model = copy.deepcopy(model).double().train()  # for the auxiliary logits too
    plain = ask(model, [[2, 0]])
    padded = ask(model, [[2, 0, -1, -1], [1, 3, 0, 2]])
    torch.testing.assert_close(padded.logits[:1, :2], plain.logits)
    torch.testing.assert_close(padded.auxiliary[:1, :2], plain.auxiliary)
    torch.testing.assert_close(padded.modality_logits[:1], plain.modality_logits)
    assert padded.logits.isfinite().all()


@torch.no_grad()
def test_companion_tasks_and_modality_do_change_the_answer(model):
    """Without this, the test above could pass because tasks never meet."""
    alone, together, unknown, last = (
        ask(model, tasks, modality).logits[0, 0]
        for tasks, modality in (([[2]], 0), ([[2, 0]], 0), ([[2]], -1), ([[2]], 2))
    )
    assert (alone - together).abs().max() > 1e-4
    assert (alone - unknown).abs().max() > 1e-4
    assert torch.equal(unknown, last)


@torch.no_grad()
@pytest.mark.parametrize("size", [(32, 32, 32), (32, 48, 64)])
@pytest.mark.parametrize("method", ["traditional", "hermes"])
def test_any_size_that_can_be_halved_four_times(method, size):
    network = build_model(with_options(method))
    assert ask(network, [[0, 3]], size=size).logits.shape == (1, 2, *size)
    with pytest.raises(ValueError, match="multiple of 16 and at least 32"):
        ask(network, [[0]], size=(32, 40, 32))


def test_auxiliary_logits_are_for_training_alone(model):
    assert ask(model, [[0]]).auxiliary is None
    output = ask(build_model(SPEC), [[0, 3]])
    assert output.auxiliary.shape == output.logits.shape
    for method, options, wanted in (
        ("traditional", {}, False),
        ("traditional", {"auxiliary": True}, True),
    ):
        network = build_model(with_options(method, **options))
        assert (ask(network, [[0, 3]]).auxiliary is not None) == wanted
        assert ask(network.eval(), [[0, 3]]).auxiliary is None


@pytest.mark.parametrize("method", ["traditional", "hermes"])
def test_no_parameter_is_idle(method):
    network = build_model(with_options(method))
    output = ask(network, [[0, 1, 2, 3]])
    answers = [output.logits, output.auxiliary, output.modality_logits]
    sum(each.square().mean() for each in answers if each is not None).backward()
    idle = [name for name, each in network.named_parameters() if each.grad is None]
    assert idle == []


def test_a_few_steps_lower_the_loss():
    torch.manual_seed(8)
    network = build_model(SPEC)
    label = torch.zeros(1, 32, 32, 32, dtype=torch.uint8)
    label[:, 8:24, 8:24, 8:24] = 1
    image = label[:, None] + 0.1 * torch.randn(1, 1, 32, 32, 32)
    zero = torch.zeros(1, dtype=torch.int64)
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(6):
        optimiser.zero_grad()
        output = network(image, torch.tensor([[0]]), zero, zero)
        values = torch.tensor([[1]])
        main = segmentation_loss(output.logits, label, values)
        auxiliary = segmentation_loss(output.auxiliary, label, values)
        (sum(main) + sum(auxiliary)).div(2).backward()
        optimiser.step()
        losses.append(sum(main).item())
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize("method", ["traditional", "hermes"])
def test_bfloat16_autocast_is_near_float32(method):
    torch.manual_seed(0)
    network = build_model(with_options(method))
    with torch.autocast("cpu", torch.bfloat16):
        output = ask(network, [[1, 2]])
    output.logits.float().square().mean().backward()
    expected = ask(network, [[1, 2]]).logits
    assert output.logits.dtype == torch.bfloat16
    assert F.cosine_similarity(output.logits.flatten().float(), expected.flatten(), 0) > 0.95
    assert sum(parameter.grad is not None for parameter in network.parameters()) > 40
    gradients = sound_gradients(network)
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert gradients


@torch.no_grad()
@pytest.mark.parametrize("method", ["traditional", "hermes"])
def test_grown_model_keeps_its_answers(method):
    torch.manual_seed(0)
    spec = with_options(method)
    old = build_model(spec).eval()
    new, grown = grow(old, spec, ["c/tumour"], ["mr"], {"c": ["c/tumour", "a/liver"]})
    new.eval()
    for modality in (1, -1):
        before, after = ask(old, [[0, 3]], modality), ask(new, [[0, 3]], modality)
        assert torch.equal(before.logits, after.logits)
        if method == "hermes":
            kept = after.modality_logits[:, [0, 1, 3]]
            torch.testing.assert_close(kept, before.modality_logits)
    assert grown.options == spec.options
    assert ask(new, [[4]]).logits.isfinite().all()


@torch.no_grad()
def test_saved_model_answers_the_same(model, tmp_path):
    save_model(tmp_path, model, SPEC, {})
    loaded, spec, _ = load_model(tmp_path)
    assert spec == SPEC
    assert torch.equal(ask(loaded, [[1, 3]]).logits, ask(model, [[1, 3]]).logits)


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("hermes", {"head": [1] * 5}, r"unknown options \['head'\]: known are attention_blocks"),
        ("hermes", {"auxiliary": True}, r"unknown options \['auxiliary'\]"),
        ("traditional", {"heads": [1, 2]}, "five positive numbers each"),
        ("traditional", {"attention_blocks": [1, 1, 0, 1, 1]}, "five positive numbers each"),
        ("hermes", {"heads": [3, 1, 1, 1, 1]}, "3 heads do not divide 16 channels"),
        ("hermes", {"map_tokens": 0}, "map_tokens"),
    ],
)
def test_impossible_options_are_refused(method, options, message):
    with pytest.raises(ValueError, match=message):
        build_model(with_options(method, **options))


def test_heads_have_32_channels_as_far_as_they_divide():
    with torch.device("meta"):
        heads = [
            MedFormer(base).down4.exchange.blocks[0].attention.heads for base in (4, 8, 20, 32)
        ]
    assert heads == [1, 2, 5, 10]
