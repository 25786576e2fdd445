"""The exercises of lesson 11, DiffPruning, and their checks.  The right answers come from the library's own modules."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import torch
from torch import Tensor, nn

from minipeft.course.exercise import exercise
from minipeft.course.judge import same, same_gradients
from minipeft.selective import diff_pruning
from minipeft.selective.diff_pruning import OPEN, Diff, DiffPruning, gate
from minipeft.sparse import budget, largest, sparsify
from minipeft.surgery import merge, trainable


@contextmanager
def stretch(low: float, high: float) -> Iterator[None]:
    """The library's gates with other ends."""
    with mock.patch.multiple(diff_pruning, LOW=low, HIGH=high):
        yield


def noise(x: Tensor) -> Tensor:
    """Numbers between 0 and 1, under the same names of axes."""
    u = torch.sigmoid(2 * x)
    u.axes = x.axes
    return u


def reference_gate(u: Tensor, alpha: Tensor, low: float, high: float) -> Tensor:
    """The library's at u = 1/2, where the noise is 0, with the noise put into alpha."""
    with stretch(low, high):
        return gate(torch.logit(u) + alpha, sample=False)


@exercise(
    "11.1",
    "A gate that is often exactly shut",
    difficulty=2,
    minutes=10,
    points=6,
    reference=reference_gate,
    hints=(
        "A sigmoid is never 0 and never 1. What has to be done to it so that a cut at 0 and at 1 hits something?",
        "s runs from 0 to 1. A straight line takes it from low to high: s times the length, plus the start. Then cut.",
        "return (s * (high - low) + ...).clamp(0, 1)",
    ),
)
def test_diff_gate(submission, cases):
    for case in cases("m n"):
        arguments = dict(
            u=noise(case("m n")), alpha=case("m n"), low=-case.number(0.3, 1.5), high=1 + case.number(0.1, 0.5)
        )
        same(submission.diff_gate, reference_gate, **arguments)
        same_gradients(submission.diff_gate, reference_gate, wrt="alpha", **arguments)


def reference_expected(alpha: Tensor, alpha_g: Tensor, low: float, high: float) -> Tensor:
    diff = Diff(torch.zeros_like(alpha), structured=True, speed=1.0)
    with torch.no_grad(), stretch(low, high):
        diff.a.copy_(alpha - OPEN)
        diff.group.copy_(alpha_g - OPEN)
        return diff.expected()


@exercise(
    "11.2",
    "How many will change",
    difficulty=2,
    minutes=10,
    points=6,
    reference=reference_expected,
    hints=(
        "What is the chance that one number changes, if two independent gates have to be open for it?",
        "The product of the two chances. A count's expectation is the sum of the chances, over all numbers of the "
        "tensor.",
        "return (torch.sigmoid(alpha - shift) * torch.sigmoid(...)).sum()",
    ),
)
def test_diff_expected(submission, cases):
    for case in cases("m n"):
        same(
            submission.diff_expected,
            reference_expected,
            alpha=case("m n"),
            alpha_g=torch.tensor(case.number(-1, 1)),
            low=-case.number(0.1, 0.3),
            high=case.number(1.1, 1.5),
        )


def reference_project(theta: Tensor, w: Tensor, z: Tensor, k: int) -> Tensor:
    """By the library's last stage: the positions and values of a short vector, folded in."""
    model = nn.Module()
    model.part = nn.Module()
    model.part.weight = nn.Parameter(theta)
    change = {"part.weight": z * w}
    where = largest({name: c.abs() for name, c in change.items()}, k)
    sparsify(model, where, {name: change[name][positions] for name, positions in where.items()})
    return merge(model).part.weight.detach()


@exercise(
    "11.3",
    "The projection",
    difficulty=1,
    minutes=10,
    points=6,
    reference=reference_project,
    hints=(
        "What competes here: the base's numbers, the values w, or the changes? And what does a number get that loses?",
        "Compute the changes z w. Find the k of the largest absolute value. Add these to theta, with their signs; all "
        "other numbers keep theta.",
        "kept[largest] = change[largest], and then theta + ...",
    ),
)
def test_diff_project(submission, cases):
    for case in cases(p=24):
        same(
            submission.diff_project,
            reference_project,
            theta=case("p"),
            w=case("p"),
            z=noise(case("p")),
            k=case.integer(4, 8),
        )


