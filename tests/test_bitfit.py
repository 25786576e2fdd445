"""BitFit: against brute force, and what is true of biases alone."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from minipeft.gpt import GPT, Config
from minipeft.measure import counts
from minipeft.selective.bitfit import BitFit
from minipeft.surgery import detach, trainable

gpt2 = pytest.mark.parametrize("style", ["gpt2"], indirect=True)
llama = pytest.mark.parametrize("style", ["llama"], indirect=True)


def loss_of(model, idx):
    return F.cross_entropy(model(idx)[:, :-1].flatten(0, 1), idx[:, 1:].flatten())


@gpt2
def test_brute_force(make, idx):
    """The same step as a plain model whose every parameter has a gradient, and only whose biases take it."""
    tuned, brute = BitFit().attach(make()), make()
    for model in (tuned, brute):
        loss_of(model, idx).backward()
    grads = {name: p.grad.clone() for name, p in brute.named_parameters()}
    for name, p in tuned.named_parameters():
        if name.endswith(".bias"):
            assert_close(p.grad, grads[name], rtol=0, atol=1e-5)
        else:
            assert p.grad is None, name
    with torch.no_grad():
        for model in (tuned, brute):
            for name, p in model.named_parameters():
                if name.endswith(".bias"):
                    p -= 0.1 * p.grad
    assert_close(tuned(idx), brute(idx), rtol=0, atol=1e-5)


@llama
def test_brute_force_on_llama(make, idx):
    """Added biases are the plain model with `x W + b` written over each Linear, b = 0 at first."""
    tuned, brute = BitFit(add=True).attach(make()), make()
    assert torch.equal(tuned(idx), brute(idx))
    biases = {}
    for name, module in brute.named_modules():
        if isinstance(module, nn.Linear) and name != "head":
            b = biases[f"{name}.bias"] = torch.zeros(module.out_features, requires_grad=True)
            module.register_forward_hook(lambda m, args, out, b=b: out + b)
    assert trainable(tuned).keys() == biases.keys()
    for step in range(2):
        for model in (tuned, brute):
            loss_of(model, idx).backward()
        with torch.no_grad():
            for name, p in trainable(tuned).items():
                assert_close(p.grad, biases[name].grad, rtol=0, atol=1e-5)
                for b in (p, biases[name]):
                    b -= 0.1 * b.grad
                    b.grad = None
        assert_close(tuned(idx), brute(idx), rtol=0, atol=1e-5, msg=f"after step {step}")


@gpt2
def test_names_and_count(make):
    """All biases of the attention, the MLP and the norms; no gain, no weight: L (4 d_out + f + 3 d) + d."""
    model = make()
    c = model.c
    names = {n for n, _ in model.named_parameters() if n.rsplit(".", 1)[1] == "bias"}
    BitFit().attach(model)
    assert trainable(model).keys() == names
    q, kv = c.heads * c.head_width, c.kv_heads * c.head_width
    assert counts(model).trainable == c.layers * (q + 2 * kv + c.width + c.hidden + c.width + 2 * c.width) + c.width
    first = BitFit(layers=[0]).attach(make())
    assert trainable(first).keys() == {n for n in names if n.startswith("trunk.0.")}


def test_published_count():
    """GPT-2 small, without memory: L (7 d + f) + d = 102,144 of 124,439,808 numbers, 0.08%."""
    with torch.device("meta"):
        model = BitFit().attach(GPT(Config("gpt2", vocab=50257, context=1024, layers=12, heads=12, width=768)))
    assert sum(p.numel() for p in trainable(model).values()) == 12 * (7 * 768 + 3072) + 768 == 102_144
    assert sum(p.numel() for p in model.parameters()) == 124_439_808


@llama
def test_llama_has_none(make, idx):
    """Never train zero numbers in silence; added ones are counted L (q + 2 kv + 2 f + 2 d), the head has none."""
    model = make()
    with pytest.raises(ValueError, match="add=True"):
        BitFit().attach(model)
    assert all(p.requires_grad for p in model.parameters())
    c = BitFit(add=True).attach(model).c
    q, kv = c.heads * c.head_width, c.kv_heads * c.head_width
    assert counts(model).trainable == c.layers * (q + 2 * kv + c.width + 2 * c.hidden + c.width)
    assert model.head.bias is None
    detach(model)
    assert all(m.bias is None for m in model.modules() if isinstance(m, nn.Linear))


def test_layer_outside_the_model(model):
    with pytest.raises(ValueError, match="no layer 7"):
        BitFit(add=True, layers=[0, 7]).attach(model)


def test_key_bias(make, idx):
    """Without rotary positions the softmax doesn't see a key's bias; with them it does."""
    model = BitFit(add=True).attach(make())
    loss_of(model, idx).backward()
    sizes = {part: getattr(model.trunk[1].attn, part).bias.grad.abs().max() for part in "qkv"}
    if model.c.style == "gpt2":
        assert sizes["k"] < 1e-6 < 1e-4 < min(sizes["q"], sizes["v"])
    else:
        assert min(sizes.values()) > 1e-4


@gpt2
def test_value_bias_is_redundant(make, idx):
    """Attention's rows sum to one: u more in b_v is the same as W_o u more in b_o."""
    model = make()
    attn, u = model.trunk[1].attn, torch.randn(18)
    with torch.no_grad():
        attn.v.bias += u
        attn.o.bias -= attn.o.weight @ u
    assert_close(model(idx), make()(idx), rtol=0, atol=1e-5)
