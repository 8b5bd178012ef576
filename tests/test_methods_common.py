"""What every comparison method must do: sizes, mixed batches, subsets, training, disk."""

import dataclasses

import pytest
import torch
import torch.nn.functional as F
from autocast import sound_gradients
from method_cases import METHODS, SPEC, ask, batch_of, fresh, paper_spec, sample_of, spec_of

from hermes.models import build_model, grow, load_model, save_model
from hermes.models.build import method_of
from hermes.report.cost import count_macs
from hermes.train.optim import Lamb

# the padded rows of a batch come last; this one mixes all datasets and repeats one
MIXED = (1, 0, 2, 0)
NEAR = {"rtol": 1e-3, "atol": 1e-3}  # float32 sums depend on the batch's size
NEEDS_DATASET = ("multi_decoder", "dodnet", "uniseg")


def count(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("method", "options", "parameters"),
    [
        ("multi_decoder", {}, 225_528_372),
        ("dodnet", {}, 40_674_992),
        ("clip_driven", {"embedding": "file", "path": "absent"}, 40_853_441),
        ("clip_driven", {}, 40_853_441 - 513 * 256 + 71 * 256),
        ("clip_driven", {"embedding": "one_hot"}, 40_853_441 - 512 * 256 + 71 * 256),
        ("multitalent", {}, 40_562_823),
    ],
)
def test_parameters_at_the_papers_size(method, options, parameters):
    with torch.device("meta"):
        assert count(build_model(paper_spec(method, **options))) == parameters


def test_parameters_by_module():
    with torch.device("meta"):
        multi, dodnet, clip, uniseg = (
            build_model(paper_spec(method)) for method in METHODS if method != "multitalent"
        )
    assert count(multi.encoder) == 22_063_968
    assert [count(decoder) for decoder in multi.decoders] == [18_496_512] * 11
    assert count(multi.heads) == 84 * 33
    assert dodnet.controller.out_features == 342
    assert dodnet.controller.in_features == 331
    assert count(dodnet.pre_head) == 64 + 264
    assert count(clip.image_code) == 640 + 320 * 256 + 256
    assert (clip.controller.in_features, clip.controller.out_features) == (512, 153)
    assert count(uniseg) - count(uniseg.heads[1:]) == 41_519_956
    assert uniseg.prompt.shape == (1, 11, 8, 8, 8)
    layers = [module for module in uniseg.fuse.modules() if isinstance(module, torch.nn.Conv3d)]
    shapes = [(layer.in_channels, layer.out_channels) for layer in layers]
    assert shapes == [(331, 82), (82, 82), (82, 11)]
    assert uniseg.heads[0].out_features == 23


def test_multitalent_with_an_output_per_class_of_every_dataset():
    spec = paper_spec("multitalent")
    tasks = {name: tuple(f"{name}/{task}" for task in own) for name, own in spec.datasets.items()}
    apart = dataclasses.replace(spec, tasks=sum(tasks.values(), ()), datasets=tasks)
    with torch.device("meta"):
        assert count(build_model(apart)) == 40_563_252


@pytest.mark.parametrize("method", METHODS)
def test_costs_are_counted_without_computing(method):
    """Heads and prompts come on top of the backbone, and the backbone is most of it."""
    backbone = count_macs(spec_of("traditional"), "ct", 32)
    assert backbone <= count_macs(spec_of(method), "ct", 32) < 1.1 * backbone


@torch.no_grad()
@pytest.mark.parametrize("method", METHODS)
def test_mixed_batches_answer_as_single_samples(method):
    """So padding changes nothing either: the batch is padded to three tasks, samples are not."""
    model, batch = fresh(method).eval(), batch_of(*MIXED)
    together = ask(model, batch).logits
    assert together.shape == (4, 3, 32, 32, 32)
    assert together.isfinite().all()
    for row in range(len(MIXED)):
        alone = ask(model, sample_of(batch, row)).logits[0]
        torch.testing.assert_close(together[row, : len(alone)], alone, **NEAR)


@torch.no_grad()
@pytest.mark.parametrize("method", METHODS)
def test_some_tasks_have_the_answers_that_all_have(method):
    model, batch = fresh(method).eval(), batch_of(0, 1)
    every = ask(model, batch).logits
    some = dataclasses.replace(batch, tasks=torch.tensor([[2, -1, 0], [-1, 0, -1]]))
    logits = ask(model, some).logits
    torch.testing.assert_close(logits[0, [0, 2]], every[0, [2, 0]], **NEAR)
    torch.testing.assert_close(logits[1, 1], every[1, 1], **NEAR)  # the MR dataset's second class
    assert logits.isfinite().all()


@torch.no_grad()
@pytest.mark.parametrize("method", METHODS)
def test_tasks_differ(method):
    """Without this, the tests above could pass because all answers are one."""
    model, batch = fresh(method).eval(), batch_of(0)
    first, second, third = ask(model, batch).logits[0]
    assert (first - second).abs().mean() > 1e-3
    assert (second - third).abs().mean() > 1e-3


