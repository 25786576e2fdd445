"""The exercises of lesson 08, Ladder-Side Tuning, and their checks.  Right answers come from the library's modules."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from minipeft.additive.ladder_side import LadderSide, Rung
from minipeft.course.exercise import exercise
from minipeft.course.judge import same, same_gradients
from minipeft.gpt import GPT, Config
from minipeft.surgery import trainable


class Stub(nn.Module):
    """In the place of a side block."""

    def __init__(self, function: Callable):
        super().__init__()
        self.function = function

    def forward(self, s: Tensor, turn: None, mask: None) -> Tensor:
        return self.function(s)


def rung(
    s: Tensor, h: Tensor, D: Tensor, bias: Tensor, alpha: Tensor, temperature: float, block: Callable = lambda s: s
) -> Tensor:
    """The library's rung with these values, and with `block` for its block."""
    side, width = D.shape
    one = Rung(Config(width=side, heads=1, hidden=1), width, temperature)
    one.block = Stub(block)
    return functional_call(one, {"down.weight": D, "down.bias": bias, "alpha": alpha}, (s, h, None, None))


def reference_fuse(s: Tensor, h: Tensor, D: Tensor, bias: Tensor, alpha: Tensor, temperature: float) -> Tensor:
    return rung(s, h, D, bias, alpha, temperature)


@exercise(
    "08.1",
    "The rung",
    difficulty=1,
    minutes=10,
    points=4,
    reference=reference_fuse,
    hints=(
        "How long is h, how long is s, and what makes the one as long as the other?",
        "D h + bias has the side's width. Mix it with s: g of the one, 1 - g of the other. g is one number for all.",
        "g = torch.sigmoid(alpha / temperature); return g * s + ...",
    ),
)
def test_ladder_fuse(submission, cases):
    for case in cases("b t d e"):
        arguments = dict(
            s=case("b t e"), h=case("b t d"), D=case("e d"), bias=case("e"), alpha=0.3 * case(""),
            temperature=case.number(0.2, 0.6),
        )  # fmt: skip
        same(submission.ladder_fuse, reference_fuse, **arguments)
        same_gradients(submission.ladder_fuse, reference_fuse, wrt="s D bias alpha", tolerance=1e-4, **arguments)


def reference_side(
    states: Tensor, D_0: Tensor, d_0: Tensor, D: Tensor, d: Tensor, alpha: Tensor, M: Tensor, U: Tensor, u: Tensor
) -> Tensor:
    s = nn.functional.linear(states[0], D_0, d_0)
    for h, D_i, d_i, alpha_i, M_i in zip(states[1:], D, d, alpha, M, strict=True):
        s = rung(s, h, D_i, d_i, alpha_i, 0.1, lambda s, M=M_i: s + torch.tanh(nn.functional.linear(s, M)))
    return nn.functional.linear(s, U, u)


@exercise(
    "08.2",
    "Find the mistakes: the whole ladder",
    difficulty=2,
    minutes=15,
    points=4,
    reference=reference_side,
    hints=(
        "Compare each line with the equation: what is in the sigmoid, which state is read, which D reads it, and how "
        "wide is the result?",
        "alpha is divided by the temperature; rung i reads the stream *after* its block, with a D of its own; and at "
        "the end U brings the width back.",
        "g = torch.sigmoid(alpha[i] / 0.1), states[i + 1], D[i] and d[i], and ... @ U.T + u",
    ),
)
def test_ladder_side(submission, cases):
    for case in cases("b t d e", l=10, l1=11):
        arguments = dict(
            states=case("l1 b t d"), D_0=case("e d"), d_0=case("e"), D=case("l e d"), d=case("l e"),
            alpha=0.1 * case("l"), M=case("l e e"), U=case("d e"), u=case("d"),
        )  # fmt: skip
        same(submission.ladder_side, reference_side, tolerance=1e-4, **arguments)


def reference_count(d: int, f: int, r: int, rungs: int) -> int:
    """Counted in a real model."""
    model = GPT(Config("gpt2", vocab=7, context=4, layers=rungs, heads=1, width=d, hidden=f))
    return sum(p.numel() for p in trainable(LadderSide(reduction=r).attach(model)).values())


@exercise(
    "08.3",
    "How many numbers train",
    difficulty=2,
    minutes=10,
    points=3,
    reference=reference_count,
    hints=(
        "What are e and f / r, and how many numbers has one side block?",
        "A block has 4 e^2 + 2 e f / r weights, 5 e + f / r biases and 4 e in its norms. Each rung adds d e + e + 1.",
        "return rungs * (block + d * e + e + 1) + (d * e + e) + 2 * e + ...",
    ),
)
def test_ladder_count(submission, cases):
    for case in cases():
        r = case.integer(3, 4)
        same(submission.ladder_count, reference_count,
             d=r * case.integer(4, 6), f=r * case.integer(9, 12), r=r, rungs=case.integer(3, 5))  # fmt: skip


def reference_kept(b: int, t: int, d: int, rungs: list[int]) -> int:
    """Asked of autograd, in a model whose side is one number wide: what is d wide, or wider, is not its."""
    with torch.random.fork_rng(devices=[]):
        model = GPT(Config("gpt2", vocab=5, context=t, layers=max(rungs) + 2, heads=1, width=d, hidden=3 * d))
        LadderSide(reduction=d, layers=rungs).attach(model)
    own, kept = {p.data_ptr() for p in model.parameters()}, {}
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(
        lambda x: kept.update({x.data_ptr(): x}) or x, lambda x: x
    ):  # fmt: skip
        result = model(torch.zeros(b, t, dtype=torch.long))  # noqa: F841  as long as it lives, so does what was kept
    return sum(x.numel() for at, x in kept.items() if at not in own and x.numel() % (b * t * d) == 0)


@exercise(
    "08.4",
    "Predict: what is kept of the backbone",
    difficulty=2,
    minutes=10,
    points=3,
    reference=reference_kept,
    hints=(
        "Nothing in the backbone trains, and no gradient passes through it. Who reads what it computes, and what does "
        "that reader need for the gradient of its own weight?",
        "A Linear that trains keeps its input. The readers are the D of each rung, and D_0, which reads the embedding.",
        "return (1 + ...) * b * t * d",
    ),
)
def test_ladder_kept(submission, cases):
    for case in cases():
        sizes = dict(b=case.integer(2, 3), t=case.integer(5, 6), d=case.integer(7, 9))
        for rungs in ([1, 3, 4], [2]):
            same(submission.ladder_kept, reference_kept, **sizes, rungs=rungs)
