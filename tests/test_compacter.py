"""Compacter: against AdapterHub's library, and what is true of sums of Kronecker products alone."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from minipeft import delta
from minipeft.additive.adapters import Bottleneck
from minipeft.hybrid.compacter import PHM, Compacter
from minipeft.measure import counts, rank
from minipeft.surgery import added

CASES = {
    "compacter": Compacter(size=8, norms=False),
    "compacter++": Compacter(size=8, n=2, rank=2, to=["block"], norms=False),  # their place of it is Pfeiffer's
    "phm": Compacter(size=8, n=2, rank=None, shared=False, norms=False),
}


def loss_of(logits, idx):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), idx[:, 1:].flatten())


@pytest.mark.parametrize("case", CASES)
def test_equals_adapterhub(equals_adapterhub, case):
    """Which leaves the norms frozen."""
    equals_adapterhub(CASES[case], "compacter", case)


@pytest.mark.parametrize("rank", [1, 3, None])
def test_sum_of_kronecker_products(rank):
    """W is torch.kron summed, A on the left, and the product that never forms it is the same, and its gradients."""
    torch.manual_seed(0)
    phm, x = PHM(12, 8, n=4, rank=rank, std=1.0).double(), torch.randn(2, 5, 12).double()
    torch.nn.init.normal_(phm.bias)
    B = phm.B if rank is None else torch.stack([s @ t for s, t in zip(phm.s, phm.t, strict=True)])
    weight = sum(torch.kron(a, b) for a, b in zip(phm.A, B, strict=True))
    assert_close(phm.weight(), weight)
    assert_close(phm(x), x @ weight.T + phm.bias)
    ours, theirs = (
        torch.autograd.grad(y.sin().sum(), list(phm.parameters())) for y in (phm(x), x @ weight.T + phm.bias)
    )
    for grad, expected in zip(ours, theirs, strict=True):
        assert_close(grad, expected)


@pytest.mark.parametrize("r, top", [(1, 9), (2, 18), (None, 24)])
def test_rank(r, top):
    """At most n^2 r, however wide the matrix is; a whole B has no such bound."""
    torch.manual_seed(0)
    assert rank(PHM(48, 24, n=3, rank=r, std=1.0).double().weight().detach()) == top


def test_one_linear_of_low_rank():
    """n = 1 is s t times a number."""
    torch.manual_seed(0)
    phm, x = PHM(7, 5, n=1, rank=3, std=1.0), torch.randn(2, 4, 7)
    assert_close(phm(x), phm.A.item() * x @ phm.t[0].T @ phm.s[0].T)


def test_shared_factors(make, idx, shake):
    """One and the same tensor in every layer and both matrices, there once, its gradient the sum of all layers'."""
    model = shake(Compacter(n=2, size=6).attach(make()))
    phms = [m for m in model.modules() if isinstance(m, PHM)]
    assert len(phms) == 4 * model.c.layers and all(phm.A is phms[0].A for phm in phms)
    assert sum(name.endswith(".A") for name in model.state_dict()) == sum(n.endswith(".A") for n in added(model)) == 1
    loss_of(model(idx), idx).backward()
    for phm in phms[1:]:  # give each its own copy, and see what each adds
        vars(phm)["A"] = phms[0].A.detach().clone().requires_grad_()
    total = phms[0].A.grad.clone()
    phms[0].A.grad = None
    loss_of(model(idx), idx).backward()
    assert all(phm.A.grad.abs().max() > 1e-5 for phm in phms)
    assert_close(sum(phm.A.grad for phm in phms), total, rtol=1e-4, atol=1e-6)


def test_stays_shared_after_loading(make, shake, tmp_path):
    """The copy that comes of a file, of deepcopy or of another type of number shares as the original does."""
    model = shake(Compacter().attach(make()))
    delta.save(model, tmp_path)
    for twin in (delta.load(make(), tmp_path), copy.deepcopy(model), copy.deepcopy(model).bfloat16()):
        first, *others = [m for m in twin.modules() if isinstance(m, PHM)]
        assert all(phm.A is first.A for phm in others)
        assert first.A.dtype == next(twin.parameters()).dtype


