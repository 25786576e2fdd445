"""KronA: against peft's LoKr, against the product written out, and what is true of Kronecker products."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from minipeft.measure import counts, kept_bytes
from minipeft.reparametrization.krona import KronA, Kronecker, divisor
from minipeft.surgery import merge, trainable


def loss_of(logits, idx):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), idx[:, 1:].flatten())


@pytest.mark.parametrize(
    ("to", "factor"), [(("attn.q", "attn.v"), None), (("attn.k", "mlp.up", "mlp.down"), (2, 2))], ids=["near", "2x2"]
)
def test_equals_peft(make, idx, shake, to, factor):
    """peft's LoKr with two whole factors: outputs, gradients, merged weights.  Its scale is alpha / r."""
    from peft import LoKrConfig, inject_adapter_in_model  # late, it takes seconds

    krona = KronA(scale=1.7, to=to, factor=factor)
    config = LoKrConfig(r=100, alpha=170, target_modules=list(to), decompose_factor=factor[0] if factor else -1)
    ours, theirs = shake(krona.attach(make())), inject_adapter_in_model(config, make())
    pairs, their_parts = {}, dict(theirs.named_parameters())
    for name, p in trainable(ours).items():
        place = name.rpartition(".branch.")[0].removesuffix(".base")
        pairs[name] = their_parts[f"{place}.lokr_w{'AB'.index(name[-1]) + 1}.default"]
        pairs[name].data.copy_(p.data)
    assert len(pairs) == sum(p.requires_grad for p in theirs.parameters())
    for model in (ours, theirs):
        loss_of(model(idx), idx).backward()
    assert_close(ours(idx), theirs(idx), rtol=0, atol=1e-5)
    for name, p in trainable(ours).items():
        assert p.grad.abs().max() > 1e-4
        assert_close(p.grad, pairs[name].grad, rtol=0, atol=1e-5)
    changes = {n: m.get_delta_weight("default") for n, m in theirs.named_modules() if hasattr(m, "get_delta_weight")}
    before = make().state_dict()
    for name, weight in merge(ours).state_dict().items():
        assert_close(weight, before[name] + changes.get(name.removesuffix(".weight"), 0), rtol=0, atol=1e-5)


