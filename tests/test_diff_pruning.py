"""Diff pruning: the gates against draws and formulas, the projection against a sort, and what moves when."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch.nn.utils import parametrize
from torch.testing import assert_close

from minipeft import delta
from minipeft.measure import counts
from minipeft.method import Stage
from minipeft.selective import diff_pruning
from minipeft.selective.diff_pruning import Diff, DiffPruning, diffs, gate, likely
from minipeft.sparse import Sparse, budget
from minipeft.surgery import base_state, detach, merge, trainable


@pytest.fixture
def batches(idx):
    return [(idx, idx.roll(-1, 1)), (idx.flip(0), idx.flip(0).roll(-1, 1))]


@pytest.fixture
def learnt(make, batches, shake):
    """learnt(method): (a copy after the first stage, the model as the last stage gets it), the draw from seed 3."""

    def learnt(method):
        model = make()
        recipe = method.stages(model, batches)
        assert next(recipe) == Stage("find the mask", 0.5)
        shake(model, std=0.1)
        before = copy.deepcopy(model)
        torch.manual_seed(3)
        assert next(recipe) == Stage("train what is left", 0.5)
        return before, model

    return learnt


# -- the gates --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("low", "high"), [(-1.5, 1.5), (-0.1, 1.1)])
@pytest.mark.parametrize("alpha", [-2.0, 0.5, 3.0])
def test_gate_against_its_distribution(monkeypatch, low, high, alpha):
    """P(z > 0), P(z = 1) and the mean of 400,000 draws; an asymmetric stretch shows a wrong sign of log(-l / r)."""
    monkeypatch.setattr(diff_pruning, "LOW", low)
    monkeypatch.setattr(diff_pruning, "HIGH", high)
    torch.manual_seed(0)
    z = gate(torch.full((400_000,), alpha), sample=True)
    assert 0 <= z.min() and z.max() <= 1
    assert abs((z > 0).float().mean() - likely(torch.tensor(alpha))) < 0.004
    assert abs((z == 1).float().mean() - torch.sigmoid(torch.tensor(alpha - math.log((1 - low) / (high - 1))))) < 0.004
    u = (torch.arange(100_000) + 0.5) / 100_000
    s = torch.sigmoid(u.log() - (1 - u).log() + alpha)
    assert abs(z.mean() - (s * (high - low) + low).clamp(0, 1).mean()) < 0.004


@pytest.mark.parametrize("structured", [True, False])
def test_expected_count(structured):
    """E|z w|_0 is the mean count of non-zeros; a tensor's gate closes all of its numbers at once."""
    torch.manual_seed(0)
    diff = Diff(torch.zeros(30, 40), structured, 1.0)
    torch.nn.init.ones_(diff.w)
    torch.nn.init.normal_(diff.a, mean=-5, std=2)
    if structured:
        diff.group.data.fill_(-5.0)
    draws = torch.tensor([diff.diff(sample=True).count_nonzero() for _ in range(2000)]).float()
    assert abs(draws.mean() / diff.expected().item() - 1) < 0.06
    assert (draws == 0).float().mean() > 0.4 if structured else draws.min() > 300


@pytest.mark.parametrize("structured", [True, False])
def test_formula(structured):
    """theta_0 + z_i z_g w, at u = 1/2, and its gradients written out: z masks the change, never the weight."""
    torch.manual_seed(0)
    weight, g = torch.randn(4, 6), torch.randn(4, 6)
    diff = Diff(weight, structured, 10.0).eval()
    torch.nn.init.normal_(diff.w)
    torch.nn.init.normal_(diff.a, mean=-0.45, std=0.03)
    if structured:
        diff.group.data.fill_(-0.46)
    alpha, alpha_g = 5 + 10 * diff.a.detach(), torch.tensor(5 - 4.6)
    s, s_g = alpha.sigmoid(), alpha_g.sigmoid()
    z, z_g = (3 * s - 1.5).clamp(0, 1), (3 * s_g - 1.5).clamp(0, 1) if structured else torch.tensor(1.0)
    assert 0 < ((z > 0) & (z < 1)).sum() < z.numel()
    assert_close(diff(weight), weight + z * z_g * diff.w)
    (diff(weight) * g).sum().backward()
    between = ((z > 0) & (z < 1)).float()
    assert_close(diff.w.grad, g * z * z_g)
    assert_close(diff.a.grad, 10 * g * diff.w.detach() * z_g * 3 * s * (1 - s) * between)
    if structured:
        assert_close(diff.group.grad, 10 * (g * diff.w.detach() * z).sum() * 3 * s_g * (1 - s_g))


