"""The exercises of lesson 04, AdaMix, and their checks.  The right answers come from the library's own modules."""

from itertools import product

import torch
from torch import Tensor, nn

from minipeft.additive.adamix import AdaMix, Mixture, average, disagreement
from minipeft.course.exercise import exercise
from minipeft.course.judge import same, same_gradients
from minipeft.gpt import GPT, Config
from minipeft.surgery import Serial, added, trainable


def mixture(downs: Tensor, down_biases: Tensor, ups: Tensor, up_biases: Tensor) -> Serial:
    """The library's mixture with these experts, after nothing."""
    experts, size, width = downs.shape
    part = Serial(nn.Identity(), Mixture(width, size, experts, len(ups) == 1, "gelu"))
    own = zip(part.branch.parameters(), (downs, down_biases, ups, up_biases), strict=True)
    with torch.no_grad():
        for p, value in own:
            p.copy_(value)
    return part


def reference_train(h: Tensor, downs: Tensor, down_biases: Tensor, ups: Tensor, up_biases: Tensor, i: int, j: int):
    """A mixture of one: there is nothing to draw."""
    experts = [stack[k : k + 1] for stack, k in ((downs, i), (down_biases, i), (ups, j), (up_biases, j))]
    names = ("branch.downs", "branch.down_biases", "branch.ups", "branch.up_biases")
    return torch.func.functional_call(mixture(*experts), dict(zip(names, experts, strict=True)), (h,))


def experts(case) -> dict[str, Tensor]:
    return dict(downs=case("e m d"), down_biases=case("e m"), ups=case("u d m"), up_biases=case("u d"))


@exercise(
    "04.1",
    "One draw",
    difficulty=1,
    minutes=10,
    points=3,
    reference=reference_train,
    hints=(
        "Without the stacks this is the adapter of lesson 03. Which of its four parts belong to i, and which to j?",
        "D and c are read from the stacks at i, U and b at j; h itself goes around.",
        "return h + F.gelu(h @ downs[i].T + down_biases[i]) @ ...",
    ),
)
def test_adamix_train(submission, cases):
    for case in cases("b t d m", e=4, u=4):
        i, j = case.integer(0, 1), case.integer(2, 3)
        arguments = dict(h=case("b t d"), **experts(case), i=i, j=j)
        same(submission.adamix_train, reference_train, **arguments)
        same_gradients(submission.adamix_train, reference_train, wrt="h downs ups", tolerance=1e-4, **arguments)
    for case in cases("b t d m", e=3, u=1):
        same(submission.adamix_train, reference_train, h=case("b t d"), **experts(case), i=case.integer(1, 2), j=0)


def reference_eval(h: Tensor, downs: Tensor, down_biases: Tensor, ups: Tensor, up_biases: Tensor) -> Tensor:
    return mixture(downs, down_biases, ups, up_biases).eval()(h).detach()


@exercise(
    "04.2",
    "The mean of the experts",
    difficulty=1,
    minutes=5,
    points=2,
    reference=reference_eval,
    hints=(
        "What is averaged: what the experts say, or what they are made of?",
        "Make one adapter first: the mean over the first axis of each of the four stacks. Then use it once.",
        "D, c, U, b = (stack.mean(0) for stack in ...)",
    ),
)
def test_adamix_eval(submission, cases):
    for u in (3, 1):
        for case in cases("b t d m", e=3, u=u):
            same(submission.adamix_eval, reference_eval, h=case("b t d"), **experts(case))


def reference_disagreement(first: Tensor, second: Tensor) -> Tensor:
    return disagreement(first.log_softmax(-1), second.log_softmax(-1))


@exercise(
    "04.3",
    "Two passes should agree",
    difficulty=3,
    minutes=15,
    points=3,
    reference=reference_disagreement,
    hints=(
        "What does `.detach()` do to a value, and what to its gradient?",
        "Take the logs by log_softmax. In each of the two KLs, detach the distribution that is the target, "
        "sum over the vocabulary, take the mean over positions; then half of both.",
        "(p.detach().exp() * (p.detach() - q)).sum(-1).mean() is one of the two, for logs p and q",
    ),
)
def test_adamix_disagreement(submission, cases):
    for case in cases("n v"):
        arguments = dict(first=case("n v"), second=case("n v"))
        same(submission.adamix_disagreement, reference_disagreement, **arguments)
        same_gradients(submission.adamix_disagreement, reference_disagreement, wrt="first second", **arguments)


def reference_count(layers: int, d: int, m: int, experts: int, share_up: bool) -> tuple[int, int]:
    """Counted in a real model, before the experts are averaged and after."""
    model = GPT(Config("gpt2", vocab=7, context=4, layers=layers, heads=1, width=d, hidden=8))
    AdaMix(size=m, experts=experts, share_up=share_up).attach(model)
    trains = sum(p.numel() for p in trainable(model).values())
    average(model)
    return trains, sum(t.numel() for t in added(model).values())


@exercise(
    "04.4",
    "How many train, how many stay",
    difficulty=1,
    minutes=5,
    points=2,
    reference=reference_count,
    hints=(
        "How many numbers has one D with its c, and one U with its b?",
        "m d + m and d m + d. While training the first is there `experts` times, the second as often or once; "
        "after it, each is there once.",
        "return layers * (experts * (m * d + m) + ...), layers * (...)",
    ),
)
def test_adamix_count(submission, cases):
    for case in cases(count=2):
        sizes = dict(layers=case.integer(2, 4), d=case.integer(6, 9), m=case.integer(2, 4), experts=case.integer(3, 5))
        for share_up in (True, False):
            same(submission.adamix_count, reference_count, **sizes, share_up=share_up)


def reference_met(experts: int, passes: int) -> float:
    """The mean over all that can be drawn, one by one."""
    draws = list(product(range(experts), repeat=passes))
    return sum(len(set(draw)) for draw in draws) / len(draws)


@exercise(
    "04.5",
    "Predict: who learns in a step",
    difficulty=2,
    minutes=10,
    points=2,
    reference=reference_met,
    hints=(
        "How likely is it that one particular expert is not drawn in one pass? And in none of them?",
        "It is missed in one pass with 1 - 1/experts, in all with that to the power of passes. "
        "The average number of those that are met is the sum over experts of how likely each is met.",
        "return experts * (1 - ... ** passes)",
    ),
)
def test_adamix_met(submission, cases):
    for case in cases():
        same(submission.adamix_met, reference_met, experts=case.integer(3, 5), passes=case.integer(3, 5))
    same(submission.adamix_met, reference_met, experts=4, passes=2)
