"""The exercises of lesson 12, FAR, and their checks.  The right answers come from the library's own module."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from minipeft.course.exercise import exercise
from minipeft.course.judge import same, same_gradients
from minipeft.gpt import GPT, Config
from minipeft.selective.far import FAR, Rows
from minipeft.surgery import trainable


def reference_select(W: Tensor, W0: Tensor, share: float) -> Tensor:
    """Left to the recipe, on a model that is one Linear of an MLP."""
    model = nn.ModuleDict({"mlp": nn.ModuleDict({"up": nn.Linear(W.shape[1], W.shape[0], bias=False)})})
    linear = model["mlp"]["up"]
    with torch.no_grad():
        linear.weight.copy_(W0)
        recipe = FAR(share=share).stages(model, [])
        next(recipe)
        linear.weight.copy_(W)
        next(recipe)
    return linear.parametrizations.weight[0].rows


@exercise(
    "12.1",
    "Which nodes train",
    difficulty=1,
    minutes=10,
    points=5,
    reference=reference_select,
    hints=(
        "What is the movement of one row, as one number?",
        "(W - W0).abs().sum(1) is one number a node. topk gives the largest, and their places; sort those.",
        "moved.topk(max(1, round(share * len(W)))).indices...",
    ),
)
def test_far_select(submission, cases):
    for i, case in enumerate(cases(d_in=8, d_out=12)):
        W0, noise = case("d_out d_in"), case("d_out d_in")
        there_and_back, one = torch.tensor([1.0, -1.0]).repeat(4), torch.eye(8)[3]
        moved = noise * 0.02 + W0 * 0.01
        # rows that move far in one way or another; the others hardly move, and are large
        ways = {0: 5 * one, 1: 0.8 * there_and_back, 3: 0.7 * torch.ones(8), 4: 0.9 * there_and_back, 5: 4.5 * one}
        for row, way in ways.items():
            moved[row] = way
        W0[6:] *= 5
        order = torch.arange(12) if i == 0 else case("d_out").argsort()
        W0, moved = W0[order], moved[order]
        W0.axes = "d_out d_in"
        W = W0 + moved
        W.axes = "d_out d_in"
        share = (0.15, 0.3, 0.01)[i]  # 1.8 and 3.6 of twelve, rounded up; and one at least
        same(submission.far_select, reference_select, W=W, W0=W0, share=share)


def reference_linear(x: Tensor, W_t: Tensor, b_t: Tensor, W_f: Tensor, b_f: Tensor, rows: Tensor) -> Tensor:
    """One Linear, whose rows are put together as the library does it."""
    learns = torch.zeros(len(W_t) + len(W_f), dtype=torch.bool).index_fill(0, rows, True)
    others = (~learns).nonzero()[:, 0]

    def whole(learners: Tensor, frozen: Tensor) -> Tensor:
        start = torch.zeros(len(learners) + len(frozen), *frozen.shape[1:]).index_copy(0, others, frozen)
        return torch.func.functional_call(Rows(rows, learners.detach()), {"values": learners}, start)

    return F.linear(x, whole(W_t, W_f), whole(b_t, b_f))


@exercise(
    "12.2",
    "Two Linears, put back in order",
    difficulty=2,
    minutes=15,
    points=6,
    reference=reference_linear,
    hints=(
        "After concatenating, where does the output stand that belongs to place 0 of the result?",
        "The concatenation holds the places `order`: the learners' rows, then all others. What undoes a permutation is "
        "its argsort. Or make an empty result and write both halves to their places.",
        "return y[..., order.argsort()]",
    ),
)
def test_far_linear(submission, cases):
    for i, case in enumerate(cases("b t d_in", d_out=10, k=3, rest=7)):
        rows = torch.tensor([2, 5, 9]) if i == 0 else case("d_out").argsort()[:3].sort().values
        arguments = dict(
            x=case("b t d_in"),
            W_t=case("k d_in"),
            b_t=case("k"),
            W_f=case("rest d_in"),
            b_f=case("rest"),
            rows=rows,
        )
        same(submission.far_linear, reference_linear, **arguments)
        same_gradients(submission.far_linear, reference_linear, wrt="x W_t b_t", **arguments)


def reference_step(W: Tensor, G: Tensor, rows: Tensor, lr: float, decay: float) -> Tensor:
    """torch's own optimizer, on the learners of the library's module."""
    learners = Rows(rows, W[rows])
    optimizer = torch.optim.SGD(learners.parameters(), lr, weight_decay=decay)
    learners(W).backward(G)
    optimizer.step()
    return learners(W).detach()


@exercise(
    "12.3",
    "Find the mistake: a step that moves what is frozen",
    difficulty=2,
    minutes=10,
    points=5,
    reference=reference_step,
    hints=(
        "Call it with G = 0. Which rows should change then, and which do?",
        "Weight decay belongs to what trains. The mask keeps the gradient from the frozen rows, but not the decay.",
        "new = W - lr * mask * (...)",
    ),
)
def test_far_step(submission, cases):
    for case in cases("d_in", d_out=10):
        same(
            submission.far_step,
            reference_step,
            W=case("d_out d_in"),
            G=case("d_out d_in"),
            rows=case("d_out").argsort()[:4].sort().values,
            lr=case.number(0.1, 0.5),
            decay=case.number(0.2, 0.6),
        )


def config(layers: int, d: int, f: int) -> Config:
    return Config("gpt2", vocab=11, context=4, layers=layers, heads=2, width=d, hidden=f)


def reference_count(total: int, layers: int, d: int, f: int, share: float) -> int:
    """Counted in a real model, without memory."""
    with torch.device("meta"):
        model = GPT(config(layers, d, f))
        recipe = FAR(share=share).stages(model, [])
        next(recipe)
        next(recipe)
    return sum(p.numel() for p in trainable(model).values())


@exercise(
    "12.4",
    "How many numbers train",
    difficulty=2,
    minutes=10,
    points=4,
    reference=reference_count,
    hints=(
        "What trains outside the MLPs, and how large is a node of `up`, and one of `down`?",
        "A node of up is d weights and a bias, one of down f weights and a bias. Take the MLPs off the total, and add "
        "the learners of each Linear.",
        "return total + layers * (learners - (f * (d + 1) + d * (f + 1)))",
    ),
)
def test_far_count(submission, cases):
    for case in cases():
        layers, d, f = case.integer(2, 4), 2 * case.integer(6, 9), case.integer(30, 50)
        total = sum(p.numel() for p in GPT(config(layers, d, f)).parameters())
        for nodes in (case.integer(4, 12) + 0.7, 0.3):  # so that cutting off and rounding differ; and less than a node
            same(submission.far_count, reference_count, total=total, layers=layers, d=d, f=f, share=nodes / f)


def reference_rank(d_out: int, d_in: int, k: int, rewind: bool) -> int:
    """Done, with random movements: the rank is then as large as it can be."""
    random = torch.Generator().manual_seed(0)
    W0, primed, last = (torch.randn(d_out, d_in, generator=random, dtype=torch.double) for _ in range(3))
    learners = Rows(torch.arange(k), last[:k], None if rewind else primed)
    return int(torch.linalg.matrix_rank(learners(W0).detach() - W0))


@exercise(
    "12.5",
    "Predict: the rank of the change",
    difficulty=2,
    minutes=5,
    points=4,
    reference=reference_rank,
    hints=(
        "Which rows of the change are not zero?",
        "With rewind only the learners' rows, so k at most; without, priming has moved every row. And no rank is "
        "larger than the shorter side.",
        "return min(k, d_in) if rewind else ...",
    ),
)
def test_far_rank(submission, cases):
    for rewind in (True, False):
        for case in cases("d_out d_in"):
            same(
                submission.far_rank,
                reference_rank,
                d_out=2 * case["d_out"] + 12,
                d_in=case["d_in"] + 5,
                k=case.integer(2, 7),
                rewind=rewind,
            )
            same(submission.far_rank, reference_rank, d_out=48, d_in=case["d_in"], k=24, rewind=rewind)
            same(submission.far_rank, reference_rank, d_out=case["d_out"] + 5, d_in=48, k=3, rewind=rewind)