def test_ends_of_the_gate():
    """Closed: no change at all.  Open: w."""
    diff = Diff(torch.zeros(3, 4), False, 1.0)
    torch.nn.init.normal_(diff.w)
    for a, expected in ((-1e3, torch.zeros(3, 4)), (1e3, diff.w)):
        torch.nn.init.constant_(diff.a, a)
        assert torch.equal(diff.diff(sample=True), expected)


# -- the first stage --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("structured", [True, False])
def test_penalty(make, batches, shake, structured):
    """The loss is the cross-entropy and lambda times the product of the gates' probabilities, over all tensors."""
    x, y = batches[0]
    method = DiffPruning(penalty=1e-3, speed=10.0, structured=structured)
    model = shake(method.attach(make()), std=0.3)
    expected = 0.0
    for name, p in trainable(model).items():
        if name.endswith(".a"):
            chances = torch.sigmoid(5 + 10 * p)
            if structured:
                chances = chances * torch.sigmoid(5 + 10 * trainable(model)[name.removesuffix("a") + "group"])
            expected += chances.sum().item()
    plain = F.cross_entropy(model(x).flatten(0, 1), y.flatten())
    assert_close(method.loss(model, x, y), plain + 1e-3 * expected)


def test_data_reach_the_gates_through_w(make, batches):
    """At the start w = 0: only the penalty moves alpha, downwards; w has the gradient of the plain weight."""
    x, y = batches[0]
    method, plain = DiffPruning(penalty=0.0), make()
    model = method.attach(make())
    method.loss(model, x, y).backward()
    method.loss(plain, x, y).backward()
    for name, diff in diffs(model).items():
        assert diff.a.grad.count_nonzero() == 0 and diff.group.grad.count_nonzero() == 0
        assert_close(diff.w.grad, plain.get_parameter(name).grad)
    model = DiffPruning(penalty=1e-3).attach(make())
    DiffPruning(penalty=1e-3).loss(model, x, y).backward()
    assert all((diff.a.grad > 0).all() and diff.group.grad > 0 for diff in diffs(model).values())


def test_gates_move_faster(make, batches):
    """One step of Adam moves alpha by `speed` learning rates where w moves by one."""
    method = DiffPruning(penalty=1e-3, speed=50.0)
    model = method.attach(make())
    optimizer = torch.optim.Adam(trainable(model).values(), 1e-3)
    method.loss(model, *batches[0]).backward()
    optimizer.step()
    diff = diffs(model)["trunk.1.mlp.up.weight"]
    assert_close(diff.w.abs().median(), torch.tensor(1e-3), rtol=0.01, atol=0)
    seen = []
    diff.gates(lambda alpha: seen.append(alpha) or alpha)
    for alpha in seen:
        assert_close(alpha, torch.full_like(alpha, 5 - 0.05), rtol=1e-4, atol=0)


def test_draws_in_training_alone(make, batches, shake):
    """Each step another draw, one for each tensor however often it is read; none in evaluation."""
    x, y = batches[0]
    method = DiffPruning(speed=10.0)
    model = shake(method.attach(make()), std=0.3)
    assert torch.equal(model(x), model(x))
    model.train()
    assert not torch.equal(model(x), model(x))
    seen = []
    diffs(model)["tokens.weight"].register_forward_hook(lambda *_: seen.append(1))
    method.loss(model, x, y)
    assert len(seen) == 1


def test_count_of_the_first_stage(make):
    """Two numbers for each one of the base, and one for each tensor."""
    total, tensors = sum(p.numel() for p in make().parameters()), len(list(make().parameters()))
    assert counts(DiffPruning().attach(make())).trainable == 2 * total + tensors
    assert counts(DiffPruning(structured=False).attach(make())).trainable == 2 * total


