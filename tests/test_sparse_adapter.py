"""SparseAdapter: which weights stay, and that the others are gone."""

import pytest
import torch
from torch import nn
from torch.nn.utils import prune
from torch.testing import assert_close

from minipeft import delta
from minipeft.additive.adapters import Adapters, Bottleneck
from minipeft.hybrid.sparse_adapter import SparseAdapter, SparseLinear
from minipeft.method import Method
from minipeft.surgery import added, trainable


def linears(model) -> dict[str, SparseLinear]:
    return {name: m for name, m in model.named_modules() if isinstance(m, SparseLinear)}


def dense(linear: SparseLinear) -> torch.Tensor:
    """The weight written out, from what is stored."""
    weight = torch.zeros(linear.shape).flatten()
    weight[linear.weight.where.long()] = linear.weight.values.detach()
    return weight.view(linear.shape)


def labels(idx):
    y = idx.roll(-1, 1)
    y[0, :4] = -100
    return y


def pruned(make, idx, **settings):
    """(the model as it is after the stages' first step, the dense adapters that it was cut from)"""
    method = SparseAdapter(size=6, **settings)
    torch.manual_seed(3)
    model = make()
    next(method.stages(model, [(idx, labels(idx)), (idx.flip(0), labels(idx.flip(0)))]))
    torch.manual_seed(3)
    return model, Adapters(6, method.placement, "relu", norms=False).attach(make())


def by_torch(host, scores: dict[str, torch.Tensor], amount: float) -> dict[str, torch.Tensor]:
    """What torch's own global pruning keeps of a model's adapters: masks."""
    parts = {name: host.get_submodule(name) for name in scores}
    prune.global_unstructured(
        [(part, "weight") for part in parts.values()],
        prune.L1Unstructured,
        importance_scores={(part, "weight"): scores[name] for name, part in parts.items()},
        amount=amount,
    )
    return {name: part.weight_mask for name, part in parts.items()}


@pytest.mark.parametrize("score", ["snip", "magnitude"])
def test_equals_torch_pruning(make, idx, score):
    """Scores by their formula, over all adapters together; the same mask as torch's, and the weights as they were."""
    model, host = pruned(make, idx, score=score, sparsity=0.4)
    names = [f"{n}.{key}" for n, m in host.named_modules() if isinstance(m, Bottleneck) for key in ("down", "up")]
    weights = {name: host.get_submodule(name).weight for name in names}
    scores = {name: w.detach().abs() for name, w in weights.items()}
    if score == "snip":  # the gradient of a mask of ones, summed over the batches
        masks = {name: torch.ones_like(w, requires_grad=True) for name, w in weights.items()}
        masked = {f"{name}.weight": masks[name] * w.detach() for name, w in weights.items()}

        class Through(nn.Module):
            def __init__(self):
                super().__init__()
                self.model = host

            def forward(self, x, y):
                return Method().loss(self.model, x, y)

        total = sum(
            len(x) * torch.func.functional_call(Through(), {f"model.{n}": w for n, w in masked.items()}, (x, labels(x)))
            for x in (idx, idx.flip(0))
        )
        grads = torch.autograd.grad(total, list(masks.values()))
        scores = {name: grad.abs() for name, grad in zip(masks, grads, strict=True)}
    before = {name: w.detach().clone() for name, w in weights.items()}
    masks = by_torch(host, scores, 0.4)
    assert linears(model).keys() == masks.keys()
    for name, linear in linears(model).items():
        assert torch.equal(dense(linear), masks[name] * before[name])
    assert len({mask.sum().item() for mask in masks.values()}) > 2  # global: not the same share everywhere


def test_forward_is_the_masked_adapter(make, idx, shake):
    """The same as a dense adapter with zeros where it was cut."""
    model, host = pruned(make, idx)
    shake(model)
    with torch.no_grad():
        for name, linear in linears(model).items():
            host.get_submodule(name).weight.copy_(dense(linear))
            host.get_submodule(name).bias.copy_(linear.bias)
    assert_close(model(idx), host(idx), rtol=0, atol=1e-5)


