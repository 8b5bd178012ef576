"""DoDNet and the CLIP-driven model: heads against loops, embeddings and their files."""

import json

import pytest
import torch
import torch.nn.functional as F
from method_cases import SPEC, ask, batch_of, fresh, spec_of
from safetensors.torch import save_file

from hermes.losses import bce_dice_loss
from hermes.models import ModelOutput, build_model, load_model, save_model
from hermes.models.build import label_of, method_of
from hermes.models.dynamic_head import GroupNormReLU, split_parameters


def pooled(norm, bottleneck):
    """GN -> ReLU -> global average pool of one sample's bottleneck (1, c, d, h, w)."""
    x = F.group_norm(bottleneck, norm.num_groups, norm.weight, norm.bias)
    return x.relu().mean((2, 3, 4))[0]


def head_input(model, features):
    """GN -> ReLU -> 1x1 convolution of one sample's full-resolution feature."""
    norm, conv = model.pre_head
    x = F.group_norm(features, norm.num_groups, norm.weight, norm.bias).relu()
    return F.conv3d(x, conv.weight, conv.bias)


def head(x, numbers, outputs):
    """Three 1x1 convolutions whose numbers lie weights first, then biases."""
    shapes = [(8, 8), (8, 8), (outputs, 8)]
    start = 0
    weights, biases = [], []
    for shape in shapes:
        end = start + shape[0] * shape[1]
        weights.append(numbers[start:end].reshape(*shape, 1, 1, 1))
        start = end
    for shape in shapes:
        biases.append(numbers[start : start + shape[0]])
        start += shape[0]
    assert start == len(numbers)
    x = F.conv3d(x, weights[0], biases[0]).relu()
    x = F.conv3d(x, weights[1], biases[1]).relu()
    return F.conv3d(x, weights[2], biases[2])


@torch.no_grad()
def test_dodnet_is_a_loop_over_samples():
    model, batch = fresh("dodnet").eval(), batch_of(0, 1, 3)
    logits = ask(model, batch).logits
    for row, dataset in enumerate((0, 1, 3)):
        features = model.backbone.encoder(batch.image[row : row + 1])
        code = torch.eye(4)[dataset]
        condition = torch.cat([pooled(model.pool.norm, features[-1]), code])
        numbers = model.controller.weight @ condition + model.controller.bias
        assert len(numbers) == 2 * (64 + 8) + 8 * 3 + 3
        expected = head(head_input(model, model.backbone.decoder(features)), numbers, 3)[0]
        own = len(list(SPEC.datasets.values())[dataset])
        torch.testing.assert_close(logits[row, :own], expected[:own], rtol=1e-3, atol=1e-3)


@torch.no_grad()
@pytest.mark.parametrize("embedding", ["learnable", "one_hot"])
def test_clip_driven_is_a_loop_over_samples_and_classes(embedding):
    model, batch = fresh("clip_driven", embedding=embedding).eval(), batch_of(3, 0)
    logits = ask(model, batch).logits
    pool, to_code = model.image_code
    for row, column in ((0, 0), (0, 1), (1, 2)):
        task = int(batch.tasks[row, column])
        features = model.backbone.encoder(batch.image[row : row + 1])
        image = to_code.weight @ pooled(pool.norm, features[-1]) + to_code.bias
        if embedding == "learnable":
            code = model.embedding.codes[task]
        else:
            linear = model.embedding.to_code
            code = (linear.weight @ torch.eye(6)[task] + linear.bias).relu()
        numbers = model.controller.weight @ torch.cat([image, code]) + model.controller.bias
        assert len(numbers) == 153
        expected = head(head_input(model, model.backbone.decoder(features)), numbers, 1)[0, 0]
        torch.testing.assert_close(logits[row, column], expected, rtol=1e-3, atol=1e-3)
    assert not logits[0, 2].any()  # padded: no head was made for it


def test_clip_driven_trains_the_labelled_classes_only():
    model, batch = fresh("clip_driven"), batch_of(3)
    sum(bce_dice_loss(ask(model, batch), batch)).backward()
    touched = model.embedding.codes.grad.abs().sum(1) > 0
    assert touched.tolist() == [False, False, False, False, True, True]


