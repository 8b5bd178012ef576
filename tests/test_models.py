"""Networks: parameter counts, the fusion equations, padding, precision, growth, disk."""

import copy
import dataclasses

import pytest
import torch
import torch.nn.functional as F
from autocast import sound_gradients

from hermes.models import ModelSpec, build_model, grow, load_model, save_model
from hermes.models.fusion import FusionBlock
from hermes.models.hermes import Hermes
from hermes.models.norm import norm_relu
from hermes.models.resunet import ResUNet

SPEC = ModelSpec(
    method="hermes",
    backbone="resunet",
    base_channels=4,
    tasks=("a/liver", "a/spleen", "b/heart", "b/aorta"),
    datasets={"a": ("a/liver", "a/spleen"), "b": ("b/heart", "b/aorta")},
    modalities=("ct", "pet", "unknown"),
    prior_length=3,
)


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def ask(model, tasks, modality=0, size=32):
    """The model's output for the same random image in every row of `tasks`."""
    torch.manual_seed(0)
    tasks = torch.tensor(tasks)
    image = torch.randn(1, 1, size, size, size, dtype=next(model.parameters()).dtype)
    image = image.repeat(len(tasks), 1, 1, 1, 1)
    unused = torch.zeros(len(tasks), dtype=torch.int64)
    return model(image, tasks, unused, torch.full((len(tasks),), modality))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return build_model(SPEC).eval()


@pytest.fixture(scope="module")
def paper_model():
    """The paper's Hermes-R as it counts it; on the meta device, since only shapes matter."""
    with torch.device("meta"):
        return Hermes(ResUNet(32), tasks=42, modalities=2, modality_head=False)


def test_resunet_parameters():
    with torch.device("meta"):
        backbone = ResUNet(32)
    assert count(backbone) == 40_560_480
    assert count(backbone.encoder) == 22_063_968
    assert count(backbone.decoder) == 18_496_512


def test_traditional_head_has_33_parameters_per_output():
    with torch.device("meta"):
        traditional = build_model(dataclasses.replace(SPEC, method="traditional", base_channels=32))
    assert count(traditional) == 40_560_480 + 33 * len(SPEC.tasks)


@pytest.mark.parametrize(
    ("module", "parameters"),
    {
        "": 59_614_208,
        "backbone.encoder.stem": 56_160,
        "backbone.encoder.down1": 442_368,
        "backbone.encoder.down2": 1_769_472,
        "backbone.encoder.down3": 7_077_888,
        "backbone.encoder.down4": 12_718_080,
        "fusions.0": 800_512,
        "fusions.1": 3_173_888,
        "fusions.2": 9_880_960,
        "fusions.3": 3_173_888,
        "fusions.4": 800_512,
        "backbone.decoder.up1": 13_271_040,
        "backbone.decoder.up2": 3_981_312,
        "backbone.decoder.up3": 995_328,
        "backbone.decoder.up4": 248_832,
        "readout": 1_223_968,
    }.items(),
)
def test_hermes_parameters_by_module(paper_model, module, parameters):
    assert count(paper_model.get_submodule(module)) == parameters


def test_hermes_parameters_with_eleven_datasets():
    with torch.device("meta"):
        assert count(Hermes(ResUNet(32), tasks=73, modalities=6)) == 60_884_998


def attention(module, queries, context, real=None):
    """MHA of the supplement's equation 1, head by head, with the norms of equations 2 and 3."""
    queries, context = module.norm_query(queries), module.norm_context(context)
    key_weight, value_weight = module.key_value.weight.chunk(2)
    heads = []
    for head in range(module.heads):
        rows = slice(32 * head, 32 * (head + 1))
        q = queries @ module.query.weight[rows].T
        k, v = context @ key_weight[rows].T, context @ value_weight[rows].T
        scores = q @ k.transpose(1, 2) / 32**0.5
        if real is not None:
            scores = scores.masked_fill(~real[:, None], -torch.inf)
        heads.append(scores.softmax(-1) @ v)
    return torch.cat(heads, -1) @ module.output.weight.T + module.output.bias


def feed_forward(module, x):
    x = F.layer_norm(x, x.shape[-1:], module.norm.weight, module.norm.bias, eps=1e-4)
    return module.narrow(F.gelu(module.widen(x)))


