"""Import of published weights: names, checkpoints, and the published network's own numbers."""

import csv
from pathlib import Path

import pytest
import torch
from parity import parity_file

from hermes.weights.published import NULL_TASK, import_published

DATA = Path(__file__).parent / "data"
SMALL_HEADS = [1, 2, 5, 2, 1]  # of hermes_m_small


def random_weights(table):
    """Random weights under the published names and in the published shapes, 8 base channels."""
    generator = torch.Generator().manual_seed(0)
    with (DATA / table).open() as lines:
        rows = csv.DictReader(lines, delimiter="\t")
        return {
            row["name"]: torch.randn(*map(int, row["shape"].split()), generator=generator)
            for row in rows
        }


@pytest.fixture(scope="module")
def published():
    """A ResUNet-based Hermes."""
    return random_weights("published_parameters.tsv")


@pytest.fixture(scope="module")
def published_m():
    """A MedFormer-based one, smaller than the paper's."""
    return random_weights("published_parameters_m.tsv")


def test_every_published_parameter_has_its_place(published):
    model, spec = import_published(published)
    ours = model.state_dict()
    assert len(ours) == len(published) == 405
    assert (len(spec.tasks), len(spec.modalities), spec.base_channels) == (72, 6, 8)
    assert torch.equal(
        ours["fusions.3.blocks.1.inject.norm_context.weight"],
        published["prior_fuse_5.attn_layers.1.feat_aggregate_block.norm2.weight"],
    )
    assert torch.equal(ours["fusions.2.task_prior"], published["prior_init_fuse_4.task_prior"][:-1])


def test_null_row_is_kept_as_the_last_task(published):
    model, spec = import_published(published, keep_null=True)
    assert spec.tasks[-1] == NULL_TASK
    assert torch.equal(model.fusions[4].task_prior, published["prior_fuse_6.task_prior"])


def test_names_are_taken_in_row_order(published):
    tasks = [f"a/{row}" for row in range(72)]
    kinds = ["ct", "t1", "t2", "cine", "pet", "unknown"]
    _, spec = import_published(published, tasks, kinds, {"set": ["a/3", "a/1"]})
    assert spec.tasks == tuple(tasks)
    assert spec.modalities == tuple(kinds)
    assert spec.datasets == {"set": ("a/3", "a/1")}


def test_wrong_number_of_names_is_refused(published):
    with pytest.raises(ValueError, match="2 names of tasks for 72 rows"):
        import_published(published, ["a/1", "a/2"])


def test_medformer_is_recognised_and_measured(published_m):
    model, spec = import_published(published_m, heads=SMALL_HEADS)
    assert (spec.method, spec.backbone, spec.base_channels) == ("hermes", "medformer", 8)
    assert (len(spec.tasks), len(spec.modalities), spec.prior_length) == (72, 6, 10)
    assert spec.options == {
        "attention_blocks": [1, 1, 2, 1, 1],
        "heads": SMALL_HEADS,
        "map_tokens": 8,
    }
    assert len(model.state_dict()) == len(published_m) == 188
    assert torch.equal(
        model.priors[3].task_prior, published_m["up1.prior_selection.task_prior"][:-1]
    )
    assert torch.equal(
        model.auxiliary_readout[1][2].weight,
        published_m["aux_classifier.classifier_pred.0.fc2.weight"],
    )
    kept, _ = import_published(published_m, keep_null=True, heads=SMALL_HEADS)
    assert torch.equal(kept.priors[0].task_prior, published_m["down2.prior_selection.task_prior"])


def test_published_heads_are_interleaved(published_m):
    """Channel 2 of a head of 16 that is number 3 of 5: 13 as published, 50 here."""
    model, _ = import_published(published_m, heads=SMALL_HEADS)
    attention = model.backbone.down4.exchange.blocks[1].attention
    theirs = {
        name: published_m[f"down4.trans_blocks.blocks.1.attn.{name}.weight"]
        for name in ("feat_qv.pointwise", "map_qv", "feat_out.depthwise", "map_out")
    }
    ours, published = 3 * 16 + 2, 2 * 5 + 3
    for part in (0, 80):  # query, value
        assert torch.equal(
            attention.voxel_input.pointwise.weight[part + ours],
            theirs["feat_qv.pointwise"][part + published].flatten(),
        )
        assert torch.equal(
            attention.token_input.weight[part + ours], theirs["map_qv"][part + published]
        )
    assert torch.equal(
        attention.voxel_output.depthwise.weight[ours], theirs["feat_out.depthwise"][published]
    )
    assert torch.equal(attention.token_output.weight[:, ours], theirs["map_out"][:, published])


def test_heads_that_do_not_fit_are_refused(published_m):
    with pytest.raises(ValueError, match="3 heads do not divide 64 channels"):
        import_published(published_m, heads=[1, 3, 5, 2, 1])
    with pytest.raises(ValueError, match="five positive numbers"):
        import_published(published_m, heads=[1, 2])


@pytest.mark.parametrize("name", ["conv.weight", "map_fusion.in_proj.0.weight"])
def test_other_weights_are_refused(name):
    with pytest.raises(ValueError, match="not the weights of a published Hermes"):
        import_published({name: torch.zeros(1)})


