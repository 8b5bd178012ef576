"""MedFormer's parts against plain operations: equation 4, the folded MBConv, depthwise kernels."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from hermes.models.attention import AttentionBlock, BidirectionalAttention, TokenInstanceNorm
from hermes.models.depthwise import Merge, depthwise
from hermes.models.mbconv import MBConv, moments
from hermes.models.semantic_map import SemanticMap


def separable(module, x):
    """Depthwise 3^3, then 1^3 convolution."""
    hidden = F.conv3d(x, module.depthwise.weight, padding=1, groups=x.shape[1])
    return F.conv3d(hidden, module.pointwise.weight[:, :, None, None, None])


def equation_4(module, feature, tokens, real=None):
    """Equation 4, head by head: one matrix of logits, softmax over tokens and over voxels."""
    q, v = separable(module.voxel_input, F.instance_norm(feature, eps=1e-5)).flatten(2).chunk(2, 1)
    token_q, token_v = (tokens @ module.token_input.weight.T).chunk(2, -1)
    dim = token_q.shape[-1] // module.heads
    voxels, gathered = [], []
    for head in range(module.heads):
        rows = slice(dim * head, dim * (head + 1))
        logits = q[:, rows].transpose(1, 2) @ token_q[..., rows].transpose(1, 2) / dim**0.5  # b n t
        read = logits if real is None else logits.masked_fill(~real[:, None], -torch.inf)
        voxels.append(read.softmax(2) @ token_v[..., rows])
        gathered.append(logits.transpose(1, 2).softmax(2) @ v[:, rows].transpose(1, 2))
    update = torch.cat(voxels, -1).transpose(1, 2).unflatten(2, feature.shape[2:])
    update = separable(module.voxel_output, update)
    if module.token_output is None:
        return update, torch.stack(gathered, -1).flatten(2)
    return update, torch.cat(gathered, -1) @ module.token_output.weight.T


@pytest.mark.parametrize("output", [True, False])
@pytest.mark.parametrize(("inputs", "heads"), [(12, 3), (20, 1)])
def test_attention_is_equation_4(inputs, heads, output):
    torch.manual_seed(1)
    module = BidirectionalAttention(inputs, 12, heads, output).double()
    feature = torch.randn(2, inputs, 4, 2, 3).double()
    tokens = torch.randn(2, 7, 12).double()
    real = torch.tensor([[True] * 7, [True, True, False, False, True, True, True]])
    for mask in (None, real):
        expected, expected_tokens = equation_4(module, feature, tokens, mask)
        update, gathered = module(feature, tokens, mask, first=0)
        torch.testing.assert_close(update, expected)
        torch.testing.assert_close(gathered, expected_tokens)
        _, later = module(feature, tokens, mask, first=5)
        torch.testing.assert_close(later, expected_tokens[:, 5:])


def plain_mbconv(module, x):
    """Operation by operation, as MedFormer describes it."""

    def matrix(layer, y):
        return F.conv3d(y, layer.weight[:, :, None, None, None], layer.bias)

    hidden = matrix(module.widen, F.relu(F.instance_norm(x, eps=1e-4)))
    hidden = F.relu(F.instance_norm(hidden, eps=1e-4))
    hidden = F.conv3d(hidden, module.depthwise.weight, padding=1, groups=hidden.shape[1])
    squeezed = hidden.mean((2, 3, 4), keepdim=True)
    squeezed = F.relu(matrix(module.excitation[0], squeezed))
    hidden = hidden * matrix(module.excitation[2], squeezed).sigmoid()
    return x + matrix(module.narrow, F.instance_norm(hidden, eps=1e-4))


def test_attention_block_and_its_gradients_are_those_of_plain_operations():
    torch.manual_seed(2)
    block = AttentionBlock(10, 6, 2, nn.LayerNorm).double()
    feature = torch.randn(2, 10, 4, 3, 2).double().requires_grad_()
    tokens = torch.randn(2, 5, 6).double().requires_grad_()
    update, gathered = equation_4(block.attention, feature, block.token_norm(tokens))
    active = F.relu(F.instance_norm(feature, eps=1e-4))
    shortcut = F.conv3d(active, block.shortcut.weight[:, :, None, None, None])
    expected = plain_mbconv(block.feed_forward, update + shortcut), tokens + gathered
    answer = block(feature, tokens)
    torch.testing.assert_close(answer, expected)
    inputs = [feature, tokens, *block.parameters()]
    weights = [torch.randn_like(each) for each in expected]
    wanted = torch.autograd.grad(expected, inputs, weights)
    for found, gradient in zip(torch.autograd.grad(answer, inputs, weights), wanted, strict=True):
        torch.testing.assert_close(found, gradient)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_folded_mbconv_is_exact_where_means_are_far_from_zero(dtype):
    torch.manual_seed(3)
    module = MBConv(8)
    nn.init.uniform_(module.depthwise.weight, 0, 1)  # a mean of several standard deviations
    x = torch.randn(2, 8, 6, 6, 6)
    expected = plain_mbconv(copy.deepcopy(module).double(), x.double())
    with torch.no_grad():
        error = (module(x.to(dtype)).double() - expected).abs().max() / expected.std()
    assert error < (1e-5 if dtype == torch.float32 else 0.06)


@pytest.mark.parametrize(("eps", "relu"), [(None, False), (1e-4, False), (1e-4, True)])
def test_depthwise_has_the_gradients_of_its_definition(eps, relu):
    torch.manual_seed(4)
    x = torch.randn(2, 3, 3, 2, 4).double().requires_grad_()
    weight = torch.randn(3, 1, 3, 3, 3).double().requires_grad_()
    normed = x if eps is None else F.instance_norm(x, eps=eps)
    expected = F.conv3d(F.relu(normed) if relu else normed, weight, padding=1, groups=3)
    torch.testing.assert_close(depthwise(x, weight, eps, relu), expected)
    assert torch.autograd.gradcheck(lambda *each: depthwise(*each, eps, relu), (x, weight))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_depthwise_gradients_in_lower_precision(dtype):
    torch.manual_seed(5)
    x = torch.randn(2, 16, 8, 8, 8).to(dtype).requires_grad_()
    weight = torch.randn(16, 1, 3, 3, 3).requires_grad_()
    y = depthwise(x, weight, 1e-5)
    gradient = torch.randn_like(y)
    exact = x.detach().double().requires_grad_(), weight.detach().double().requires_grad_()
    plain = F.conv3d(F.instance_norm(exact[0]), exact[1], padding=1, groups=16)
    wanted = torch.autograd.grad(plain, exact, gradient.double())
    tolerance = 1e-5 if dtype == torch.float32 else 2e-2
    for found, true in zip(torch.autograd.grad(y, (x, weight), gradient), wanted, strict=True):
        assert (found.double() - true).abs().max() < tolerance * true.abs().max()


def test_moments_and_their_gradients():
    torch.manual_seed(6)
    x = (3 * torch.randn(2, 4, 3, 2, 5) + 7).double().requires_grad_()
    mean, variance = moments(x)
    torch.testing.assert_close(mean, x.mean((2, 3, 4)))
    torch.testing.assert_close(variance, x.var((2, 3, 4), correction=0))
    assert torch.autograd.gradcheck(moments, (x,))


def test_merge_puts_eight_neighbours_side_by_side():
    merge = Merge(2, 3)
    x = torch.randn(1, 2, 4, 6, 8)
    parts = [x[:, :, i::2, j::2, k::2] for i in (0, 1) for j in (0, 1) for k in (0, 1)]
    expected = separable(merge.reduction, F.instance_norm(torch.cat(parts, 1), eps=1e-5))
    torch.testing.assert_close(merge(x), expected, rtol=1e-5, atol=1e-5)


def test_semantic_map_is_a_weighted_mean_of_any_number_of_voxels():
    torch.manual_seed(7)
    summary = SemanticMap(4, 6).double()
    feature = torch.randn(2, 4, 2, 3, 2).double()
    weights = summary.weights(feature).flatten(2).softmax(2)  # b 6 n
    content = summary.content(feature).flatten(2)
    torch.testing.assert_close(summary(feature), weights @ content.transpose(1, 2))
    assert summary(torch.randn(1, 4, 1, 1, 1).double()).shape == (1, 6, 4)


def test_map_tokens_are_normed_over_the_tokens():
    tokens = torch.randn(2, 9, 3)
    centred = tokens - tokens.mean(1, keepdim=True)
    expected = centred / (tokens.var(1, correction=0, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(TokenInstanceNorm(3)(tokens), expected, rtol=1e-4, atol=1e-5)
