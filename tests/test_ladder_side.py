"""Ladder-side tuning: against the sum of its parts written out, and what the backbone is spared."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from minipeft.additive.adapters import Adapters
from minipeft.additive.ladder_side import Ladder, LadderSide, Rung
from minipeft.gpt import GPT, Config, turns
from minipeft.measure import counts, kept_bytes
from minipeft.method import FullFineTuning
from minipeft.reparametrization.lora import LoRA
from minipeft.selective.fishmask import fisher
from minipeft.surgery import Unused, detach, trainable


def loss_of(logits, idx):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), idx[:, 1:].flatten())


def backbone(model, idx):
    """[h_0, ..., h_L] of a plain model: the stream before the first block and after each."""
    states = [model.embed(idx)]
    turn = turns(model.c, torch.arange(idx.shape[1]), torch.float32) if model.c.style == "llama" else None
    for block in model.trunk:
        states.append(block(states[-1], turn))
    return states


@pytest.mark.parametrize("settings", [{}, {"layers": [0, 2]}, {"layers": [1]}, {"identity": True, "layers": [1]}])
def test_by_hand(make, idx, shake, settings):
    """Each rung reads its own layer of the plain model, gates before its block; the head is the base's."""
    model, plain = shake(LadderSide(reduction=2, temperature=0.5, **settings).attach(make())), make()
    ladder, h = model.trunk, backbone(plain, idx)
    turn = turns(ladder.c, torch.arange(idx.shape[1]), torch.float32) if model.c.style == "llama" else None
    s = h[0] @ ladder.down.weight.T + ladder.down.bias
    for i in settings.get("layers", range(model.c.layers)):
        rung = ladder.rungs[str(i)]
        g = 1 / (1 + torch.exp(-rung.alpha / 0.5))
        s = rung.block(g * s + (1 - g) * (h[i + 1] @ rung.down.weight.T + rung.down.bias), turn)
    out = ladder.norm(s) @ ladder.up.weight.T + ladder.up.bias
    if settings.get("identity"):
        out = plain.norm(ladder.k * h[-1] + out)
    assert_close(model(idx), plain.logits(out), rtol=0, atol=1e-5)


def test_keeps_nothing_of_the_backbone():
    """What a step keeps doesn't grow with the backbone's depth; and of the backbone no gradient is ever asked."""
    idx, kept = torch.randint(41, (2, 11)), {}
    for method in (LadderSide(reduction=2, layers=[0]), LadderSide(reduction=2, layers=[0], identity=True), LoRA()):
        for layers in (2, 6):
            c = Config("gpt2", vocab=41, context=32, layers=layers, heads=3, width=24, hidden=40, head_width=6)
            model = method.attach(GPT(c))
            states = list(getattr(model.trunk, "base", model.trunk).states(model.embed(idx)))
            assert any(h.requires_grad for h in states) == isinstance(method, LoRA)
            kept[method, layers] = kept_bytes(lambda m=model, a=method: a.loss(m, idx, idx), model)
        if isinstance(method, LoRA):
            assert kept[method, 6] > 2 * kept[method, 2]
        else:
            assert kept[method, 6] == kept[method, 2]


def test_keeps_less(make, idx):
    """Of each block one tensor as wide as the stream is kept, which its rung reads; of the embedding, another."""
    model = LadderSide(reduction=2).attach(make())
    own, kept = {p.data_ptr() for p in model.parameters()}, []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        loss_of(model(idx), idx)
    wide = {t.data_ptr() for t in kept if t.data_ptr() not in own and t.numel() == idx.numel() * model.c.width}
    assert len(wide) == 1 + model.c.layers

    c = Config("gpt2", vocab=41, context=32, layers=4, heads=4, width=64)
    sizes = []
    for method in (LadderSide(reduction=8), LoRA(rank=1), FullFineTuning()):
        model = method.attach(GPT(c))
        sizes.append(kept_bytes(lambda m=model, a=method: a.loss(m, idx, idx), model))
    assert 2 * sizes[0] < sizes[1] < sizes[2]


def test_gates(make, idx, shake):
    """alpha = 0 is a half and a half; a wide open gate shuts out all states but the first."""
    model = shake(LadderSide(reduction=2).attach(make()))
    rung = Rung(model.trunk.c, model.c.width, 0.1)
    assert rung.alpha.item() == 0 and rung.alpha.ndim == 0
    rung.block = torch.nn.Module()
    rung.block.forward = lambda s, turn, mask: s
    s, h = torch.randn(2, 5, model.trunk.c.width), torch.randn(2, 5, model.c.width)
    assert_close(rung(s, h, None, None), (s + rung.down(h)) / 2)
    rung.alpha.data.fill_(0.1)  # one temperature
    g = torch.tensor(1.0).sigmoid()
    assert_close(rung(s, h, None, None), g * s + (1 - g) * rung.down(h))

    for rung in model.trunk.rungs.values():
        rung.alpha.data.fill_(100.0)
    out = model(idx)
    with torch.no_grad():
        for p in model.trunk.base.parameters():
            p += 1.0
    assert torch.equal(model(idx), out)


