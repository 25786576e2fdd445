"""The exercises of lesson 18, SparseAdapter, and their checks.  Right answers: the library, or autograd."""

import torch
from torch import Tensor, nn

from minipeft.additive.adapters import Bottleneck
from minipeft.course.exercise import exercise
from minipeft.course.judge import same, same_gradients
from minipeft.gpt import GPT, Config
from minipeft.hybrid.sparse_adapter import SparseAdapter, SparseLinear
from minipeft.sparse import largest
from minipeft.surgery import trainable


def reference_scores(h: Tensor, G: Tensor, D: Tensor, c: Tensor, U: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The gradient of masks of ones, around the library's bottleneck."""
    masks = [torch.ones_like(w, requires_grad=True) for w in (D, U)]
    with torch.enable_grad():
        weights = {"down.weight": masks[0] * D, "down.bias": c, "up.weight": masks[1] * U, "up.bias": b}
        y = h + torch.func.functional_call(Bottleneck(D.shape[1], len(D), "relu"), weights, (h,))
    of_D, of_U = torch.autograd.grad(y, masks, G)
    return of_D.abs(), of_U.abs()


@exercise(
    "18.1",
    "SNIP: who would be missed?",
    difficulty=2,
    minutes=15,
    points=5,
    reference=reference_scores,
    hints=(
        "The weight that acts is M w. If you know dL/d(M w), what is dL/dM, by the chain rule, at M = 1?",
        "It is w times the usual gradient of w. For U that gradient is G^T z, with z what leaves the relu. For D the "
        "gradient comes down through U and stops where the relu is shut.",
        "grad_D = ((G @ U) * (z > 0)).T @ h; return (D * grad_D).abs(), ...",
    ),
)
def test_snip_scores(submission, cases):
    for case in cases("n d m"):
        arguments = dict(h=case("n d"), G=case("n d"), D=case("m d"), c=case("m"), U=case("d m"), b=case("d"))
        same(submission.snip_scores, reference_scores, tolerance=1e-4, **arguments)


def reference_masks(score_D: Tensor, score_U: Tensor, sparsity: float) -> tuple[Tensor, Tensor]:
    scores = {"D": score_D, "U": score_U}
    where = largest(scores, round((1 - sparsity) * (score_D.numel() + score_U.numel())))
    masks = [torch.zeros(s.numel()) for s in scores.values()]
    for mask, name in zip(masks, scores, strict=True):
        mask[where.get(name, torch.zeros(0)).long()] = 1
    return masks[0].view(score_D.shape), masks[1].view(score_U.shape)


@exercise(
    "18.2",
    "One threshold for all",
    difficulty=1,
    minutes=10,
    points=4,
    reference=reference_masks,
    hints=(
        "Suppose all large scores lie in U. What should be left of D?",
        "Put all scores into one long vector, find the largest of them, and cut the vector of zeros and ones into the "
        "two shapes again.",
        "scores = torch.cat([score_D.flatten(), ...]); mask[scores.topk(...).indices] = 1",
    ),
)
def test_sparse_masks(submission, cases):
    for case in cases("m d"):
        numbers = 2 * case["m"] * case["d"]
        sparsity = 1 - case.integer(numbers // 6, numbers // 3) / numbers
        arguments = dict(score_D=case("m d").abs(), score_U=2 * case("d m").abs(), sparsity=sparsity)
        same(submission.sparse_masks, reference_masks, **arguments)


def reference_adapter(h: Tensor, D: Tensor, c: Tensor, U: Tensor, b: Tensor, M_D: Tensor, M_U: Tensor) -> Tensor:
    """The library's layers: what stays of each matrix is a short vector."""
    values, bottleneck = {}, Bottleneck(D.shape[1], len(D), "relu")
    for name, W, M, bias in (("down", D, M_D, c), ("up", U, M_U, b)):
        where = M.flatten().nonzero().squeeze(1)
        bottleneck.set_submodule(name, SparseLinear(nn.Linear(*reversed(W.shape)), where))
        values |= {f"{name}.weight.values": W.flatten()[where], f"{name}.bias": bias}
    return h + torch.func.functional_call(bottleneck, values, (h,))


@exercise(
    "18.3",
    "The cut adapter",
    difficulty=1,
    minutes=10,
    points=4,
    reference=reference_adapter,
    hints=(
        "A weight that is cut shall act as a zero. Where does a zero belong: in the weight, or in what leaves it?",
        "Multiply each matrix by its mask before it is used. The rest is lesson 03's adapter, with relu; the biases "
        "and the skip stay as they are.",
        "return h + F.relu(h @ (M_D * D).T + c) @ ... + b",
    ),
)
def test_sparse_adapter(submission, cases):
    for case in cases("b t m d"):
        masks = {name: (case(axes) > 0).float() for name, axes in (("M_D", "m d"), ("M_U", "d m"))}
        weights = dict(D=case("m d"), c=case("m"), U=case("d m"), b=case("d"))
        arguments = dict(h=case("b t d")) | weights | masks
        same(submission.sparse_adapter, reference_adapter, **arguments)
        same_gradients(submission.sparse_adapter, reference_adapter, wrt="h D c U b", tolerance=1e-4, **arguments)


def reference_count(L: int, d: int, m: int, grow: int) -> int:
    """Counted in a real model."""
    model = GPT(Config("gpt2", vocab=7, context=4, layers=L, heads=1, width=d, hidden=d))
    SparseAdapter(size=grow * m, sparsity=1 - 1 / grow, score="random").attach(model)
    return sum(p.numel() for p in trainable(model).values())


@exercise(
    "18.4",
    "Large-Sparse: how many numbers train",
    difficulty=1,
    minutes=5,
    points=3,
    reference=reference_count,
    hints=(
        "Of the weights as many stay as in the small adapter. What else does an adapter have, and what becomes of it?",
        "A small adapter has 2 d m weights. The biases aren't cut: c is as long as the wide adapter is wide, b as long "
        "as the stream.",
        "return 2 * L * (2 * d * m + ... + d)",
    ),
)
def test_large_sparse_count(submission, cases):
    for case in cases("L d m"):
        for grow in (2, 3):
            sizes = dict(L=case["L"], d=case["d"], m=case["m"], grow=grow)
            same(submission.large_sparse_count, reference_count, **sizes)


def reference_step(w: Tensor, M: Tensor, v: Tensor, g: Tensor, lr: float, beta: float) -> Tensor:
    """One number after the other."""
    new = torch.zeros_like(w)
    for o, i in M.nonzero().tolist():
        new[o, i] = w[o, i] - lr * (beta * v[o, i] + g[o, i])
    return new


@exercise(
    "18.5",
    "Find the mistake: what is cut comes back",
    difficulty=2,
    minutes=10,
    points=4,
    reference=reference_step,
    hints=(
        "Take one weight that is cut, and follow it through the three lines. Where does it stop being zero?",
        "Its gradient is masked, but its old momentum is not, and moves it. There are two remedies: mask the momentum "
        "as well, or cut after the step and not before it.",
        "w = M * (w - lr * v)",
    ),
)
def test_sparse_step(submission, cases):
    for case in cases("o i"):
        arguments = dict(w=case("o i"), M=(case("o i") > 0).float(), v=case("o i"), g=case("o i"))
        same(submission.sparse_step, reference_step, **arguments, lr=case.number(0.1, 0.5), beta=case.number(0.5, 0.9))
