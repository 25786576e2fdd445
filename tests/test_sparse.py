"""A few chosen numbers of a weight: the formula, the choice, and what a file may say of it."""

import pytest
import torch
from torch.testing import assert_close

from minipeft.selective.fishmask import FishMask
from minipeft.sparse import Sparse, largest, positions, sparsify
from minipeft.surgery import attached, freeze, merge, trainable


def test_formula():
    """The chosen numbers get theirs added, the others keep every bit; a gradient reaches the values alone."""
    torch.manual_seed(0)
    weight, where = torch.randn(3, 5), torch.tensor([0, 4, 11])
    sparse = Sparse(where, torch.tensor([1.0, -2.0, 3.0]))
    out = sparse(weight)
    expected = weight.clone()
    expected[0, 0] += 1
    expected[0, 4] -= 2
    expected[2, 1] += 3
    assert torch.equal(out, expected)
    g = torch.randn(3, 5)
    (out * g).sum().backward()
    assert torch.equal(sparse.values.grad, g.flatten()[where])
    assert sparse.where.dtype == torch.int32


def test_gradcheck():
    weight = torch.randn(4, 3, dtype=torch.double)
    sparse = Sparse(torch.tensor([1, 5, 7])).double()
    assert torch.autograd.gradcheck(
        lambda v: torch.func.functional_call(sparse, {"values": v}, weight).sin(),
        torch.randn(3).double().requires_grad_(),
    )


@pytest.mark.parametrize("count", [1, 7, 39, 40])
def test_largest_is_global_and_exact(count):
    """Against a sort of all of them together."""
    torch.manual_seed(0)
    scores = {"a": torch.rand(4, 5), "b": 0.1 * torch.rand(7), "c": 10 * torch.rand(3, 4), "d": torch.zeros(1)}
    ranked = sorted(((s, n, i) for n, t in scores.items() for i, s in enumerate(t.flatten().tolist())), reverse=True)
    expected = {(n, i) for _, n, i in ranked[:count]}
    where = largest(scores, count)
    assert {(n, i) for n, w in where.items() for i in w.tolist()} == expected
    assert all(len(w) for w in where.values())


def test_ties_do_not_change_the_count():
    where = largest({"a": torch.ones(3, 4), "b": torch.ones(5)}, 6)
    assert sum(map(len, where.values())) == 6


def test_one_choice(make, idx, shake):
    """Two methods that choose would have to share the names in a file: the second is refused, and leaves no trace."""
    model = shake(FishMask(density=0.01).attach(make()))
    out = model(idx)
    with pytest.raises(ValueError, match="it can carry one choice"):
        sparsify(model, {"norm.weight": torch.tensor([0])})
    assert torch.equal(model(idx), out) and attached(model) == (FishMask(density=0.01),)


def test_positions_in_a_file(make):
    """What is saved is found again, wrapped or not; what lies outside is refused."""
    model = make()
    freeze(model)
    where = {"tokens.weight": torch.tensor([3, 800]), "trunk.1.mlp.up.weight": torch.tensor([5])}
    sparsify(model, where)
    state = model.state_dict()
    found = positions(make(), state)
    assert found.keys() == where.keys() and all(torch.equal(w.int(), found[n]) for n, w in where.items())
    wrapped = {name.replace("trunk.1.mlp.up", "trunk.1.base.mlp.up.base"): t for name, t in state.items()}
    assert positions(make(), wrapped).keys() == where.keys()
    name = "trunk.1.mlp.up.parametrizations.weight.0.where"
    size = make().trunk[1].mlp.up.weight.numel()
    for bad in ([-1], [size], [], [[1]], [1.0]):
        with pytest.raises(
            ValueError, match=f"positions in trunk.1.mlp.up.weight should be numbers from 0 to {size - 1}"
        ):
            positions(make(), state | {name: torch.tensor(bad, dtype=None if bad == [1.0] else torch.int32)})


def test_first_values(make, idx):
    """Given first values are there at once, and fold to the same weight."""
    model = make()
    freeze(model)
    sparsify(model, {"tokens.weight": torch.tensor([3, 5])}, {"tokens.weight": torch.tensor([1.0, -1.0])})
    assert trainable(model).keys() == {"tokens.parametrizations.weight.0.values"}
    change = (merge(model).tokens.weight - make().tokens.weight).flatten()
    assert_close(change[[3, 5]], torch.tensor([1.0, -1.0]))
    assert change.count_nonzero() == 2