@pytest.mark.parametrize("channels", [8, 64, 80])
def test_fusion_block_is_equations_2_and_3(channels):
    torch.manual_seed(1)
    block = FusionBlock(channels)
    for parameter in block.parameters():  # no norm left at its identity
        torch.nn.init.normal_(parameter, std=0.3)
    tokens, voxels = torch.randn(2, 7, channels), torch.randn(2, 27, channels)
    real = torch.tensor([[True] * 7, [True, False, False, True, True, True, True]])
    p = tokens + attention(block.gather, tokens, voxels)
    p = p + feed_forward(block.token_ffn, p)
    x = voxels + attention(block.inject, voxels, p, real)
    x = x + feed_forward(block.voxel_ffn, x)
    posterior, fused = block(tokens, voxels, real)
    torch.testing.assert_close(posterior, p, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(fused, x, rtol=1e-4, atol=1e-4)


def test_heads_are_one_per_32_channels():
    assert [FusionBlock(channels).gather.heads for channels in (16, 32, 80, 320)] == [1, 1, 2, 10]


@torch.no_grad()
def test_padded_tasks_change_nothing_for_real_ones(model):
    model = copy.deepcopy(model).double()  # a float32 sum depends on the batch's size
    plain = ask(model, [[2, 0]])
    padded = ask(model, [[2, 0, -1, -1], [1, 3, 0, 2]])
    torch.testing.assert_close(padded.logits[:1, :2], plain.logits)
    torch.testing.assert_close(padded.modality_logits[:1], plain.modality_logits)
    assert padded.logits.isfinite().all()


@torch.no_grad()
def test_companion_tasks_do_change_the_answer(model):
    """Without this, the test above could pass because tasks never meet."""
    alone, together = ask(model, [[2]]), ask(model, [[2, 0]])
    assert (alone.logits[0, 0] - together.logits[0, 0]).abs().max() > 1e-4


@torch.no_grad()
def test_unknown_modality_is_the_last_row(model):
    unknown, last, first = (ask(model, [[0]], modality).logits for modality in (-1, 2, 0))
    assert torch.equal(unknown, last)
    assert not torch.equal(unknown, first)


def test_only_wanted_tasks_get_a_gradient():
    network = build_model(SPEC)
    ask(network, [[2, -1]]).logits[:, :1].square().sum().backward()
    for fusion in network.fusions:
        touched = fusion.task_prior.grad.abs().sum(1) > 0
        assert touched.tolist() == [False, False, True, False]


@torch.no_grad()
def test_traditional_is_a_1x1_convolution():
    torch.manual_seed(0)
    network = build_model(dataclasses.replace(SPEC, method="traditional")).eval()
    output = ask(network, [[3, 0, -1]])
    torch.manual_seed(0)
    feature = network.backbone(torch.randn(1, 1, 32, 32, 32))
    every = F.conv3d(feature, network.head.weight[:, :, None, None, None], network.head.bias)
    torch.testing.assert_close(output.logits[0, :2], every[0, [3, 0]], rtol=1e-4, atol=1e-4)
    assert output.modality_logits is None
    assert output.logits.isfinite().all()


@pytest.mark.parametrize("size", [16, 40])
def test_sizes_that_cannot_be_halved_four_times_are_refused(model, size):
    with pytest.raises(ValueError, match="multiple of 16 and at least 32"):
        ask(model, [[0]], size=size)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("channels", "size"), [(8, 32), (40, 16), (80, 2)])
def test_norm_relu_and_its_gradient(channels, size, dtype):
    torch.manual_seed(0)
    x = (2 * torch.randn(2, channels, size, size, size) + 3).to(dtype).requires_grad_()
    gradient = torch.randn_like(x)
    exact = x.detach().double().requires_grad_()
    expected = F.relu(F.instance_norm(exact, eps=1e-4))
    y = norm_relu(x)
    (g,) = torch.autograd.grad(y, x, gradient)
    (g_expected,) = torch.autograd.grad(expected, exact, gradient.double())
    tolerance = 1e-5 if dtype == torch.float32 else 1e-2
    torch.testing.assert_close(y.double(), expected, rtol=tolerance, atol=tolerance)
    # the few voxels that rounding moves across the ReLU's kink are exempt
    wrong = (g.double() - g_expected).abs() > tolerance * (1 + g_expected.abs())
    assert wrong.double().mean() < 1e-3


@pytest.mark.parametrize("method", ["traditional", "hermes"])
def test_bfloat16_autocast_is_near_float32(method):
    torch.manual_seed(0)
    network = build_model(dataclasses.replace(SPEC, method=method))
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


@pytest.mark.parametrize(
    ("field", "typo", "near"), [("method", "hermess", "hermes"), ("backbone", "resnet", "resunet")]
)
def test_unknown_names_are_refused_with_the_nearest(field, typo, near):
    with pytest.raises(ValueError, match=f"unknown {field} '{typo}': did you mean '{near}'"):
        build_model(dataclasses.replace(SPEC, **{field: typo}))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tasks": ()}, "at least one"),
        ({"datasets": {"a": ("a/kidney",)}}, "a/kidney"),
        ({"modalities": ("ct",)}, "unknown"),
    ],
)
def test_impossible_specifications_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(SPEC, **change)


def test_specification_survives_json():
    assert ModelSpec.from_json(SPEC.to_json()) == SPEC


@torch.no_grad()
def test_saved_model_answers_the_same(model, tmp_path):
    save_model(tmp_path, model, SPEC, {"spacing_mm": [1.5, 1.5, 1.5]})
    loaded, spec, extra = load_model(tmp_path)
    assert (spec, extra) == (SPEC, {"spacing_mm": [1.5, 1.5, 1.5]})
    assert torch.equal(ask(loaded, [[1, 3]]).logits, ask(model, [[1, 3]]).logits)
    assert {path.name for path in tmp_path.iterdir()} == {"model.json", "model.safetensors"}


def test_missing_and_broken_models_are_named(model, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"model\.json is missing"):
        load_model(tmp_path)
    save_model(tmp_path, model, SPEC, {})
    (tmp_path / "model.safetensors").write_bytes(b"half")
    with pytest.raises(ValueError, match="no model that can be read"):
        load_model(tmp_path)


@torch.no_grad()
@pytest.mark.parametrize("method", ["traditional", "hermes"])
def test_grown_model_keeps_its_answers(method):
    torch.manual_seed(0)
    spec = dataclasses.replace(SPEC, method=method)
    old = build_model(spec).eval()
    new, grown = grow(old, spec, ["c/tumour"], ["mr"], {"c": ["c/tumour", "a/liver"]})
    assert grown.tasks[-1] == "c/tumour"
    assert grown.modalities == ("ct", "pet", "mr", "unknown")
    for modality in (1, -1):
        before, after = ask(old, [[0, 3]], modality), ask(new.eval(), [[0, 3]], modality)
        assert torch.equal(before.logits, after.logits)
        if method == "hermes":
            kept = after.modality_logits[:, [0, 1, 3]]
            torch.testing.assert_close(kept, before.modality_logits)
    assert ask(new, [[4]]).logits.isfinite().all()