def test_count(make):
    """(2 r + 1) (d + m) an adapter and n^3 for all; n^3 a matrix if not shared; the norms if they train."""
    c, m, n = make().c, 8, 4
    norms = (2 * c.layers + 1) * c.width * (2 if c.style == "gpt2" else 1)
    low, whole = 3 * (c.width + m), 2 * c.width * m // n + c.width + m
    for settings, count in (
        ({}, 2 * c.layers * low + n**3 + norms),
        ({"norms": False}, 2 * c.layers * low + n**3),
        ({"norms": False, "rank": 2}, 2 * c.layers * (low + 2 * (c.width + m)) + n**3),
        ({"norms": False, "to": ["mlp"]}, c.layers * low + n**3),
        ({"norms": False, "shared": False}, 2 * c.layers * (low + 2 * n**3)),
        ({"norms": False, "rank": None, "shared": False}, 2 * c.layers * (whole + 2 * n**3)),
        ({"norms": False, "layers": [1]}, 2 * low + n**3),
    ):
        assert counts(Compacter(size=m, n=n, **settings).attach(make())).trainable == count, settings


def test_published_counts():
    """T5-base, 24 layers of 768, 62 norms: 0.073 % of it for Compacter, 0.047 % for ++, 0.179 % for PHM-Adapter."""

    def adapter(n, rank):
        down, up = PHM(768, 24, n, rank, 1.0), PHM(24, 768, n, rank, 1.0)
        return sum(p.numel() for phm in (down, up) for name, p in phm.named_parameters() if name != "A")

    norms, model = 62 * 768, 222_882_048
    assert 48 * adapter(4, 1) + 4**3 + norms == 161_728 < 0.00073 * model
    assert 24 * adapter(4, 1) + 4**3 + norms == 104_704 < 0.00047 * model
    assert 48 * (adapter(12, None) + 2 * 12**3) + norms == 398_976 < 0.0018 * model


def test_near_start(make, idx):
    """A of deviation 1e-4, or 1e-2 if not shared; s and t uniform, as Xavier's with a gain of sqrt(2)."""
    model = Compacter(size=16).attach(make())
    phms = [m for m in model.modules() if isinstance(m, PHM)]
    assert 0.7e-4 < phms[0].A.std() < 1.3e-4
    own = Compacter(size=16, shared=False).attach(make())
    assert 0.9e-2 < torch.stack([m.A for m in own.modules() if isinstance(m, PHM)]).std() < 1.1e-2
    for key in "st":
        scaled = torch.cat(
            [(f * ((f.shape[1] + f.shape[2]) / 12) ** 0.5).flatten() for m in phms for f in [getattr(m, key)]]
        )
        assert 0.95 < scaled.abs().max() <= 1 and abs(scaled.std() - 3**-0.5) < 0.05
    assert all(m.bias.count_nonzero() == 0 for m in phms)
    x = torch.randn(2, 3, model.c.width)
    assert all(m(x).norm() < 1e-3 * x.norm() for m in model.modules() if isinstance(m, Bottleneck))
    assert (model(idx) - make()(idx)).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"size": 6}, "size must be a multiple of n"),
        ({"n": 0}, "n at least 1"),
        ({"rank": 0}, "rank must be at least 1"),
        ({"rank": "whole"}, "rank should be"),
        ({"to": "mlp"}, "to should be a list"),
        ({"activation": "tanh"}, "activation"),
    ],
)
def test_refuses_numbers(settings, reason):
    with pytest.raises(ValueError, match=reason):
        Compacter(**settings)


def test_refuses_a_width(make):
    model = make()
    with pytest.raises(ValueError, match="must be a multiple of n"):
        Compacter(size=14, n=7).attach(model)
    assert model.state_dict().keys() == make().state_dict().keys()
