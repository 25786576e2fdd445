"""(IA)^3: against peft, and what is true of scales alone."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from minipeft.additive.ia3 import IA3, ScaleIn, ScaleOut
from minipeft.measure import counts
from minipeft.surgery import inner, merge, trainable

OURS = {"attn.k": "attn.k", "attn.v": "attn.v", "mlp.down": "mlp.down"}
LLAMA = {"attn.k": "self_attn.k_proj", "attn.v": "self_attn.v_proj", "mlp.down": "mlp.down_proj"}


def loss_of(logits, idx):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), idx[:, 1:].flatten())


def peft_config(names: dict[str, str]):
    from peft import IA3Config  # late, it takes seconds: most tests here don't need it

    return IA3Config(target_modules=list(names.values()), feedforward_modules=[names["mlp.down"]])


def assert_same(ours, theirs, names, ours_out, theirs_out, idx):
    """After our scales have gone into peft's: see `copy_into_peft`."""
    assert_close(ours_out, theirs_out, rtol=0, atol=1e-5)
    loss_of(ours_out, idx).backward()
    loss_of(theirs_out, idx).backward()
    pairs = partners(ours, theirs, names)
    assert len(pairs) == len(trainable(ours)) == sum(p.requires_grad for p in theirs.parameters())
    for p, there in pairs:
        assert p.grad.abs().max() > 1e-4
        assert_close(p.grad, there.grad.flatten(), rtol=0, atol=1e-5)


def partners(ours, theirs, names):
    """[(our scale, theirs: a column (n, 1), or a row (1, n) for what goes into a Linear)]"""
    pairs, their_parts = [], dict(theirs.named_parameters())
    for name, p in trainable(ours).items():
        block, part = name.split(".")[1], ".".join(name.split(".")[2:4])
        (there,) = [n for n in their_parts if f".{block}.{names[part]}.ia3_l." in n]
        pairs.append((p, their_parts[there]))
    return pairs


def copy_into_peft(ours, theirs, names):
    for p, there in partners(ours, theirs, names):
        there.data.copy_(p.data.view_as(there))


def test_equals_peft(make, idx, shake):
    """peft's put into a second copy of the same plain model, in the paper's three places: outputs and gradients."""
    from peft import inject_adapter_in_model

    ours, theirs = shake(IA3().attach(make())), inject_adapter_in_model(peft_config(OURS), make())
    copy_into_peft(ours, theirs, OURS)
    assert_same(ours, theirs, OURS, ours(idx), theirs(idx), idx)


@pytest.mark.parametrize("style", ["llama"], indirect=True)
def test_equals_peft_on_transformers(model, idx, shake, tmp_path):
    """The whole of theirs on transformers' LLaMA with grouped queries: the keys are scaled before they are rotated."""
    from peft import get_peft_model
    from transformers import LlamaForCausalLM

    model.save_pretrained(tmp_path)
    theirs = get_peft_model(LlamaForCausalLM.from_pretrained(tmp_path, dtype=torch.float32), peft_config(LLAMA))
    ours = shake(IA3().attach(model))
    copy_into_peft(ours, theirs, LLAMA)
    assert_same(ours, theirs, LLAMA, ours(idx), theirs(idx).logits, idx)


@torch.no_grad()
def test_merge_with_zeros_and_signs(make, idx, shake):
    """Any number folds, exactly in fp64: zero, negative, large.  The biases of k and v fold, that of down stays."""
    model = shake(IA3().attach(make().double()), std=1.0)
    for p in trainable(model).values():
        p[0], p[1], p[2] = 0, -2, 30
    scales = {name.replace(".base.", "."): p.clone() for name, p in trainable(model).items()}
    out, before = model(idx), make().double().state_dict()
    assert_close(merge(model)(idx), out, rtol=0, atol=1e-11)
    for name, value in model.state_dict().items():
        scale = scales.get(f"{name.rpartition('.')[0]}.scale", torch.ones(()))
        if name.endswith("attn.k.weight") or name.endswith("attn.v.weight"):
            assert_close(value, torch.diag(scale) @ before[name])
        elif name.endswith("down.weight"):
            assert_close(value, before[name] @ torch.diag(scale))
        else:
            assert_close(value, before[name] if "down" in name else before[name] * scale, msg=name)