def test_weights_come_first_then_biases():
    layers = split_parameters(torch.arange(17.0), (2, 3, 2))  # 3x2, 2x3 weights, 3 and 2 biases
    weights, biases = zip(*layers, strict=True)
    assert [weight.shape for weight in weights] == [(3, 2), (2, 3)]
    numbers = torch.cat([part.flatten() for part in (*weights, *biases)])
    assert numbers.tolist() == list(range(17))
    with pytest.raises(RuntimeError, match="sum exactly"):
        split_parameters(torch.zeros(154), (8, 8, 8, 1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(("channels", "groups"), [(32, 16), (320, 16), (40, 8), (4, 4)])
def test_group_norm_relu_and_its_gradient(channels, groups, dtype):
    norm = GroupNormReLU(channels)
    torch.manual_seed(0)
    x = (2 * torch.randn(2, channels, 4, 4, 4) + 1).to(dtype)
    x = x.contiguous(memory_format=torch.channels_last_3d).requires_grad_()
    exact = x.detach().double().contiguous().requires_grad_()
    expected = F.group_norm(exact, groups).relu()
    y = norm(x)
    assert y.dtype == dtype
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    torch.testing.assert_close(y.double(), expected, rtol=tolerance, atol=tolerance)
    upstream = torch.randn_like(x)
    (gradient,) = torch.autograd.grad(y, x, upstream)
    (wanted,) = torch.autograd.grad(expected, exact, upstream.double())
    wrong = (gradient.double() - wanted).abs() > tolerance * (1 + wanted.abs())
    assert wrong.double().mean() < 2e-3  # the few voxels that rounding moves across the kink


def test_bce_dice_is_the_published_formula():
    torch.manual_seed(0)
    batch = batch_of(0, 2)
    logits = torch.randn(2, 3, 32, 32, 32, dtype=torch.float64, requires_grad=True)
    loss = bce_dice_loss(ModelOutput(logits), batch)
    real = batch.values > 0
    masks = (batch.label[:, None] == batch.values[..., None, None, None])[real].double()
    p = logits[real].sigmoid()
    dice = 1 - 2 * (p * masks).sum((1, 2, 3)) / (p.sum((1, 2, 3)) + masks.sum((1, 2, 3)) + 1)
    bce = F.binary_cross_entropy_with_logits(logits[real], masks)
    torch.testing.assert_close(loss.overlap.double(), dice.mean(), rtol=1e-6, atol=0)
    torch.testing.assert_close(loss.cross_entropy.double(), bce, rtol=1e-6, atol=0)
    (gradient,) = torch.autograd.grad(sum(loss), logits)
    (expected,) = torch.autograd.grad(dice.mean() + bce, logits)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-12)
    assert not gradient[1, 1:].any()  # padded


def write(path, names, shape=None, **metadata):
    torch.manual_seed(0)
    embeddings = torch.randn(shape or (len(names), 512))
    save_file({"embeddings": embeddings}, path, {"tasks": json.dumps(names)} | metadata)
    return embeddings


@torch.no_grad()
def test_text_embeddings_are_found_by_name_and_kept_in_the_model(tmp_path):
    path = tmp_path / "clip.safetensors"
    names = [*reversed(SPEC.tasks), "other/liver"]  # another order, and one more
    embeddings = write(path, names)
    options = {"embedding": "file", "path": str(path)}
    model = fresh("clip_driven", **options).eval()
    rows = [names.index(task) for task in SPEC.tasks]
    assert torch.equal(model.embedding.vectors, embeddings[rows])
    save_model(tmp_path, model, spec_of("clip_driven", **options), {})
    path.unlink()
    loaded, _, _ = load_model(tmp_path)
    batch = batch_of(0)
    assert torch.equal(ask(loaded, batch).logits, ask(model, batch).logits)
    with pytest.raises(ValueError, match=r"no such file.*hermes\.weights\.clip_embeddings"):
        ask(build_model(spec_of("clip_driven", **options)), batch)


@pytest.mark.parametrize(
    ("names", "shape", "message"),
    [
        (["abdomen/livr", *SPEC.tasks[1:]], None, r"lacks \['abdomen/liver'\].*\['abdomen/livr'\]"),
        (SPEC.tasks, (6, 768), r"6 names, embeddings \(6, 768\)"),
        (SPEC.tasks, (5, 512), r"6 names, embeddings \(5, 512\)"),
        ([*SPEC.tasks, SPEC.tasks[0]], None, "7 names"),
    ],
)
def test_wrong_embeddings_are_named(names, shape, message, tmp_path):
    path = tmp_path / "clip.safetensors"
    write(path, list(names), shape)
    model = build_model(spec_of("clip_driven", embedding="file", path=str(path)))
    with pytest.raises(ValueError, match=f"{path}: {message}"):
        ask(model, batch_of(0))


@pytest.mark.parametrize("content", [b"none", None])
def test_files_without_embeddings_are_named(content, tmp_path):
    path = tmp_path / "clip.safetensors"
    save_file({"other": torch.zeros(1)}, path)
    if content:
        path.write_bytes(content)
    model = build_model(spec_of("clip_driven", embedding="file", path=str(path)))
    with pytest.raises(ValueError, match="holds no text embeddings"):
        ask(model, batch_of(0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"embedding": "text"}, "known are learnable, one_hot, file"),
        ({"embedding": "file"}, "go together"),
        ({"path": "x"}, "go together"),
    ],
)
def test_wrong_embedding_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        build_model(spec_of("clip_driven", **options))


def test_tables_say_whether_text_was_used():
    titles = {
        label_of(method_of(spec).title, spec)
        for spec in (
            spec_of("clip_driven"),
            spec_of("clip_driven", embedding="one_hot"),
            spec_of("clip_driven", embedding="file", path="x"),
            spec_of("dodnet"),
        )
    }
    assert titles == {"CLIP-driven (no text)", "CLIP-driven", "DoDNet"}
