"""The exercises of lesson 14, Intrinsic SAID, and their checks.  The right answers come from the library."""

import torch
from torch import Tensor, nn

from minipeft.course.exercise import exercise
from minipeft.course.judge import Case, same
from minipeft.reparametrization.intrinsic_said import Fastfood, IntrinsicSAID, hadamard
from minipeft.surgery import merge, trainable


def matrix(n: int) -> Tensor:
    """H (n, n), column by column."""
    return torch.stack([hadamard(column) for column in torch.eye(n)], 1)


def food(d: int, signs: Tensor, order: Tensor, normal: Tensor, size: int) -> Fastfood:
    """The library's own, with these random parts in place of those it draws."""
    made = Fastfood(torch.zeros(size), nn.Parameter(torch.zeros(d)), False, torch.Generator().manual_seed(0))
    made.signs, made.normal = signs, normal / (size * normal.square().sum()).sqrt()
    made.order = (order % (1 << (d - 1).bit_length())).int()
    return made


def draws(case: Case, n: int) -> dict[str, Tensor]:
    return dict(signs=case("d").sign(), order=case("n").argsort(), normal=case("n"), H=matrix(n))


@exercise(
    "14.1",
    "The Hadamard transform",
    difficulty=2,
    minutes=10,
    points=6,
    reference=hadamard,
    hints=(
        "H_2n is made of four blocks. What do they give for a vector with the halves u and v?",
        "The first half of the result is H u + H v = H (u + v), the second H u - H v = H (u - v). Each is a transform "
        "of half the size, and of one number there is nothing to transform.",
        "return torch.cat([said_hadamard(u + v), ...])",
    ),
)
def test_said_hadamard(submission, cases):
    for n in (16, 2, 1, 64):
        for case in cases(n=n, count=1):
            same(submission.said_hadamard, hadamard, x=case("n"))


def reference_fastfood(z: Tensor, signs: Tensor, order: Tensor, normal: Tensor, H: Tensor, size: int) -> Tensor:
    made = food(len(z), signs, order, normal, size)
    return torch.func.functional_call(made, {"z": z}, torch.zeros(size))


@exercise(
    "14.2",
    "Random directions that nobody stores",
    difficulty=2,
    minutes=15,
    points=8,
    reference=reference_fastfood,
    hints=(
        "P is a product of five. Which of them acts first on z?",
        "signs * z, zeros behind it; H @; [order]; normal *; H @; the first `size` numbers; times c.",
        "x = normal * (H @ x)[order]",
    ),
)
def test_said_fastfood(submission, cases):
    for case in cases("d", n=32):
        arguments = dict(z=case("d"), **draws(case, 32), size=case.integer(18, 30))
        same(submission.said_fastfood, reference_fastfood, **arguments)


def reference_backward(g: Tensor, signs: Tensor, order: Tensor, normal: Tensor, H: Tensor) -> Tensor:
    made = food(len(signs), signs, order, normal, len(g))
    with torch.enable_grad():
        return torch.autograd.grad(made(torch.zeros_like(g)), made.z, g)[0]


@exercise(
    "14.3",
    "Find the mistake: the gradient by hand",
    difficulty=2,
    minutes=10,
    points=5,
    reference=reference_backward,
    hints=(
        "Each of the five factors of P needs its transpose. For which of them is the transpose another matrix?",
        "H is symmetric, B and G are diagonal. A permutation's transpose is its inverse: what stood at order[i] came "
        "to i, so what is at i must go back to order[i].",
        "x = x[order.argsort()]",
    ),
)
def test_said_backward(submission, cases):
    for case in cases("d size", n=32):
        same(submission.said_backward, reference_backward, g=case("size"), **draws(case, 32))


def reference_count(sizes: list[int], dims: int) -> tuple[int, int, int]:
    """Counted on a model with such tensors."""
    model = nn.Module()
    for i, size in enumerate(sizes):
        model.register_parameter(f"p{i}", nn.Parameter(torch.zeros(size)))
    numbers = [p for p in trainable(IntrinsicSAID(dims).attach(model)).values()]
    (z,) = (p for p in numbers if p.ndim)
    with torch.no_grad():
        z.normal_(generator=torch.Generator().manual_seed(0))
    changed = sum(int(p.count_nonzero()) for p in merge(model).parameters())
    return len(z), sum(p.numel() for p in numbers), changed


@exercise(
    "14.4",
    "Where the budget goes",
    difficulty=1,
    minutes=5,
    points=4,
    reference=reference_count,
    hints=(
        "What is the budget for, besides z?",
        "One scale for each tensor, out of the budget: what is left is z. And P moves every number of every tensor.",
        "return dims - len(sizes), dims, ...",
    ),
)
def test_said_count(submission, cases):
    for case in cases():
        sizes = [case.integer(10, 30) for _ in range(case.integer(3, 6))]
        same(submission.said_count, reference_count, sizes=sizes, dims=case.integer(8, 40))


def reference_d90(budgets: list[int], accuracies: list[float], full: float) -> int:
    """One after the other, from the smallest on."""
    for budget, accuracy in sorted(zip(budgets, accuracies, strict=True)):
        if accuracy / full >= 0.9:
            return budget
    return 0


@exercise(
    "14.5",
    "Read off d90",
    difficulty=1,
    minutes=5,
    points=3,
    reference=reference_d90,
    hints=(
        "90 % of what?",
        "Of full fine-tuning's accuracy. Keep the budgets that reach it, and take the smallest.",
        "return min((d for d, accuracy in zip(budgets, accuracies) if accuracy >= ...), default=0)",
    ),
)
def test_said_d90(submission, cases):
    for i, case in enumerate(cases(k=7, count=4)):
        full, some = case.number(0.6, 0.85), case.integer(3, 9)
        shares = {2: 0.4, 8: 0.93, 16: 0.85, 32: 0.96, 64: 1.02, 128: 1.05, 256: 0.97}  # not always more with more
        if i == 3:
            shares = {d: share * 0.8 for d, share in shares.items()}  # none is enough
        order = (32, 256, 16, 8, 128, 2, 64) if i == 0 else [list(shares)[j] for j in case("k").argsort()]
        same(
            submission.said_d90,
            reference_d90,
            budgets=[some * d for d in order],
            accuracies=[shares[d] * full for d in order],
            full=full,
        )
    just = dict(budgets=[4, 8, 16], accuracies=[0.4, 0.45, 0.5], full=0.5)
    same(submission.said_d90, reference_d90, **just)