@pytest.mark.parametrize("score", ["snip", "magnitude", "random"])
def test_density(make, idx, score):
    """Exactly the share 1 - sparsity of the weights stays, and every bias: rho 2 d m + m + d a module in the mean."""
    model, _ = pruned(make, idx, score=score, sparsity=0.7)
    c, m = make().c, 6
    weights = round(0.3 * 2 * c.layers * 2 * c.width * m)
    assert sum(len(linear.weight.where) for linear in linears(model).values()) == weights
    assert sum(p.numel() for p in trainable(model).values()) == weights + 2 * c.layers * (m + c.width)


def test_large_sparse_has_the_same_budget(make):
    """Twice the size at a sparsity of 0.5: as many weights as the small adapter, twice the inner biases."""
    c = make().c
    large = SparseAdapter(size=12, sparsity=0.5, score="magnitude").attach(make())
    small = Adapters(6, norms=False).attach(make())
    count = [sum(p.numel() for p in trainable(model).values()) for model in (large, small)]
    assert count[0] - count[1] == 2 * c.layers * 6


def test_cut_stays_cut(make, idx):
    """Ten steps of AdamW with weight decay: the same positions, what is cut is still zero, what stays has moved."""
    model, _ = pruned(make, idx)
    before = {name: (linear.weight.where.clone(), dense(linear)) for name, linear in linears(model).items()}
    optimizer = torch.optim.AdamW(trainable(model).values(), 1e-2, weight_decay=0.1)
    for _ in range(10):
        Method().loss(model, idx, labels(idx)).backward()
        optimizer.step()
        optimizer.zero_grad()
    for name, linear in linears(model).items():
        where, start = before[name]
        assert torch.equal(linear.weight.where, where)
        now = linear.weight(torch.zeros(linear.shape)).detach()
        assert torch.equal(now == 0, start == 0) and (now != start).any()


def test_random_is_the_same_each_time(make):
    """Whatever the seed and the weights, and about the same share of every matrix; other scores choose others."""
    masks = []
    for seed, score in ((1, "random"), (2, "random"), (1, "snip"), (1, "magnitude")):
        model = make()
        torch.manual_seed(seed)
        SparseAdapter(size=16, score=score, sparsity=0.4).attach(model)
        masks.append([dense(linear) != 0 for linear in linears(model).values()])
    assert all(abs(mask.float().mean() - 0.6) < 0.1 for mask in masks[0])
    for other, same in zip(masks[1:], (True, True, False), strict=True):  # snip has no data here
        assert all(map(torch.equal, masks[0], other)) == same


def test_file_holds_what_stayed(make, idx, shake, tmp_path):
    """Values, their positions as int32, biases; positions outside of a matrix are refused."""
    model, _ = pruned(make, idx, sparsity=0.8)
    shake(model)
    kept = sum(len(linear.weight.where) for linear in linears(model).values())
    biases = 2 * model.c.layers * (6 + model.c.width)
    assert sum(t.numel() * t.element_size() for t in added(model).values()) == 8 * kept + 4 * biases
    delta.save(model, tmp_path)
    assert torch.equal(delta.load(make(), tmp_path)(idx), model(idx))
    state = dict(added(model))
    name = next(name for name in state if name.endswith("where"))
    state[name] = state[name] + 6 * model.c.width
    with pytest.raises(ValueError, match="positions"):
        SparseAdapter(size=6, sparsity=0.8).restore(make(), state)


def test_a_matrix_cut_whole(make, idx):
    """Nothing of it trains but its bias."""
    model = make()
    SparseAdapter(size=6, layers=[0]).attach(model, None, {"trunk.0.mlp.branch.down": torch.arange(3).int()})
    model(idx).square().mean().backward()
    assert all(p.grad is not None and len(p) for p in trainable(model).values())
    assert sum(len(linear.weight.where) for linear in linears(model).values()) == 3


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"size": 0}, "size"),
        ({"sparsity": 1.0}, "sparsity"),
        ({"sparsity": -0.1}, "sparsity"),
        ({"score": "grasp"}, "score"),
        ({"examples": 0}, "examples"),
        ({"size": 1, "sparsity": 0.9999}, "leaves no weight"),
    ],
)
def test_refuses(make, settings, reason):
    with pytest.raises(ValueError, match=reason):
        SparseAdapter(**settings).attach(make())