def test_hidden_layer_after_the_activation(model):
    """The MLP without its last bias is linear in l_f: twice the scale is exactly twice the result, zero is the bias."""
    IA3().attach(model)
    mlp, x = model.trunk[1].mlp, torch.randn(2, 5, model.c.width)
    (scale,) = (p for p in mlp.parameters() if p.requires_grad)
    bias = 0 if inner(mlp.down).bias is None else inner(mlp.down).bias
    once = mlp(x) - bias
    scale.data *= 2
    assert_close(mlp(x) - bias, 2 * once)
    scale.data.zero_()
    assert_close(mlp(x), torch.zeros_like(x) + bias)


def test_zero_keys_and_values(model):
    """l_k = 0: each token averages what it may see, evenly.  l_v = 0: attention is its output's bias."""
    IA3().attach(model)
    attn, x = model.trunk[1].attn, torch.randn(2, 5, model.c.width)
    attn.k.scale.data.zero_()
    v = attn.v(x).unflatten(-1, (model.c.kv_heads, -1))
    v = v.repeat_interleave(model.c.heads // model.c.kv_heads, 2).flatten(2)
    even = v.cumsum(1) / torch.arange(1, 6)[:, None]
    turn = None
    if model.c.style == "llama":  # turned by nothing: zero keys are zero wherever they stand
        turn = torch.ones(5, 1, model.c.head_width), torch.zeros(5, 1, model.c.head_width)
    assert_close(attn(x, turn), attn.o(even))
    attn.v.scale.data.zero_()
    assert_close(attn(x, turn), attn.o(torch.zeros_like(even)))


def test_queries_undo_keys(model, idx, shake):
    """l_k acts before the softmax: what it multiplies, the queries can divide by, where no rotation stands between."""
    shake(IA3().attach(model))
    out, e = model(idx), model.c.head_width
    for block in model.trunk:
        c = torch.rand(model.c.kv_heads, 1) + 0.5  # one for each head: the same for both numbers of a rotated pair
        with torch.no_grad():
            block.attn.k.scale *= c.expand(-1, e).flatten()
            by = c.repeat_interleave(model.c.heads // model.c.kv_heads, 0).expand(-1, e).flatten()
            block.attn.q.weight /= by[:, None]
            if block.attn.q.bias is not None:
                block.attn.q.bias /= by
    assert_close(model(idx), out, rtol=0, atol=1e-5)


def test_start_and_count(make):
    """Ones, 2 h_kv e + f of them a layer, each layer its own; on GPT-2 small L (2 d + f) = 55,296."""
    model = IA3().attach(make())
    c, scales = model.c, trainable(model)
    assert all(torch.equal(p, torch.ones_like(p)) for p in scales.values())
    assert len(scales) == 3 * c.layers
    assert counts(model).trainable == c.layers * (2 * c.kv_heads * c.head_width + c.hidden)
    small = 2 * ScaleOut(torch.nn.Linear(768, 768)).scale.numel() + ScaleIn(torch.nn.Linear(3072, 768)).scale.numel()
    assert 12 * small == 55_296


def test_full_rank(make, shake):
    """diag(l - 1) W is a change of every number and of full rank."""
    model = shake(IA3().attach(make()))
    c = model.c
    weights = 2 * c.kv_heads * c.head_width * c.width + c.hidden * c.width
    biases = 2 * c.kv_heads * c.head_width if c.attn_bias else 0
    assert counts(model).changed == c.layers * (weights + biases)
    assert counts(model).rank == c.width


def test_layers(make):
    model = IA3(layers=[0, 2]).attach(make())
    assert {name.split(".")[1] for name in trainable(model)} == {"0", "2"}
    with pytest.raises(ValueError, match="no layer 3"):
        IA3(layers=[3]).attach(make())