def test_weights_of_which_some_are_missing_are_refused(published_m):
    some = {name: value for name, value in published_m.items() if "mod_out" not in name}
    with pytest.raises(ValueError, match=r"(?s)not the weights .*modality_head\.norm\.weight"):
        import_published(some, heads=SMALL_HEADS)


def test_checkpoint_gives_its_ema_weights(published, tmp_path):
    checkpoint = {
        "epoch": 200,
        "model_state_dict": {name: torch.zeros_like(value) for name, value in published.items()},
        "ema_model_state_dict": {f"module.{name}": value for name, value in published.items()},
        "optimizer_state_dict": {},
    }
    torch.save(checkpoint, tmp_path / "best.pth")
    model, _ = import_published(tmp_path / "best.pth")
    assert torch.equal(model.backbone.encoder.stem[0].weight, published["inc.conv1.weight"])


def test_checkpoint_without_weights_is_named(tmp_path):
    torch.save({"epoch": 3}, tmp_path / "best.pth")
    with pytest.raises(ValueError, match=r"best\.pth has none of ema_model_state_dict"):
        import_published(tmp_path / "best.pth")


class CreatesAFile:
    """Unpickled without care, this opens a file for writing."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("zipped", [True, False])
def test_checkpoint_that_would_run_code_is_refused(tmp_path, zipped):
    harm = tmp_path / "harm"
    checkpoint = {"epoch": 1, "model_state_dict": CreatesAFile(harm)}
    torch.save(checkpoint, tmp_path / "evil.pth", _use_new_zipfile_serialization=zipped)
    with pytest.raises(
        ValueError, match=r"evil\.pth is no checkpoint .*: it holds \S*open; nothing"
    ):
        import_published(tmp_path / "evil.pth")
    assert not harm.exists()
    torch.load(tmp_path / "evil.pth", weights_only=False)  # the trap is armed
    assert harm.exists()


@pytest.mark.parametrize("name", ["part.pth", "part.safetensors"])
@pytest.mark.parametrize("content", [b"", b"neither tensors nor anything else"])
def test_broken_file_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=rf"{name} is no (file of weights|checkpoint)"):
        import_published(tmp_path / name)


def test_half_a_checkpoint_is_named(published, tmp_path):
    torch.save({"model_state_dict": published}, tmp_path / "whole.pth")
    content = (tmp_path / "whole.pth").read_bytes()
    (tmp_path / "half.pth").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"half\.pth is no file of weights, or only a part"):
        import_published(tmp_path / "half.pth")


def test_list_instead_of_a_checkpoint_is_named(tmp_path):
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    with pytest.raises(ValueError, match=r"list\.pth holds a list"):
        import_published(tmp_path / "list.pth")


def published_case(name):
    """A parity file's weights, its tensors, and the tasks with the null row in the padding."""
    data, prefix = parity_file(name), "weights/"
    weights = {key.removeprefix(prefix): data[key] for key in data if key.startswith(prefix)}
    tasks = data["input/tasks"]
    return weights, data, torch.where(tasks < 0, 72, tasks)


@torch.no_grad()
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float64, 1e-4), (torch.float32, 2e-4)])
def test_published_medformer_gives_its_numbers(dtype, atol):
    """Its padding is a row of its own, read by all: the last task, for us.

    The published numbers are float32 ones, of up to 16, and up to 1.2e-4 from the exact ones.
    """
    weights, data, rows = published_case("hermes_m_small.safetensors")
    model, _ = import_published(weights, keep_null=True, heads=SMALL_HEADS)
    model.to(dtype)
    image, modality = data["input/image"].to(dtype), data["input/modality"][:, 0]
    unused = torch.zeros(len(rows), dtype=torch.int64)
    output = model(image, rows, unused, modality)
    trained = model.train()(image, rows, unused, modality)
    for found, name in (
        (output.logits, "logits"),
        (output.modality_logits, "modality_logits"),
        (trained.logits, "logits"),
        (trained.auxiliary, "auxiliary_logits"),
    ):
        torch.testing.assert_close(found.float(), data[f"output/{name}"], rtol=1e-4, atol=atol)


@torch.no_grad()
def test_published_network_gives_its_numbers():
    """Its padding is a row of its own, read by all: the last task, for us."""
    weights, data, rows = published_case("hermes_r_base8.safetensors")
    model, _ = import_published(weights, keep_null=True)
    tasks = data["input/tasks"]
    unused = torch.zeros(len(tasks), dtype=torch.int64)
    output = model(data["input/image"], rows, unused, data["input/modality"][:, 0])
    expected = data["output/logits"]
    torch.testing.assert_close(
        output.logits[tasks >= 0], expected[tasks >= 0], rtol=1e-4, atol=1e-4
    )
    # the null row's own logits are wanted by nobody
    torch.testing.assert_close(output.logits, expected, rtol=1e-4, atol=2e-4)
    torch.testing.assert_close(
        output.modality_logits, data["output/modality_logits"], rtol=1e-4, atol=1e-5
    )
