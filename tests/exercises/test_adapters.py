"""The exercises of lesson 03, adapters, and their checks.  The right answers come from the library's own modules."""

import torch
from torch import Tensor, nn
from torch.func import functional_call

from minipeft.additive.adapters import Adapters, Bottleneck
from minipeft.course.exercise import exercise
from minipeft.course.judge import same, same_gradients
from minipeft.gpt import GPT, Config
from minipeft.surgery import Serial, trainable


def module(D: Tensor, base: nn.Module | None = None, activation: str = "gelu") -> Serial:
    """The library's adapter after `base`, without values."""
    size, width = D.shape
    with torch.device("meta"):
        return Serial(base or nn.Identity(), Bottleneck(width, size, activation))


def values(D: Tensor, c: Tensor, U: Tensor, b: Tensor) -> dict[str, Tensor]:
    return {"branch.down.weight": D, "branch.down.bias": c, "branch.up.weight": U, "branch.up.bias": b}


def reference_adapter(h: Tensor, D: Tensor, c: Tensor, U: Tensor, b: Tensor) -> Tensor:
    return functional_call(module(D), values(D, c, U, b), (h,))


def weights(case) -> dict[str, Tensor]:
    return dict(D=case("m d"), c=case("m"), U=case("d m"), b=case("d"))


@exercise(
    "03.1",
    "The adapter",
    difficulty=1,
    minutes=10,
    points=5,
    reference=reference_adapter,
    hints=(
        "How many paths lead from h to the result?",
        "Two: h itself, and the bottleneck: down by D, plus c, through gelu, up by U, plus b. Add them.",
        "return h + F.gelu(h @ D.T + c) @ ...",
    ),
)
def test_adapter(submission, cases):
    for case in cases("b t d m"):
        arguments = dict(h=case("b t d"), **weights(case))
        same(submission.adapter, reference_adapter, **arguments)
        same_gradients(submission.adapter, reference_adapter, wrt="h D c U b", tolerance=1e-4, **arguments)


def reference_joins(x: Tensor, s: Tensor, D: Tensor, c: Tensor, U: Tensor, b: Tensor, placement: str) -> Tensor:
    if placement == "houlsby":
        return x + reference_adapter(s, D, c, U, b)
    return reference_adapter(x + s, D, c, U, b)


@exercise(
    "03.2",
    "Where it joins the stream",
    difficulty=2,
    minutes=10,
    points=3,
    reference=reference_joins,
    hints=(
        "What does the adapter read in each of the two placements, s or x + s?",
        "Houlsby: s goes through A, then x is added. Pfeiffer: x + s goes through A. A has its own skip in both.",
        'return x + A(s) if placement == "houlsby" else ...',
    ),
)
def test_adapter_joins(submission, cases):
    for case in cases("b t d m"):
        for placement in ("houlsby", "pfeiffer"):
            arguments = dict(x=case("b t d"), s=case("b t d"), **weights(case), placement=placement)
            same(submission.adapter_joins, reference_joins, **arguments)


def reference_count(layers: int, d: int, m: int, norms: bool) -> int:
    """Counted in a real model."""
    with torch.device("meta"):
        model = GPT(Config("gpt2", vocab=7, context=4, layers=layers, heads=1, width=d, hidden=8))
        return sum(p.numel() for p in trainable(Adapters(size=m, norms=norms).attach(model)).values())


@exercise(
    "03.3",
    "How many numbers train",
    difficulty=1,
    minutes=5,
    points=3,
    reference=reference_count,
    hints=(
        "What are the shapes of D, c, U and b, and how many numbers is that together?",
        "2 d m + m + d an adapter, two adapters a block. A LayerNorm has 2 d numbers, and there are 2 layers + 1.",
        "return 2 * layers * (2 * d * m + m + d) + ...",
    ),
)
def test_adapter_count(submission, cases):
    for case in cases():
        sizes = dict(layers=case.integer(2, 5), d=case.integer(6, 9), m=case.integer(2, 4))
        for norms in (True, False):
            same(submission.adapter_count, reference_count, **sizes, norms=norms)


def reference_moves(D_is_zero: bool, U_is_zero: bool) -> tuple[bool, ...]:
    """Asked of autograd."""
    draws = torch.Generator().manual_seed(0)
    adapter = Serial(nn.Identity(), Bottleneck(5, 3))
    with torch.no_grad():
        for linear, zero in ((adapter.branch.down, D_is_zero), (adapter.branch.up, U_is_zero)):
            linear.weight.copy_(torch.randn(linear.weight.shape, generator=draws) * (not zero))
            linear.bias.zero_()
    adapter(torch.randn(4, 5, generator=draws)).backward(torch.randn(4, 5, generator=draws))
    return tuple(bool(p.grad.any()) for p in adapter.branch.parameters())  # down.weight, down.bias, up.weight, up.bias


@exercise(
    "03.4",
    "Predict: who moves first",
    difficulty=2,
    minutes=10,
    points=2,
    reference=reference_moves,
    hints=(
        "A gradient travels backwards: what does it pass on its way to D, and what is it multiplied by to give U's?",
        "To D and c it comes through U. U's gradient is a product with gelu(D h + c), which is zero if D and c are. "
        "b is added to the result: nothing stands in its way.",
        "return not U_is_zero, ..., ..., True",
    ),
)
def test_adapter_moves(submission, cases):
    for D_is_zero, U_is_zero in ((True, True), (False, True), (True, False), (False, False)):
        same(submission.adapter_moves, reference_moves, D_is_zero=D_is_zero, U_is_zero=U_is_zero)


def reference_folded(W: Tensor, bias: Tensor, D: Tensor, c: Tensor, U: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """What the two make of zero is the bias, and of each unit vector, without the bias, a column of the weight."""
    two = module(D, nn.Linear(W.shape[1], W.shape[0]))
    two.branch.act = nn.Identity()
    given = values(D, c, U, b) | {"base.weight": W, "base.bias": bias}
    of_zero = functional_call(two, given, (torch.zeros(W.shape[1]),))
    return (functional_call(two, given, (torch.eye(W.shape[1]),)) - of_zero).T, of_zero


@exercise(
    "03.5",
    "Find the mistake: folded, if it were linear",
    difficulty=2,
    minutes=10,
    points=3,
    reference=reference_folded,
    hints=(
        "Put x = 0 through both. What comes out, and what does the code's bias say?",
        "y = M h + U c + b with M = I + U D, and h = W x + bias. M meets both terms of h.",
        "new_bias = M @ ... + U @ c + b",
    ),
)
def test_adapter_folded(submission, cases):
    for case in cases("d_in d m"):
        arguments = dict(W=case("d d_in"), bias=case("d"), **weights(case))
        same(submission.adapter_folded, reference_folded, tolerance=1e-4, **arguments)
