"""LoRA: against peft and against the formula."""

import peft
import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from minipeft.measure import counts, kept_bytes
from minipeft.reparametrization.lora import LoRA, LowRank
from minipeft.surgery import Parallel, attached, detach, freeze, merge, trainable


def loss_of(logits, idx):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), idx[:, 1:].flatten())


def peft_config(lora: LoRA, names: dict[str, str], **settings) -> peft.LoraConfig:
    targets = [names[part] for part in lora.to]
    return peft.LoraConfig(
        r=lora.rank, lora_alpha=lora.alpha, target_modules=targets, lora_dropout=0.0, init_lora_weights=True, **settings
    )


def copy_into_peft(ours, theirs, names: dict[str, str]) -> dict[str, torch.nn.Parameter]:
    """Give peft's A and B our values.  {our name: their parameter}"""
    pairs, their_parts = {}, dict(theirs.named_parameters())
    for name, p in trainable(ours).items():
        block, part, factor = name.split(".")[1], ".".join(name.split(".")[2:4]), name[-1]
        (there,) = [n for n in their_parts if f".{block}.{names[part]}.lora_{factor}." in n]
        their_parts[there].data.copy_(p.data)
        pairs[name] = their_parts[there]
    return pairs


def assert_same(ours, theirs, pairs, ours_out, theirs_out, idx):
    assert_close(ours_out, theirs_out, rtol=0, atol=1e-5)
    loss_of(ours_out, idx).backward()
    loss_of(theirs_out, idx).backward()
    assert len(pairs) == len(trainable(ours)) == sum(p.requires_grad for p in theirs.parameters())
    for name, p in trainable(ours).items():
        assert p.grad.abs().max() > 1e-4
        assert_close(p.grad, pairs[name].grad, rtol=0, atol=1e-5)


@pytest.mark.parametrize("to", [("attn.q", "attn.v"), ("attn.k", "attn.o", "mlp.up", "mlp.down")])
def test_equals_peft(make, idx, shake, to):
    """peft's LoRA put into a second copy of the same plain model: outputs, gradients, merged weights."""
    lora, names = LoRA(rank=3, alpha=7, to=to), {part: part for part in to}
    ours = shake(lora.attach(make()))
    theirs = peft.inject_adapter_in_model(peft_config(lora, names), make())
    pairs = copy_into_peft(ours, theirs, names)
    assert_same(ours, theirs, pairs, ours(idx), theirs(idx), idx)
    their_delta = {
        n: m.get_delta_weight("default") for n, m in theirs.named_modules() if hasattr(m, "get_delta_weight")
    }
    before = make().state_dict()
    for name, weight in merge(ours).state_dict().items():
        delta = their_delta.get(name.removesuffix(".weight"), 0)
        assert_close(weight, before[name] + delta, rtol=0, atol=1e-5)


@pytest.mark.parametrize("style", ["llama"], indirect=True)
def test_equals_peft_on_transformers(model, idx, shake, tmp_path):
    """The whole of theirs: peft's LoraModel on transformers' LLaMA with grouped queries, from the same files."""
    from transformers import LlamaForCausalLM

    model.save_pretrained(tmp_path)
    lora, names = LoRA(rank=4, alpha=16), {"attn.q": "self_attn.q_proj", "attn.v": "self_attn.v_proj"}
    theirs = peft.get_peft_model(
        LlamaForCausalLM.from_pretrained(tmp_path, dtype=torch.float32), peft_config(lora, names)
    )
    ours = shake(lora.attach(model))
    pairs = copy_into_peft(ours, theirs, names)
    assert_same(ours, theirs, pairs, ours(idx), theirs(idx).logits, idx)


def test_formula():
    """W x + s B A x, on a rectangular weight, against the product written out; the frozen path isn't scaled."""
    torch.manual_seed(0)
    base, branch, x = torch.nn.Linear(7, 5), LowRank(7, 5, rank=3), torch.randn(2, 4, 7)
    torch.nn.init.normal_(branch.B)
    expected = base(x) + 2 * torch.einsum("or,ri,bti->bto", branch.B, branch.A, x)
    part = Parallel(base, branch, scale=2.0)
    assert_close(part(x), expected)
    assert_close(part.merged()(x), expected)


def test_starts_as_its_base(make, idx):
    """Exactly; only B has a gradient at first, and A has one as soon as B has moved."""
    model = LoRA(rank=3).attach(make())
    assert torch.equal(model(idx), make()(idx))
    a, b = (torch.cat([p.flatten() for n, p in trainable(model).items() if n.endswith(f)]) for f in ("A", "B"))
    assert b.count_nonzero() == 0
    assert a.abs().max() <= model.c.width**-0.5
    assert 0.4 < a.std() / model.c.width**-0.5 < 0.7  # of a uniform distribution: 0.58
    optimizer = torch.optim.SGD(trainable(model).values(), 0.1)
    for a_moves in (False, True):
        optimizer.zero_grad()
        loss_of(model(idx), idx).backward()
        for name, p in trainable(model).items():
            assert bool(p.grad.count_nonzero()) == (a_moves or name.endswith("B")), name
        optimizer.step()


