"""Adapters: against AdapterHub's library, and what is true of them alone."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from minipeft.additive.adapters import Adapters, Bottleneck
from minipeft.gpt import turns
from minipeft.measure import counts
from minipeft.surgery import inner


@pytest.mark.parametrize("case", ["houlsby-gelu", "houlsby-silu", "pfeiffer-relu"])
def test_equals_adapterhub(equals_adapterhub, style, case):
    """Which leaves the norms frozen."""
    placement, activation = case.split("-")
    size = {"gpt2": 5, "llama": 6}[style]  # a quarter of the width
    equals_adapterhub(Adapters(size, placement, activation, norms=False), "adapters", case)


def adapter(h, branch: Bottleneck):
    """h + U gelu(D h + c) + b"""
    low = F.gelu(h @ branch.down.weight.T + branch.down.bias)
    return h + low @ branch.up.weight.T + branch.up.bias


def stream(model):
    """What a block may get: the stream of two texts, and the angles of their positions."""
    x = torch.randn(2, 7, model.c.width)
    return x, turns(model.c, torch.arange(7), x.dtype) if model.c.style == "llama" else None


def branches(part) -> list[Bottleneck]:
    return [m for m in part.modules() if isinstance(m, Bottleneck)]


def test_houlsby_by_hand(model, shake):
    """One block written out: an adapter reads a sub-layer's result, before it joins the stream."""
    block = shake(Adapters(size=5).attach(model)).trunk[1]
    (x, turn), plain = stream(model), inner(block)
    first, second = branches(block)
    u = x + adapter(inner(plain.attn)(plain.norm1(x), turn), first)
    assert_close(block(x, turn), u + adapter(inner(plain.mlp)(plain.norm2(u)), second))


def test_pfeiffer_by_hand(make, shake):
    """The adapter reads the stream, after the MLP's result has joined it."""
    block = shake(Adapters(size=5, placement="pfeiffer").attach(make())).trunk[1]
    x, turn = stream(make())
    (branch,) = branches(block)
    assert_close(block(x, turn), adapter(make().trunk[1](x, turn), branch))


def test_each_place_has_its_own(model, shake):
    """What one adapter learns changes nothing at the other places."""
    first, second, _ = shake(Adapters(size=5).attach(model)).trunk
    x, turn = stream(model)
    before = second(x, turn), first.mlp(x)
    with torch.no_grad():
        branches(first.attn)[0].up.weight += 1.0
    assert torch.equal(second(x, turn), before[0]) and torch.equal(first.mlp(x), before[1])


def test_zero_start_is_the_base(make, idx):
    """U = 0 is exact, and U learns first: D's gradient is 0 until U has moved."""
    model = Adapters(size=5, start="zero").attach(make())
    assert torch.equal(model(idx), make()(idx))
    model(idx).square().mean().backward()
    for i in range(model.c.layers):
        for part in (model.trunk[i].attn, model.trunk[i].mlp):
            assert part.branch.down.weight.grad.count_nonzero() == 0
            assert part.branch.up.weight.grad.count_nonzero() > 0


def test_near_start(make, idx):
    """The paper's start: a normal of deviation 0.01 cut at two deviations, biases zero, function nearly the base's."""
    model = Adapters(size=16).attach(make())
    weights = torch.cat([w.flatten() for b in branches(model) for w in (b.down.weight, b.up.weight)])
    assert weights.abs().max() <= 0.02
    assert abs(weights.std() - 0.0088) < 0.0004  # 0.01 less what the cut takes away
    assert all(bias.count_nonzero() == 0 for b in branches(model) for bias in (b.down.bias, b.up.bias))
    assert 0 < (model(idx) - make()(idx)).abs().max() < 0.05


def test_sizes(make, shake):
    """Two modules a block or one, none of them shared; the norms are the default of Houlsby's alone."""
    c, m = make().c, 5
    module = 2 * c.width * m + c.width + m
    norm = c.width * (2 if c.style == "gpt2" else 1)
    for settings, modules, norms in (
        ({}, 2 * c.layers, 2 * c.layers + 1),
        ({"norms": False}, 2 * c.layers, 0),
        ({"placement": "pfeiffer"}, c.layers, 0),
        ({"placement": "pfeiffer", "norms": True}, c.layers, 2 * c.layers + 1),
        ({"layers": [1]}, 2, 2 + 1),
    ):
        given, n = counts(shake(Adapters(size=m, **settings).attach(make()))), modules * module + norms * norm
        assert (given.trainable, given.changed, given.rank) == (n, n, None), settings


def test_bias_gradient_by_finite_differences(model, idx, shake):
    """The gradient reaches block 0 through the frozen base, and is right: b of its attention's adapter, in fp64."""
    model = shake(Adapters(size=5, norms=False).attach(model)).double()
    b = model.trunk[0].attn.branch.up.bias

    def loss():
        return F.cross_entropy(model(idx)[:, :-1].flatten(0, 1), idx[:, 1:].flatten())

    loss().backward()
    with torch.no_grad():
        for i in (0, 7, len(b) - 1):
            b[i] += 1e-5
            above = loss()
            b[i] -= 2e-5
            below = loss()
            b[i] += 1e-5
            assert_close(b.grad[i], (above - below) / 2e-5, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize(
    "settings", [{"size": 0}, {"size": 4.0}, {"activation": "tanh"}, {"placement": "parallel"}, {"start": "one"}]
)
def test_refuses(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        Adapters(**settings)
