"""MAM: against AdapterHub's library, and the scaled parallel adapter alone."""

from itertools import permutations

import pytest
import torch
from torch.testing import assert_close

from minipeft import delta
from minipeft.additive.adapters import Adapters
from minipeft.gpt import turns
from minipeft.hybrid.mam import MAM, Beside
from minipeft.measure import counts
from minipeft.surgery import added, trainable


@pytest.mark.parametrize("case, length, scale", [("mam", 3, 4.0), ("parallel", 0, 0.7)])
def test_equals_adapterhub(equals_adapterhub, style, case, length, scale):
    size = {"gpt2": 5, "llama": 6}[style]  # a quarter of the width
    equals_adapterhub(MAM(length, size, scale, hidden=None), "mam", case)


def test_adapter_alone_starts_as_its_base(make, idx):
    """Exactly; U learns first.  With a prefix the start is another one."""
    model = MAM(length=0).attach(make())
    assert torch.equal(model(idx), make()(idx))
    model(idx).square().mean().backward()
    for block in model.trunk:
        assert block.branch.down.weight.grad.count_nonzero() == 0 < block.branch.up.weight.grad.count_nonzero()
        assert 0 < block.branch.down.weight.abs().max() <= model.c.width**-0.5
    assert not torch.equal(MAM().attach(make())(idx), make()(idx))


def test_block_by_hand(model, shake):
    """u + MLP(norm(u)) + s (U relu(D u + c) + b): s on the bias too, no skip, and u isn't normalised."""
    block = shake(MAM(length=0, size=5, scale=3.0).attach(model)).trunk[1]
    x, base, branch = torch.randn(2, 7, model.c.width), block.base, block.branch
    turn = turns(model.c, torch.arange(7), x.dtype) if model.c.style == "llama" else None
    u = x + base.attn(base.norm1(x), turn)
    low = (u @ branch.down.weight.T + branch.down.bias).relu()
    expected = u + base.mlp(base.norm2(u)) + 3 * (low @ branch.up.weight.T + branch.up.bias)
    assert_close(block(x, turn), expected)


def test_reads_the_stream_itself(model, shake):
    """The norm before the MLP can change as it likes: what the adapter adds stays the same."""
    block = shake(MAM(length=0, size=5).attach(model)).trunk[1]
    x = torch.randn(2, 7, model.c.width)
    turn = turns(model.c, torch.arange(7), x.dtype) if model.c.style == "llama" else None
    adds = []
    for gain in (1.0, 0.3):
        with torch.no_grad():
            block.base.norm2.weight *= gain
        adds.append(block(x, turn) - block.base(x, turn))
    assert adds[0].abs().max() > 0.1
    assert_close(*adds, rtol=0, atol=1e-5)


def test_linear_in_the_scale(make, idx, shake):
    x = torch.randn(2, 7, make().c.width)
    turn = turns(make().c, torch.arange(7), x.dtype) if make().c.style == "llama" else None
    blocks = [shake(MAM(length=0, size=5, scale=s).attach(make())).trunk[1] for s in (2.0, 6.0)]
    few, many = (block(x, turn) - block.base(x, turn) for block in blocks)
    assert_close(many, 3 * few, rtol=1e-5, atol=1e-5)


def test_stands_inside_what_was_there(make, idx, shake):
    """After another method has wrapped the block it is still the block itself that it changes."""
    models = []
    for methods in permutations((MAM(length=0, size=5), Adapters(5, "pfeiffer"))):
        models.append(make())
        for method in methods:
            method.attach(models[-1])
        assert all(type(block.base) is Beside for block in models[-1].trunk)
    models[0].load_state_dict(shake(models[1]).state_dict())
    assert torch.equal(models[0](idx), models[1](idx))


def test_prefix_is_seen_by_all_and_takes_no_position(make, idx, shake):
    """One attention written out: [P_k; k] and [P_v; v] for every query, on a text as long as the context."""
    model = shake(MAM(length=4, size=5, hidden=None).attach(make(layers=1)))
    attn, c = model.trunk[0].base.attn, model.c
    x = torch.randn(2, c.context, c.width)
    turn = turns(c, torch.arange(c.context), x.dtype) if c.style == "llama" else None
    (q, k, v), past = attn.heads(x, turn), attn.past[0]
    assert k.shape[2] == 4 + c.context
    for y, p in ((k, past.k), (v, past.v)):
        assert torch.equal(y[:, :, :4], p.expand(2, -1, -1, -1))
    k, v = (y.repeat_interleave(c.heads // c.kv_heads, 1) for y in (k, v))
    scores = (q @ k.mT / c.head_width**0.5).masked_fill(torch.ones(len(x[0]), k.shape[2]).triu(5).bool(), -torch.inf)
    assert_close(attn(x, turn), attn.o((scores.softmax(-1) @ v).transpose(1, 2).flatten(2)), rtol=0, atol=1e-5)
    assert model(torch.zeros(1, c.context, dtype=torch.long)).shape[1] == c.context
    del attn.past[:]  # without its prefix, that of the block's input is the base's
    assert_close(attn(x, turn), make(layers=1).trunk[0].attn(x, turn), rtol=0, atol=1e-5)


def test_network_is_dropped(make, idx, shake, tmp_path):
    """After training the prefix is a table: the same outputs, and 2 n d_kv + (2 d m + m + d) numbers a block saved."""
    c, method = make().c, MAM(length=3, size=5, hidden=7)
    model = make()
    for _ in method.stages(model, [(idx, idx)]):
        shake(model)
        out, train = model(idx), sum(p.numel() for p in trainable(model).values())
    d_kv, adapter = c.kv_heads * c.head_width, 2 * c.width * 5 + 5 + c.width
    assert train == 3 * c.width + (c.width * 7 + 7) + c.layers * ((7 + 1) * 2 * d_kv + adapter)
    kept, given = c.layers * (2 * 3 * d_kv + adapter), counts(model)
    assert sum(t.numel() for t in added(model).values()) == kept
    assert (given.trainable, given.changed, given.rank) == (kept, kept, None)
    assert_close(model(idx), out, rtol=0, atol=1e-5)
    delta.save(model, tmp_path)
    assert torch.equal(delta.load(make(), tmp_path)(idx), model(idx))


@pytest.mark.parametrize("settings", [{"length": -1}, {"size": 0}, {"scale": "4"}, {"hidden": 0}])
def test_refuses(make, settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        MAM(**settings).attach(make())