@pytest.mark.parametrize(
    ("method", "loss"), [*((method, method) for method in METHODS), ("uniseg", "traditional")]
)
def test_training_lowers_the_loss(method, loss):
    """By the method's own loss; UniSeg, whose own reads no sigmoid, by the common one too."""
    datasets = (0, 0, 3, 3) if method == "multi_decoder" else (0, 3)  # torch is slow at one image
    model, batch = build_model(spec_of(method)), batch_of(*datasets)
    entry = method_of(spec_of(loss))
    optimizer = Lamb(model.parameters(), lr=0.04)
    losses = []
    for _ in range(4):
        total = sum(entry.loss(ask(model.train(), batch), batch))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        losses.append(total.item())
    assert losses[-1] < 0.95 * losses[0], losses


@pytest.mark.parametrize("method", METHODS)
def test_loss_is_that_of_the_real_tasks(method):
    """Neither padding nor a sample's place in the batch changes the loss, in evaluation mode."""
    model, batch = fresh(method).eval(), batch_of(2, 0)
    swapped = type(batch)(**{name: value.flip(0) for name, value in vars(batch).items()})
    wider = dataclasses.replace(
        batch, tasks=F.pad(batch.tasks, (0, 2), value=-1), values=F.pad(batch.values, (0, 2))
    )
    loss = method_of(spec_of(method)).loss
    expected = loss(ask(model, batch), batch)
    for other in (swapped, wider):
        torch.testing.assert_close(loss(ask(model, other), other), expected, **NEAR)


@pytest.mark.parametrize("method", METHODS)
def test_bfloat16_autocast_is_near_float32(method):
    model, batch = fresh(method), batch_of(0, 2)
    with torch.autocast("cpu", torch.bfloat16):
        output = ask(model, batch)
    assert output.logits.dtype == torch.bfloat16
    expected = ask(model, batch).logits
    real = batch.values > 0
    nearness = F.cosine_similarity(
        output.logits[real].flatten().float(), expected[real].flatten(), 0
    )
    assert nearness > 0.95
    sum(method_of(spec_of(method)).loss(output, batch)).backward()
    assert sum(parameter.grad is not None for parameter in model.parameters()) > 40
    gradients = sound_gradients(model)
    assert all(gradient.isfinite().all() for gradient in gradients)
    assert gradients


@torch.no_grad()
@pytest.mark.parametrize("method", METHODS)
def test_saved_model_answers_the_same(method, tmp_path):
    model, batch = fresh(method).eval(), batch_of(0, 1)
    save_model(tmp_path, model, spec_of(method), {})
    loaded, spec, _ = load_model(tmp_path)
    assert spec == spec_of(method)
    assert torch.equal(ask(loaded, batch).logits, ask(model, batch).logits)


@pytest.mark.parametrize("method", ["dodnet", "clip_driven", "uniseg"])
def test_methods_that_cannot_grow_refuse(method):
    with pytest.raises(ValueError, match=f"{method} cannot take up new tasks"):
        grow(fresh(method), spec_of(method), ["new/tumour"])


@torch.no_grad()
@pytest.mark.parametrize("method", ["multi_decoder", "multitalent"])
def test_grown_model_keeps_its_answers(method):
    old, spec, batch = fresh(method).eval(), spec_of(method), batch_of(0, 3)
    new, grown = grow(old, spec, ["new/tumour"], datasets={"new": ["new/tumour"]})
    assert torch.equal(ask(new.eval(), batch).logits, ask(old, batch).logits)
    added = dataclasses.replace(batch, tasks=torch.tensor([[6], [6]]), dataset=torch.tensor([4, 4]))
    assert ask(new, added).logits.isfinite().all()
    assert list(grown.datasets) == [*SPEC.datasets, "new"]


@pytest.mark.parametrize("method", NEEDS_DATASET)
def test_tasks_of_another_dataset_are_refused(method):
    model, batch = fresh(method), batch_of(0, 2)
    foreign = dataclasses.replace(batch, dataset=torch.tensor([0, 3]))
    with pytest.raises(ValueError, match=r"'heart/heart' is not one of dataset 'x'.*once per"):
        ask(model, foreign)
    for index in (-1, 4):
        unknown = dataclasses.replace(batch, dataset=torch.tensor([0, index]))
        with pytest.raises(ValueError, match=rf"dataset {index}: known are 0\.\.3"):
            ask(model, unknown)


@pytest.mark.parametrize("method", METHODS)
def test_sizes_that_cannot_be_halved_four_times_are_refused(method):
    batch = batch_of(0)
    with pytest.raises(ValueError, match="multiple of 16 and at least 32"):
        ask(fresh(method), dataclasses.replace(batch, image=batch.image[..., :24]))


@pytest.mark.parametrize("method", NEEDS_DATASET)
def test_a_network_needs_datasets(method):
    with pytest.raises(ValueError, match="there must be one"):
        build_model(dataclasses.replace(spec_of(method), datasets={}))


@pytest.mark.parametrize(("method", "known"), [("clip_driven", "path"), ("uniseg", "prompt_size")])
def test_unknown_options_are_refused(method, known):
    with pytest.raises(ValueError, match=rf"unknown options \['typo'\].*{known}"):
        build_model(spec_of(method, typo=1))