@pytest.mark.parametrize("factor", [None, (2, 3), (6, 1), (1, 12), (5, 2)])
def test_formula(factor):
    """s (A (x) B) x with unequal sides, number by number: what stands at row (i, k), column (j, l) is A_ij B_kl."""
    torch.manual_seed(0)
    d_out, d_in = (30, 12)
    branch, x = Kronecker(d_in, d_out, 1.5, factor), torch.randn(2, 5, d_in).double()
    torch.nn.init.normal_(branch.double().A)
    (a_out, a_in), (b_out, b_in) = branch.A.shape, branch.B.shape
    assert (a_out * b_out, a_in * b_in) == (d_out, d_in)
    product = torch.empty(d_out, d_in).double()
    for row in range(d_out):
        for column in range(d_in):
            a = branch.A[row // b_out, column // b_in]
            product[row, column] = 1.5 * a * branch.B[row % b_out, column % b_in]
    assert_close(branch.matrix(), product)
    assert_close(branch(x), x @ product.T)
    flipped = x.flip(1).transpose(0, 1)  # not contiguous
    assert_close(branch(flipped), flipped @ product.T)


def test_by_hand():
    """x (A (x) B) for x = 1..6, in small integers; our A and B stand before x, so they are the transposed ones."""
    branch = Kronecker(6, 6, 1.0, (3, 2))
    branch.A.data = torch.tensor([[1.0, 2, 0], [0, 1, -1]]).T.contiguous()
    branch.B.data = torch.tensor([[1.0, 1], [0, 2], [1, 0]]).T.contiguous()
    assert branch(torch.arange(1.0, 7)).tolist() == [4, 5, 18, 24, -10, -14]


def test_not_commutative():
    """B (x) A is another matrix than A (x) B, though of the same size."""
    one, other = Kronecker(12, 12, 1.0, (3, 3)), Kronecker(12, 12, 1.0, (4, 4))
    torch.nn.init.normal_(one.A)
    other.A.data, other.B.data = one.B.data, one.A.data
    assert one.matrix().shape == other.matrix().shape
    assert not torch.allclose(one.matrix(), other.matrix())


def test_rank_is_a_product():
    """rank(A (x) B) = rank A rank B: nearly square factors reach full rank, thin ones can't."""
    torch.manual_seed(0)
    for factor, rank in (((4, 4), 16), ((2, 8), 4), ((16, 1), 1)):
        branch = Kronecker(16, 16, 1.0, factor).double()
        torch.nn.init.normal_(branch.A)
        ranks = [torch.linalg.matrix_rank(m).item() for m in (branch.A, branch.B, branch.matrix())]
        assert ranks[0] * ranks[1] == ranks[2] == rank
    branch = Kronecker(16, 16, 1.0, (4, 4)).double()
    branch.A.data[:2] = torch.randn(1, 4)  # of rank 1 now: two rows alike, two of zeros
    assert torch.linalg.matrix_rank(branch.matrix()) == 4


def test_starts_as_its_base(make, idx):
    """Exactly; A is zero and moves first, B is U(-1/sqrt(b_in), 1/sqrt(b_in))."""
    model = KronA().attach(make())
    assert torch.equal(model(idx), make()(idx))
    loss_of(model(idx), idx).backward()
    for name, p in trainable(model).items():
        assert bool(p.count_nonzero()) == name.endswith("B")
        assert bool(p.grad.count_nonzero()) == name.endswith("A")
    B = Kronecker(400, 400, 1.0).B
    assert B.abs().max() <= 20**-0.5 and abs(B.std() * 20**0.5 - 3**-0.5) < 0.05


def test_scale_is_the_branch_s_alone(make, shake):
    """Twice the scale is twice the change of the weights."""
    changes = [
        merge(shake(KronA(scale=s).attach(make()))).trunk[1].attn.v.weight - make().trunk[1].attn.v.weight
        for s in (1, 2)
    ]
    assert changes[0].abs().max() > 0.1
    assert_close(changes[1], 2 * changes[0])


def test_count(make, shake):
    """a_out a_in + b_out b_in a matrix; GPT-2 small's q and v take 38,400, and their change can be of full rank."""
    c = make().c
    sides = [c.heads * c.head_width, c.kv_heads * c.head_width]
    a = [divisor(d) * divisor(c.width) for d in sides]
    b = [d // divisor(d) * (c.width // divisor(c.width)) for d in sides]
    model = shake(KronA().attach(make()))
    assert counts(model).trainable == c.layers * (sum(a) + sum(b))
    assert counts(model).changed == c.layers * sum(sides) * c.width
    ranks = [min(divisor(d), divisor(c.width)) * min(d // divisor(d), c.width // divisor(c.width)) for d in sides]
    assert counts(model).rank == max(ranks)
    assert sum(p.numel() for p in Kronecker(768, 768, 1.0).parameters()) * 2 * 12 == 38_400
    assert [divisor(n) for n in (1, 7, 16, 18, 768)] == [1, 1, 4, 3, 24]


def test_never_forms_the_product():
    """What a training step keeps is of the size of the tokens, not of the weight."""
    branch, x = Kronecker(400, 400, 1.0), torch.randn(2, 3, 400)
    kept = kept_bytes(lambda: branch(x).sum(), branch)
    assert kept <= 4 * (2 * x.numel() + branch.A.numel()) < 400 * 400 * 4 / 20


@pytest.mark.parametrize("factor", [(5, 4), (3,), (0, 4), (3, 4, 1), (-3, 4)])
def test_refuses_factors(make, idx, factor):
    model = make()
    with pytest.raises(ValueError, match="two divisors of a weight's sides"):
        KronA(factor=factor).attach(model)
    assert model.state_dict().keys() == make().state_dict().keys()
    assert torch.equal(model(idx), make()(idx))