def test_linear_in_alpha(make, shake):
    """Twice the alpha is twice the change of the weights, and the change is the same in the merged model."""
    changes = []
    for alpha in (4, 8):
        merged = merge(shake(LoRA(rank=3, alpha=alpha).attach(make())))
        changes.append(merged.trunk[1].attn.v.weight - make().trunk[1].attn.v.weight)
    assert changes[0].abs().max() > 0.1
    assert_close(changes[1], 2 * changes[0])


def test_rank_and_place_of_the_change(make, shake):
    """Rank r in every q and v, nothing anywhere else."""
    before = make().state_dict()
    for name, weight in merge(shake(LoRA(rank=3).attach(make()))).state_dict().items():
        change = weight - before[name]
        if name.endswith(("attn.q.weight", "attn.v.weight")):
            assert torch.linalg.matrix_rank(change.double(), rtol=1e-5) == 3
        else:
            assert change.count_nonzero() == 0, name


def test_count(make):
    """r (d_in + d_out) a matrix; the published size on GPT-3 is 4.7 M for q and v at r = 1, of 96 layers."""
    c = make().c
    d, d_q, d_v = c.width, c.heads * c.head_width, c.kv_heads * c.head_width
    assert counts(LoRA(rank=3).attach(make())).trainable == c.layers * 3 * ((d + d_q) + (d + d_v))
    assert sum(p.numel() for p in LowRank(12288, 12288, 1).parameters()) * 2 * 96 == 4_718_592


def test_never_forms_the_product():
    """What a training step keeps is x and A x: nothing of the size of the weight, and nothing for its gradient."""
    base, x = torch.nn.Linear(400, 300), torch.randn(2, 3, 400, requires_grad=True)
    freeze(base)
    part = Parallel(base, LowRank(400, 300, rank=5), scale=2.0)
    assert kept_bytes(lambda: part(x).sum(), part) == 4 * (x.numel() + 2 * 3 * 5)


def test_dropout_on_the_branch_alone(make, idx, shake):
    """Only the branch drops inputs, only in training: where it is silent, the base isn't disturbed."""
    silent = LoRA(rank=3, dropout=0.5).attach(make()).train()  # B = 0
    assert torch.equal(silent(idx), make().train()(idx))
    model = shake(silent)
    assert not torch.equal(model(idx), model(idx))
    model.eval()
    out = model(idx)
    assert torch.equal(model(idx), out)
    model.train()
    assert_close(merge(model)(idx), out, rtol=0, atol=1e-5)  # merging while dropout is on folds no dropped numbers


def test_merge_twice_and_eval_change_nothing(model, idx, shake):
    """merge is a verb that is said once: neither eval() nor another merge adds the change again."""
    shake(LoRA(rank=3).attach(model))
    merged = merge(model)(idx)
    assert attached(model) == ()
    assert torch.equal(merge(model).train().eval()(idx), merged)


def test_layers(make):
    model = LoRA(rank=2, layers=[0, 2]).attach(make())
    assert {name.split(".")[1] for name in trainable(model)} == {"0", "2"}
    detach(model)
    with pytest.raises(ValueError, match="layers 0 to 2, no layer 3"):
        LoRA(layers=[1, 3]).attach(model)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"rank": 0}, "rank must be at least 1"),
        ({"rank": 2.5}, "rank should be int"),
        ({"rank": True}, "rank should be int"),
        ({"alpha": "16"}, "alpha should be float"),
        ({"alpha": float("inf")}, "alpha should be float"),
        ({"dropout": 1.0}, "dropout in"),
        ({"to": "attn.q"}, "to should be a list"),
        ({"layers": [0.5]}, "layers should be"),
    ],
)
def test_refuses_numbers(settings, reason):
    with pytest.raises(ValueError, match=reason):
        LoRA(**settings)


@pytest.mark.parametrize(
    ("to", "reason"),
    [(["attn.w"], "no part called attn.w"), (["norm1"], "a Linear"), (["attn"], "a Linear"), ([], "nothing to train")],
)
def test_refuses_places(make, idx, to, reason):
    model = make()
    with pytest.raises(ValueError, match=reason):
        LoRA(to=["attn.q", *to] if to else []).attach(model)
    assert model.state_dict().keys() == make().state_dict().keys()
    assert all(p.requires_grad for p in model.parameters())
    assert torch.equal(model(idx), make()(idx))
