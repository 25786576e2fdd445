"""UniPELT: against AdapterHub's library, and what gates do and cannot do."""

import pytest
import torch
from torch.testing import assert_close

from minipeft import delta
from minipeft.gpt import turns
from minipeft.hybrid.unipelt import Gate, Gated, UniPELT
from minipeft.measure import counts
from minipeft.surgery import added, trainable

SMALL = {"length": 3, "rank": 2, "size": 5, "hidden": None}


def gates(model) -> list[Gate]:
    return [m for m in model.modules() if isinstance(m, Gate)]


def turn_of(model, x):
    return turns(model.c, torch.arange(x.shape[1]), x.dtype) if model.c.style == "llama" else None


def test_equals_adapterhub(equals_adapterhub, style):
    """With the paper's gates, over whole texts."""
    size = {"gpt2": 5, "llama": 6}[style]  # a quarter of the width
    equals_adapterhub(UniPELT(length=3, rank=3, size=size, gates="text", hidden=None), "unipelt", "unipelt")


def test_one_token_is_a_text(make, idx, shake):
    """The two kinds of gates are the same on texts of one token, and differ on longer ones."""
    outs = {n: [shake(UniPELT(**SMALL, gates=g).attach(make()))(idx[:, :n]) for g in ("token", "text")] for n in (1, 5)}
    assert_close(*outs[1], rtol=0, atol=1e-5)
    assert (outs[5][0] - outs[5][1]).abs().max() > 0.1


def test_text_gates_see_the_future(make, idx, shake):
    """Why they aren't the default: another last token moves the first token's logits."""
    model = shake(UniPELT(**SMALL, gates="text").attach(make()))
    other = idx.clone()
    other[:, -1] = (idx[:, -1] + 1) % 41
    assert (model(idx) - model(other))[:, 0].abs().max() > 1e-3


def test_gated_prefix_by_hand(make, shake):
    """Token by token: keys and values of the prefix times this token's gate, before the softmax and after it."""
    model = shake(UniPELT(**SMALL).attach(make()))
    part, c = model.trunk[1].base.attn, model.c
    x = torch.randn(2, 7, c.width)
    q, k, v = part.base.heads(x, turn_of(model, x))
    k, v, pk, pv = (y.repeat_interleave(c.heads // c.kv_heads, -3) for y in (k, v, part.prefix.k, part.prefix.v))
    g = torch.sigmoid(x @ part.gate.weight[0] + part.gate.bias)  # (b, t)
    rows = []
    for t in range(7):
        own = g[:, t, None, None, None]
        keys, values = (torch.cat([own * p, y[:, :, : t + 1]], 2) for p, y in ((pk, k), (pv, v)))
        weights = (q[:, :, t : t + 1] @ keys.mT / c.head_width**0.5).softmax(-1)
        rows.append(weights @ values)
    expected = part.base.o(torch.cat(rows, 2).transpose(1, 2).flatten(2))
    assert_close(part(x, turn_of(model, x)), expected, rtol=0, atol=1e-5)


def test_gates_shut_and_open(make, idx, shake):
    """Shut, LoRA and the adapter are gone, and the prefix isn't; open, each part counts once, without alpha / r."""
    model = shake(UniPELT(**SMALL).attach(make()))
    x, block = torch.randn(2, 7, model.c.width), model.trunk[1]
    lora, prefixed = block.base.attn.base.q, block.base.attn
    with torch.no_grad():
        for gate in gates(model):
            gate.bias.fill_(-200)
    assert torch.equal(lora(x), lora.base(x))
    assert torch.equal(block(x, turn_of(model, x)), block.base(x, turn_of(model, x)))
    shut = prefixed(x, turn_of(model, x)), prefixed.base(x, turn_of(model, x))
    assert (shut[0] - shut[1]).abs().max() > 0.1
    with torch.no_grad():
        for gate in gates(model):
            gate.bias.fill_(200)
    low = lora.branch.branch
    assert_close(lora(x), lora.base(x) + x @ low.A.T @ low.B.T)
    h, adapter = block.base(x, turn_of(model, x)), block.branch.branch
    assert_close(block(x, turn_of(model, x)), h + adapter.up(adapter.down(h).relu()))


def test_gate():
    """One number in (0, 1) a token; for a text the mean of sigmoids, not the sigmoid of a mean; at first about 1/2."""
    torch.manual_seed(0)
    x = 3 * torch.randn(2, 5, 6)
    token, text = Gate(6, "token"), Gate(6, "text")
    assert (token(x) - 0.5).abs().max() < 0.2
    text.weight.data.copy_(torch.randn(1, 6))
    token.load_state_dict(text.state_dict())
    assert token(x).shape == (2, 5, 1) and text(x).shape == (2, 1, 1)
    assert_close(text(x)[:, 0], token(x).mean(1))
    assert 0 < token(x).min() < token(x).max() < 1


def test_every_gate_learns(make, idx):
    """All have a gradient, but LoRA's at first: its B is 0.  None is shared, four in a block."""
    model = UniPELT(**SMALL).attach(make())
    model(idx).square().mean().backward()
    for name, m in model.named_modules():
        if isinstance(m, Gate):
            assert bool(m.weight.grad.count_nonzero()) != name.endswith((".q.branch.gate", ".v.branch.gate")), name
    assert len({id(gate.weight) for gate in gates(model)}) == len(gates(model)) == 4 * model.c.layers
    assert sum(isinstance(m, Gated) for m in model.modules()) == 3 * model.c.layers


def test_count(make, idx, shake, tmp_path):
    """2 n d_kv + (2 d m + m + d) + r (2 d + d_q + d_kv) + 4 (d + 1) a block are kept, the prefix's network isn't."""
    c, n, r, m = make().c, 3, 2, 5
    d, d_q, d_kv = c.width, c.heads * c.head_width, c.kv_heads * c.head_width
    kept = c.layers * (2 * n * d_kv + (2 * d * m + m + d) + r * (2 * d + d_q + d_kv) + 4 * (d + 1))
    method, model = UniPELT(length=n, rank=r, size=m, hidden=7), make()
    for _ in method.stages(model, [(idx, idx)]):
        shake(model)
        out, train = model(idx), sum(p.numel() for p in trainable(model).values())
    assert train == kept + n * d + (7 * d + 7) + c.layers * ((7 + 1) * 2 * d_kv - 2 * n * d_kv)
    assert sum(t.numel() for t in added(model).values()) == kept
    assert (counts(model).trainable, counts(model).changed, counts(model).rank) == (kept, kept, None)
    assert_close(model(idx), out, rtol=0, atol=1e-5)
    delta.save(model, tmp_path)
    assert torch.equal(delta.load(make(), tmp_path)(idx), model(idx))


@pytest.mark.parametrize("settings", [{"length": 0}, {"size": 0}, {"rank": 0}, {"gates": "sentence"}, {"hidden": 0}])
def test_refuses(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        UniPELT(**settings)
