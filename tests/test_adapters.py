"""Adapters: against AdapterHub's library, and what is true of them alone."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch.testing import assert_close

from minipeft.additive.adapters import Adapters, Bottleneck
from minipeft.gpt import GPT, Config
from minipeft.surgery import trainable

CONFIGS = {  # of the bases that tests/oracles/record_adapters.py has drawn
    "gpt2": Config(style="gpt2", vocab=31, context=16, layers=2, heads=4, width=20, hidden=28),
    "llama": Config(style="llama", vocab=31, context=16, layers=2, heads=4, kv_heads=2, width=24, hidden=28),
}


@pytest.mark.parametrize("case", ["houlsby-gelu", "houlsby-silu", "pfeiffer-relu"])
def test_equals_adapterhub(style, case):
    """Outputs and gradients of `adapters` 1.3, whose weights are copied in; it leaves the norms frozen."""
    file = load_file(Path(__file__).parent / "fixtures" / f"adapters_{style}.safetensors")
    model, idx = GPT(CONFIGS[style]), file["idx"]
    model.load_state_dict({n.removeprefix("base/"): t for n, t in file.items() if n.startswith("base/")})
    placement, activation = case.split("-")
    size = CONFIGS[style].width // 4
    Adapters(size=size, placement=placement, activation=activation, norms=False).attach(model)
    parts = trainable(model)
    assert {f"{case}/part/{name}" for name in parts} == {name for name in file if name.startswith(f"{case}/part/")}
    for name, p in parts.items():
        p.data.copy_(file[f"{case}/part/{name}"])
    logits = model(idx)
    assert_close(logits, file[f"{case}/logits"], rtol=0, atol=1e-5)
    F.cross_entropy(logits[:, :-1].flatten(0, 1), idx[:, 1:].flatten()).backward()
    for name, p in parts.items():
        assert_close(p.grad, file[f"{case}/grad/{name}"], rtol=0, atol=1e-5)


def test_houlsby_by_hand(model, shake):
    """One block written out: the adapter reads the sub-layer's result, before it joins the stream."""
    shake(Adapters(size=5).attach(model))
    block, x = model.trunk[1], torch.randn(2, 7, model.c.width)
    attn, mlp = block.attn, block.mlp
    turn = None
    if model.c.style == "llama":
        from minipeft.gpt import turns

        turn = turns(model.c, torch.arange(7), x.dtype)

    def adapter(h, branch: Bottleneck):
        low = F.gelu(h @ branch.down.weight.T + branch.down.bias)
        return h + low @ branch.up.weight.T + branch.up.bias

    u = x + adapter(attn.base(block.norm1(x), turn), attn.branch)
    expected = u + adapter(mlp.base(block.norm2(u)), mlp.branch)
    assert_close(block(x, turn), expected)


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
    branches = [m for m in model.modules() if isinstance(m, Bottleneck)]
    weights = torch.cat([w.flatten() for b in branches for w in (b.down.weight, b.up.weight)])
    assert weights.abs().max() <= 0.02
    assert abs(weights.std() - 0.0088) < 0.0004  # 0.01 less what the cut takes away
    assert all(bias.count_nonzero() == 0 for b in branches for bias in (b.down.bias, b.up.bias))
    assert 0 < (model(idx) - make()(idx)).abs().max() < 0.05


def test_sizes(make):
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
        model = Adapters(size=m, **settings).attach(make())
        count = sum(p.numel() for p in trainable(model).values())
        assert count == modules * module + norms * norm, settings


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
