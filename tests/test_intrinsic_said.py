"""Intrinsic SAID: Fastfood against its dense matrices, its gradients, and where the budget goes."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close
from torch.utils.flop_counter import FlopCounterMode

from minipeft import delta
from minipeft.measure import counts, kept_bytes
from minipeft.reparametrization import intrinsic_said
from minipeft.reparametrization.intrinsic_said import Fastfood, IntrinsicSAID, hadamard, power_of_two, spread
from minipeft.surgery import detach, merge, originals, trainable


def sylvester(n: int) -> torch.Tensor:
    """By bits: (-1) to the number of ones that i and j share."""
    return torch.tensor([[(-1.0) ** (i & j).bit_count() for j in range(n)] for i in range(n)], dtype=torch.double)


def fastfood(shape, dims, scaled=False, seed=0) -> Fastfood:
    z = torch.nn.Parameter(torch.zeros(dims))
    return Fastfood(torch.zeros(shape), z, scaled, torch.Generator().manual_seed(seed))


def dense(shape, dims, seed=0) -> torch.Tensor:
    """c H G Pi H B written out, of size n each, from the same draws: (D, d'), in fp64."""
    size, draws = math.prod(shape), torch.Generator().manual_seed(seed)
    n = max(power_of_two(size), power_of_two(dims))
    b = torch.eye(n, dtype=torch.double)[:, :dims] * (torch.randint(0, 2, (dims,), generator=draws) * 2.0 - 1)
    pi = torch.eye(n, dtype=torch.double)[torch.randperm(n, generator=draws)]
    g = torch.randn(n, generator=draws).double()
    c = 1 / (size * g.square().sum()).sqrt()
    return (c * sylvester(n) @ g.diag() @ pi @ sylvester(n) @ b)[:size]


def columns(food: Fastfood, shape) -> torch.Tensor:
    """P as the module applies it: (D, d')."""
    out = []
    for j in range(len(food.z)):
        with torch.no_grad():
            food.z.zero_()[j] = 1.0
        out.append(food(torch.zeros(shape, dtype=food.z.dtype)).detach().flatten())
    return torch.stack(out, 1)


# -- the transform ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [1, 2, 4, 16, 32, 128, 512, 1024, 2048])
def test_hadamard(n):
    """Against the dense matrix; twice is n times; its gradient is H again."""
    torch.manual_seed(0)
    x = torch.randn(n, dtype=torch.double, requires_grad=True)
    assert_close(hadamard(x), sylvester(n) @ x)
    assert_close(hadamard(hadamard(x)), n * x)
    g = torch.randn(n, dtype=torch.double)
    assert_close(torch.autograd.grad(hadamard(x), x, g)[0], sylvester(n) @ g)


@pytest.mark.parametrize("n", [32, 64, 2048])
def test_more_numbers_than_the_cache_holds(n, monkeypatch):
    """In eight parts, each of which is too long for the cache again, or not."""
    torch.manual_seed(0)
    x, order, normal = torch.randn(16, dtype=torch.double), torch.randint(16, (n,)), torch.randn(n, dtype=torch.double)
    for cache in (16, 31, 512, 2048):
        monkeypatch.setattr(intrinsic_said, "CACHE", cache)
        assert_close(spread(x, order, normal), sylvester(n) @ (x[order] * normal))


def test_hadamard_by_hand():
    assert hadamard(torch.tensor([1.0, 2.0, 3.0, 4.0])).tolist() == [10, -2, -4, 0]


def test_n_log_n():
    """Four times the length costs at most five times the operations, far from sixteen."""
    operations = []
    for n in (2**12, 2**14, 2**16, 2**18):
        with FlopCounterMode(display=False) as counter:
            hadamard(torch.zeros(n))
        operations.append(counter.get_total_flops())
    assert operations[0] > 0
    assert all(b <= 5 * a for a, b in zip(operations, operations[1:], strict=False))


def test_power_of_two():
    for k in (0, 1, 5, 29, 31, 39, 47):  # where logarithms round
        assert power_of_two(2**k) == 2**k and power_of_two(2**k + 1) == 2 ** (k + 1)


@pytest.mark.parametrize(("shape", "dims"), [((8, 16), 5), ((7, 13), 20), ((5,), 12), ((3, 40), 120), ((20, 30), 33)])
def test_fastfood_is_its_matrices(shape, dims):
    """Sizes that are powers of two and not, and a tensor smaller than z, of which nothing is cut off."""
    p = columns(fastfood(shape, dims).double(), shape)
    assert_close(p, dense(shape, dims), rtol=1e-5, atol=1e-6)  # its normals are drawn and scaled in fp32
    assert torch.linalg.matrix_rank(p) == min(p.shape)


@pytest.mark.parametrize(("shape", "exact"), [((16, 16), True), ((15, 17), False), ((50, 9), False)])
def test_length_is_kept(shape, exact):
    """Every column of P is of length 1: exactly where the size is a power of two, else about."""
    lengths = columns(fastfood(shape, 40), shape).norm(dim=0)
    assert_close(lengths, torch.ones(40), rtol=0, atol=1e-5 if exact else 0.35)
    assert abs(lengths.square().mean() - 1) < 0.1


def test_linear_and_fixed():
    """P (a + b) = P a + P b, the same at each call, and of one seed the same P."""
    torch.manual_seed(0)
    food, zero = fastfood((9, 11), 20), torch.zeros(9, 11)
    a, b = torch.randn(20), torch.randn(20)

    def p(food, z):
        food.z.data.copy_(z)
        return food(zero).detach()

    assert_close(p(food, a + b), p(food, a) + p(food, b))
    assert torch.equal(p(food, a), p(food, a)) and torch.equal(p(food, a), p(fastfood((9, 11), 20), a))
    assert (p(food, a) - p(fastfood((9, 11), 20, seed=1), a)).abs().max() > 0.1


def test_gradcheck():
    torch.manual_seed(0)
    food, weight = fastfood((5, 7), 9, scaled=True).double(), torch.randn(5, 7, dtype=torch.double)

    def f(z, scale):
        return torch.func.functional_call(food, {"z": z, "scale": scale}, weight).sin()

    z = torch.randn(9, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(f, (z, torch.tensor(1.3, dtype=torch.double, requires_grad=True)))


def test_nothing_large_is_kept():
    """For the way back autograd keeps z and the scale, whatever the size of the weight; and a fixed corner of H."""
    food, weight = fastfood((256, 256), 50, scaled=True), torch.zeros(256, 256)
    assert kept_bytes(lambda: food(weight), food) < 4000 < weight.nbytes / 50


# -- the method -------------------------------------------------------------------------------------------------------


def parts(model) -> dict[str, Fastfood]:
    return {name: part.parametrizations[key][0] for name, part, key, _ in originals(model)}


@pytest.mark.parametrize("scales", [True, False])
def test_budget(make, scales):
    """All in all `dims` numbers: z, and of SAID a scale for each tensor. The tied embedding is one tensor."""
    tensors = len(list(make().parameters()))
    model = IntrinsicSAID(dims=200, scales=scales).attach(make())
    sizes = sorted(p.numel() for p in trainable(model).values())
    assert sizes == [1] * tensors + [200 - tensors] if scales else sizes == [200]
    assert counts(model).trainable == 200
    assert len({id(food.z) for food in parts(model).values()}) == 1


def test_first_gradients(make, idx):
    """z first: the sum of all P_i' g_i, g_i the plain gradient, whatever the tensors' sizes. No scale moves yet."""
    model, plain = IntrinsicSAID(dims=150).attach(make()), make()
    for m in (model, plain):
        F.cross_entropy(m(idx).flatten(0, 1), idx.roll(-1, 1).flatten()).backward()
    dims, expected = len(parts(model)["norm.weight"].z), 0
    food = parts(model)
    assert all(f.scale.item() == 1 and f.scale.grad == 0 for f in food.values())
    given = food["norm.weight"].z.grad.clone()
    for name, p in plain.named_parameters():
        f = food[name]
        with torch.enable_grad():
            z = torch.zeros(dims, requires_grad=True)
            change = torch.func.functional_call(f, {"z": z}, torch.zeros_like(p))
        expected += torch.autograd.grad(change, z, p.grad)[0]
    assert given.abs().max() > 1e-3
    assert_close(given, expected, rtol=1e-4, atol=1e-5)


def test_every_tensor_moves_as_far(make, shake):
    """|theta_i - theta_0i| is about |lambda_i| |z|, from 20 numbers to 1,000."""
    model = shake(IntrinsicSAID(dims=300).attach(make()), std=0.3)
    lengths = {name: (food.scale.abs() * food.z.norm()).item() for name, food in parts(model).items()}
    before = make().state_dict()
    for name, p in merge(model).named_parameters():
        assert 0.4 < (p - before[name]).norm() / lengths[name] < 1.7, name


def test_tensors_move_apart(make, shake):
    """Tensors of one shape have directions of their own; their changes are of full rank."""
    model = merge(shake(IntrinsicSAID(dims=300).attach(make())))
    changes = [(model.trunk[i].mlp.up.weight - make().trunk[i].mlp.up.weight).detach() for i in range(3)]
    for i, j in ((0, 1), (0, 2), (1, 2)):
        assert F.cosine_similarity(changes[i].flatten(), changes[j].flatten(), dim=0).abs() < 0.15
    assert all(torch.linalg.matrix_rank(c) == min(c.shape) for c in changes)


def test_reachable_changes(make):
    """As many independent directions over all tensors together as z has numbers."""
    model = IntrinsicSAID(dims=90).attach(make())
    food, before = parts(model), make().state_dict()
    z, rows = food["norm.weight"].z, []
    for j in range(len(z)):
        with torch.no_grad():
            z.zero_()[j] = 1.0
            rows.append(torch.cat([(f(before[n]) - before[n]).flatten() for n, f in food.items()]))
    assert torch.linalg.matrix_rank(torch.stack(rows)) == len(z)


def test_file(make, idx, shake, tmp_path):
    """`dims` floats and the seed; the random parts are drawn again."""
    model = shake(IntrinsicSAID(dims=200, scales=False, seed=7).attach(make()), std=0.2)
    assert delta.save(model, tmp_path) < 4 * 200 + 1200
    torch.manual_seed(99)
    assert torch.equal(delta.load(make(), tmp_path)(idx), model(idx))
    assert not torch.equal(detach(model)(idx), delta.load(make(), tmp_path)(idx))
    other = IntrinsicSAID(dims=200, scales=False, seed=8).attach(make())
    other.load_state_dict(delta.load(make(), tmp_path).state_dict())
    assert not torch.allclose(other(idx), delta.load(make(), tmp_path)(idx))


@pytest.mark.parametrize("scales", [True, False])
def test_refuses(make, scales):
    """A budget that the scales alone use up, or none."""
    tensors = len(list(make().parameters()))
    small = tensors if scales else 0
    model = make()
    with pytest.raises(ValueError, match=f"dims must be at least {small + 1} for this model"):
        IntrinsicSAID(dims=small, scales=scales).attach(model)
    assert all(p.requires_grad for p in model.parameters())
    IntrinsicSAID(dims=small + 1, scales=scales).attach(model)