# -- the projection and the last stage --------------------------------------------------------------------------------


@pytest.mark.parametrize("structured", [True, False])
def test_projection(make, learnt, structured):
    """Of one draw of z w the rho |theta| largest, over all tensors together, with their values; nothing else."""
    method = DiffPruning(density=0.02, structured=structured, speed=10.0)
    before, model = learnt(method)
    torch.manual_seed(3)
    drawn = {name: diff.diff(sample=True).detach() for name, diff in diffs(before).items()}
    kept = budget(make(), 0.02)
    cut = sorted(abs(x) for d in drawn.values() for x in d.flatten().tolist())[-kept]
    shares, start = set(), make()
    for name, p in merge(copy.deepcopy(model)).named_parameters():
        d = drawn[name]
        expected = torch.where(d.abs() >= cut, d, 0.0)
        assert torch.equal(p, start.get_parameter(name) + expected), name
        shares.add((expected != 0).float().mean().item())
    assert len(shares) > 10  # not the same of each
    assert counts(model).trainable == counts(model).changed == kept
    assert not diffs(model)


def test_fewer_alive_than_allowed(make, batches):
    """What the gates have closed doesn't come back: at most rho |theta| stay."""
    method, model = DiffPruning(density=0.5), make()
    recipe = method.stages(model, batches)
    next(recipe)
    for diff in diffs(model).values():
        torch.nn.init.constant_(diff.a, -10.0)
    one = diffs(model)["trunk.0.attn.q.weight"]
    with torch.no_grad():
        one.w[0, :3] = 1.0
        one.a[0, :3] = 10.0
        one.group.fill_(10.0)
    next(recipe)
    assert counts(model).trainable == 3


def test_nothing_else_moves(make, batches, learnt):
    """AdamW with weight decay over all parameters: off the mask every bit stays, and the optimizer is of its size."""
    method = DiffPruning(density=0.02, speed=10.0)
    _, model = learnt(method)
    where = {n: p != make().get_parameter(n) for n, p in merge(copy.deepcopy(model)).named_parameters()}
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2, weight_decay=0.5)
    for step in range(4):
        optimizer.zero_grad()
        method.loss(model, *batches[step % 2]).backward()
        optimizer.step()
    assert sum(t.numel() for s in optimizer.state.values() for t in s.values() if t.ndim) == 2 * budget(make(), 0.02)
    for name, p in merge(model).named_parameters():
        before, mask = make().get_parameter(name), where[name]
        assert torch.equal(p[~mask], before[~mask]), name
        assert (p[mask] != before[mask]).all(), name


def test_delta_of_a_recipe(make, learnt, idx, tmp_path):
    """The file of the finished recipe holds 8 bytes a number."""
    method = DiffPruning(density=0.05, speed=10.0)
    _, model = learnt(method)
    size = delta.save(model, tmp_path)
    assert 8 * budget(make(), 0.05) < size < 8 * budget(make(), 0.05) + 240 * len(trainable(model)) + 1500
    again = delta.load(make(), tmp_path)
    assert torch.equal(again(idx), model(idx))
    assert all(torch.equal(t, make().state_dict()[n]) for n, t in base_state(again).items())
    chains = [
        m for part in again.modules() if parametrize.is_parametrized(part) for m in part.parametrizations.values()
    ]
    assert all(isinstance(chain[0], Sparse) for chain in chains)
    assert all(torch.equal(t, make().state_dict()[n]) for n, t in detach(again).state_dict().items())


@pytest.mark.parametrize(
    "settings", [{"density": 0.0}, {"density": 1.5}, {"penalty": -1.0}, {"speed": 0.0}, {"structured": 1}]
)
def test_refuses(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        DiffPruning(**settings)


def test_refuses_to_keep_none(make, batches):
    model = make()
    with pytest.raises(ValueError, match="leaves none of .* numbers: it must be higher"):
        next(DiffPruning(density=1e-7).stages(model, batches))
    assert all(p.requires_grad for p in model.parameters())
