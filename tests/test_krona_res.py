"""KronA^B and KronA^B_res: against the sum written out."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from minipeft.measure import counts
from minipeft.reparametrization.krona import divisor
from minipeft.reparametrization.krona_res import KronARes
from minipeft.surgery import merge, trainable


def loss_of(logits, idx):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), idx[:, 1:].flatten())


@pytest.mark.parametrize("residual", [True, False], ids=["res", "B"])
def test_dense(make, shake, residual):
    """MLP(x) + s (A (x) B) x + r x with the product formed: values, and the gradients of A, B and r."""
    model = shake(KronARes(scale=1.5, factor=(4, 2), residual=residual).attach(make()))
    mlp, plain, x = model.trunk[1].mlp, make().trunk[1].mlp, torch.randn(2, 5, model.c.width)
    numbers = {name[-1]: p for name, p in trainable(model).items() if ".1.mlp." in name}
    assert set(numbers) == ({"A", "B", "r"} if residual else {"A", "B"})
    r = numbers.get("r", torch.zeros(()))
    expected = plain(x) + 1.5 * x @ torch.kron(numbers["A"], numbers["B"]).T + r * x
    weights = torch.randn(2, 5, model.c.width)
    assert_close(mlp(x), expected)
    for ours, dense in zip(
        torch.autograd.grad((mlp(x) * weights).sum(), list(numbers.values())),
        torch.autograd.grad((expected * weights).sum(), list(numbers.values())),
        strict=True,
    ):
        assert_close(ours, dense, rtol=1e-4, atol=1e-4)


def test_block(make, shake):
    """It reads what the MLP reads, the norm of the stream, and adds to the stream beside it."""
    from minipeft.gpt import turns

    model, plain = shake(KronARes().attach(make())), make()
    x = torch.randn(2, 5, model.c.width)
    turn = turns(model.c, torch.arange(5), x.dtype) if model.c.style == "llama" else None
    block = plain.trunk[1]
    u = x + block.attn(block.norm1(x), turn)
    branch = model.trunk[1].mlp.branch
    expected = u + block.mlp(block.norm2(u)) + branch(block.norm2(u))
    assert_close(model.trunk[1](x, turn), expected)


@torch.no_grad()
def test_linear(model, shake):
    """The branch has no activation and no bias, and sees each token alone."""
    shake(KronARes().attach(model))
    branch, (x, y) = model.trunk[0].mlp.branch, torch.randn(2, 3, 5, model.c.width)
    assert_close(branch(2 * x - 3 * y), 2 * branch(x) - 3 * branch(y), rtol=1e-4, atol=1e-4)
    assert_close(branch(x)[:, 2], branch(x[:, 2]))


def test_without_its_residual_it_is_krona_b(make, idx, shake):
    """r = 0 is KronA^B, of the same A and B."""
    res, b = (shake(KronARes(residual=residual).attach(make())) for residual in (True, False))
    for name, p in trainable(b).items():
        p.data.copy_(trainable(res)[name.replace(".branch.", ".branch.product.")])
    assert not torch.allclose(res(idx), b(idx))
    for name, p in trainable(res).items():
        if name.endswith(".r"):
            p.data.zero_()
    assert torch.equal(res(idx), b(idx))


def test_start(make, idx):
    """A and r are zero, and both learn from the first step on; B only after A."""
    model = KronARes().attach(make())
    loss_of(model(idx), idx).backward()
    for name, p in trainable(model).items():
        assert bool(p.count_nonzero()) == name.endswith("B"), name
        assert bool(p.grad.count_nonzero()) == (not name.endswith("B")), name


def test_count(make, shake):
    """a_out a_in + b_out b_in + 1 a layer, each layer its own; nothing of the base changes.  GPT-2 small: 19,212."""
    c = make().c
    a, b = divisor(c.width) ** 2, (c.width // divisor(c.width)) ** 2
    for residual in (True, False):
        given = counts(shake(KronARes(residual=residual).attach(make())))
        assert given.trainable == given.changed == c.layers * (a + b + residual)
        assert given.rank is None
    with torch.device("meta"):
        branch = KronARes().branch(768)
    assert 12 * sum(p.numel() for p in branch.parameters()) == 19_212


def test_merge_refuses(model):
    KronARes().attach(model)
    with pytest.raises(ValueError, match="KronARes cannot be merged: its product goes around"):
        merge(model, whole=True)


def test_refuses_factors(model):
    with pytest.raises(ValueError, match="two divisors of a weight's sides"):
        KronARes(factor=(7, 4)).attach(model)