def test_count(make):
    """S (4 d'^2 + 2 d'f' + 9 d' + f') + (S + 1) (d d' + d') + (d' d + d) + 2 d' + S for GPT-2's square heads."""
    c = Config("gpt2", vocab=41, context=32, layers=3, heads=3, width=24, hidden=40)
    for layers in (None, [0, 2]):
        given = counts(LadderSide(reduction=2, layers=layers).attach(GPT(c)))
        s, d, d_, f_ = 3 if layers is None else 2, 24, 12, 20
        block = 4 * d_**2 + 2 * d_ * f_ + 9 * d_ + f_
        assert given.trainable == s * block + (s + 1) * (d * d_ + d_) + (d_ * d + d) + 2 * d_ + s
        assert given.changed == given.trainable and given.rank is None
    model = LadderSide(reduction=2).attach(make())
    side, c = Config(**{**vars(model.trunk.c)}), model.c
    assert (side.width, side.hidden, side.head_width) == (c.width // 2, c.hidden // 2, c.head_width // 2)
    extra = c.layers * (c.width * side.width + side.width + 1)  # a D, a d and a gate each
    ends = 2 * c.width * side.width + side.width + c.width
    plain = GPT(side)
    blocks = sum(p.numel() for part in (plain.trunk, plain.norm) for p in part.parameters())
    assert counts(model).trainable == blocks + extra + ends
    assert counts(LadderSide(reduction=2, identity=True).attach(make())).trainable == blocks + extra + ends + 1


# -- the start --------------------------------------------------------------------------------------------------------


def test_side_blocks_are_cut_from_the_backbone(make):
    """Every matrix of the side is rows and columns of the backbone's, in its order; norms and biases follow."""
    model, plain = LadderSide(reduction=2).attach(make()), make().state_dict()
    ladder, e = model.trunk, model.c.head_width

    def places(small, big):
        """The rows of `big` that hold those of `small` somewhere, in order."""
        found = [[i for i, row in enumerate(big) if torch.isin(r, row).all()] for r in small]
        assert all(len(f) == 1 for f in found)
        return [f[0] for f in found]

    stream = plain["tokens.weight"].abs().sum(0).topk(model.c.width // 2).indices.sort().values.tolist()
    for i, rung in ladder.rungs.items():
        name, rows = f"trunk.{i}", {}
        for key in "qkvo":
            small, big = getattr(rung.block.attn, key).weight, plain[f"{name}.attn.{key}.weight"]
            rows[key] = places(small, big)
            columns = places(small.T, big.T)
            assert columns == (rows["q"] if key == "o" else stream)
            assert_close(small, big[rows[key]][:, columns])
            assert rows[key] == sorted(rows[key])
            if (bias := getattr(rung.block.attn, key).bias) is not None:
                assert_close(bias, plain[f"{name}.attn.{key}.bias"][rows[key]])
        assert_close(rung.block.norm1.weight, plain[f"{name}.norm1.weight"][stream])
        heads, groups = model.c.heads, model.c.heads // model.c.kv_heads
        assert rows["k"] == rows["v"]
        for head in range(heads):  # each head keeps its own half, a query's the same as its key's
            of_q = [r - head * e for r in rows["q"] if r // e == head]
            of_k = [r - head // groups * e for r in rows["k"] if r // e == head // groups]
            assert of_q == of_k and len(of_q) == e // 2
            if model.c.style == "llama":  # both numbers of a rotated pair
                assert of_q[e // 4 :] == [r + e // 2 for r in of_q[: e // 4]]
        assert_close(rung.block.norm2.weight, plain[f"{name}.norm2.weight"][rows["o"]])
        up, down = (plain[f"{name}.mlp.{key}.weight"] for key in ("up", "down"))
        hidden = places(rung.block.mlp.up.weight, up)
        assert places(rung.block.mlp.up.weight.T, up.T) == rows["o"]
        assert places(rung.block.mlp.down.weight.T, down.T) == hidden
        if rung.block.mlp.gate is not None:
            assert_close(rung.block.mlp.gate.weight, plain[f"{name}.mlp.gate.weight"][hidden][:, rows["o"]])
        # the hidden rows that are worth most over the columns that are kept
        worth = up[:, rows["o"]].abs().double()
        if rung.block.mlp.gate is not None:
            worth = worth * plain[f"{name}.mlp.gate.weight"][:, rows["o"]].abs()
        assert hidden == worth.sum(1).topk(model.c.hidden // 2).indices.sort().values.tolist()
        stream = places(rung.block.mlp.down.weight, down)
    assert_close(ladder.norm.weight, plain["norm.weight"][stream])


def test_worth_is_fisher_information(make, idx):
    """The recipe measures it on the plain model, by which rows are chosen; `attach` goes by size."""
    method, batches = LadderSide(reduction=2, layers=[1]), [(idx, idx.roll(-1, 1))]
    model, sized = make(), method.attach(make())
    worth = fisher(method, make(), batches, 1024)
    assert next(iter(method.stages(model, batches))).name == "train"
    expected = worth["tokens.weight"].sum(0).topk(model.c.width // 2).indices.sort().values
    stream = make().trunk[1].norm1.weight[expected]
    assert_close(model.trunk.rungs["1"].block.norm1.weight, stream)
    assert not torch.equal(sized.trunk.rungs["1"].block.attn.q.weight, model.trunk.rungs["1"].block.attn.q.weight)
    assert all(p.grad is None for p in model.parameters())


def test_new_layers(make):
    """D and U are drawn from N(0, 0.01), biases are zero."""
    ladder = LadderSide(reduction=2).attach(make()).trunk
    linears = [ladder.down, ladder.up, *(rung.down for rung in ladder.rungs.values())]
    assert all(linear.bias.count_nonzero() == 0 for linear in linears)
    assert abs(torch.cat([linear.weight.flatten() for linear in linears]).std() - 0.01) < 0.001


def test_identity(make, idx):
    """With the backbone's last state in the result the start is the base, exactly, and learns at once."""
    model = LadderSide(reduction=2, identity=True).attach(make())
    assert torch.equal(model(idx), make()(idx))
    assert not torch.allclose(LadderSide(reduction=2).attach(make())(idx), make()(idx), atol=0.1)
    loss_of(model(idx), idx).backward()
    assert model.trunk.up.weight.grad.count_nonzero() and model.trunk.k.grad.count_nonzero()


# -- with others ------------------------------------------------------------------------------------------------------


def test_dropped_rungs(make, idx):
    """Blocks above the last rung aren't run, unless the identity needs them; `detach` brings all back."""
    model = LadderSide(reduction=2, layers=[1]).attach(make())
    assert [name for name, m in model.named_modules() if isinstance(m, Unused)] == ["trunk.base.2", "norm"]
    assert list(model.trunk.rungs) == ["1"]
    top = LadderSide(reduction=2, layers=[1], identity=True).attach(make())
    assert not any(isinstance(m, Unused) for m in top.modules())
    assert torch.equal(detach(model)(idx), make()(idx))


def test_nothing_trains_in_vain(make):
    """What the ladder goes around can't train, whoever comes first; what it reads can."""
    side = LadderSide(reduction=2, layers=[0])
    for first, second in ((side, Adapters()), (Adapters(), side), (side, LoRA()), (LoRA(), side)):
        model = first.attach(make())
        names = trainable(model).keys()
        with pytest.raises(ValueError, match="another leaves it out"):
            second.attach(model)
        assert trainable(model).keys() == names
    for pair in ((side, LoRA(layers=[0])), (Adapters(norms=False, layers=[0]), side)):
        model = make()
        for method in pair:
            method.attach(model)
        assert len(model.attached) == 2


def test_recompute_is_harmless(make, idx, shake):
    """A frozen backbone that recomputes has nothing to recompute: the same gradients."""
    model = shake(LadderSide(reduction=2).attach(make()))
    again = copy.deepcopy(model)
    again.trunk.base.recompute = True
    for m in (model, again):
        loss_of(m(idx), idx).backward()
    for p, q in zip(trainable(model).values(), trainable(again).values(), strict=True):
        assert torch.equal(p.grad, q.grad)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"reduction": 0}, "reduction"),
        ({"temperature": 0.0}, "temperature"),
        ({"layers": []}, "layers"),
        ({"reduction": 7}, "reduction must divide the model's width"),
        ({"layers": [1, 3]}, "layers 0 to 2, no layer 3"),
    ],
)
def test_refuses(make, idx, settings, reason):
    model = make()
    with pytest.raises(ValueError, match=reason):
        LadderSide(**{"reduction": 2, **settings}).attach(model)
    assert not any(isinstance(m, Ladder) for m in model.modules())
    assert torch.equal(model(idx), make()(idx))