def reference_gradients(
    g: Tensor, w: Tensor, alpha: Tensor, u: Tensor, z_g: float, low: float, high: float
) -> tuple[Tensor, Tensor]:
    """Autograd's, through the library's gate."""
    w, alpha = w.requires_grad_(True), alpha.requires_grad_(True)
    with torch.enable_grad(), stretch(low, high):
        change = z_g * gate(torch.logit(u) + alpha, sample=False) * w
    return torch.autograd.grad(change, (w, alpha), g)


@exercise(
    "11.4",
    "Find the mistake: the gradient of a gate that is shut",
    difficulty=3,
    minutes=15,
    points=6,
    reference=reference_gradients,
    hints=(
        "Let torch tell you: make w and alpha require a gradient, compute z_g z w, and call .backward(g). At which "
        "numbers does alpha's gradient differ, and what is z there?",
        "Where the stretched s lies below 0 or above 1, z is cut, and a small step of alpha leaves it where it is. Its "
        "gradient is 0 there.",
        "dalpha = ... * ((stretched > 0) & (stretched < 1))",
    ),
)
def test_diff_gradients(submission, cases):
    for case in cases(p=30):
        same(
            submission.diff_gradients,
            reference_gradients,
            g=case("p"),
            w=case("p"),
            alpha=case("p"),
            u=noise(case("p")),
            z_g=case.number(0.3, 0.9),
            low=-case.number(0.5, 1.5),
            high=1 + case.number(0.3, 0.5),
        )


def reference_counts(sizes: list[int], density: float) -> tuple[int, int, int]:
    """Counted in a real model with such tensors."""
    model = nn.Module()
    for i, size in enumerate(sizes):
        part = nn.Module()
        part.weight = nn.Parameter(torch.zeros(size))
        model.add_module(f"part{i}", part)
    k = budget(model, density)
    first = sum(p.numel() for p in trainable(DiffPruning().attach(model)).values())
    return first, k, torch.empty(k).nbytes + torch.empty(k, dtype=torch.int32).nbytes


@exercise(
    "11.5",
    "What the search costs",
    difficulty=1,
    minutes=5,
    points=3,
    reference=reference_counts,
    hints=(
        "In the first stage, what does each number of the base get beside it? And each tensor?",
        "Two for each number, one more for each tensor. Of the values only the share is left, with a position each.",
        "return 2 * sum(sizes) + ..., k, 8 * k",
    ),
)
def test_diff_counts(submission, cases):
    for case in cases():
        sizes = [case.integer(100, 900) for _ in range(case.integer(6, 9))]
        same(submission.diff_counts, reference_counts, sizes=sizes, density=case.number(0.01, 0.1))


def reference_even(low: float, high: float) -> float:
    """Searched for: the chance of 0 falls with alpha and that of 1 rises, so halve until they meet."""

    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    below, above = -20.0, 20.0
    while above - below > 1e-9:
        alpha = (below + above) / 2
        shut, open_ = 1 - sigmoid(alpha - math.log(-low / high)), sigmoid(alpha - math.log((1 - low) / (high - 1)))
        below, above = (alpha, above) if shut > open_ else (below, alpha)
    return alpha


@exercise(
    "11.6",
    "Predict: shut as often as open",
    difficulty=2,
    minutes=10,
    points=3,
    reference=reference_even,
    hints=(
        "1 - sigmoid(x) is a sigmoid too. Of what?",
        "1 - sigmoid(x) = sigmoid(-x). Two sigmoids are equal where their arguments are: log(-low / high) - alpha on "
        "one side, alpha - log((1 - low) / (high - 1)) on the other.",
        "return (math.log(-low / high) + ...) / 2",
    ),
)
def test_diff_even(submission, cases):
    for case in cases():
        same(submission.diff_even, reference_even, low=-case.number(0.1, 0.6), high=1 + case.number(0.7, 1.5))
