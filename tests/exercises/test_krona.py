"""The exercises of lesson 16, KronA, and their checks.  The right answers come from the library's own module."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from minipeft.course.exercise import exercise
from minipeft.course.judge import Case, Cases, same, same_gradients
from minipeft.reparametrization.krona import Kronecker


def sized(cases: Cases) -> Iterator[Case]:
    """Cases in which d_out is a multiple of 11 and d_in is not: they differ, as the factors' sides do."""
    for case in cases("b t a_out a_in b_in", b_out=11):
        case.sizes.update(d_out=case["a_out"] * case["b_out"], d_in=case["a_in"] * case["b_in"])
        yield case


def product(x: Tensor, A: Tensor, B: Tensor, scale: float) -> Tensor:
    """scale (A (x) B) x, by the library's branch with these values."""
    (a_out, a_in), (b_out, b_in) = A.shape, B.shape
    branch = Kronecker(a_in * b_in, a_out * b_out, scale, (a_out, a_in))
    return torch.func.functional_call(branch, {"A": A, "B": B}, (x,))


def reference_linear(x: Tensor, W: Tensor, bias: Tensor, A: Tensor, B: Tensor, scale: float) -> Tensor:
    return F.linear(x, W, bias) + product(x, A, B, scale)


@exercise(
    "16.1",
    "The layer, without the product",
    difficulty=2,
    minutes=15,
    points=8,
    reference=reference_linear,
    hints=(
        "x has d_in = a_in b_in numbers. Into which grid do you cut its last dimension, and which side of the grid "
        "does A act on, which side B?",
        "X is (..., a_in, b_in). A stands on its left and mixes the rows; B^T on its right and mixes the columns. The "
        "result is (..., a_out, b_out), and its rows one after the other are d_out numbers.",
        "X = x.unflatten(-1, (A.shape[1], B.shape[1])); ... scale * (A @ X @ ...).flatten(-2)",
    ),
)
def test_krona_linear(submission, cases):
    for case in sized(cases):
        arguments = dict(
            x=case("b t d_in"),
            W=case("d_out d_in"),
            bias=case("d_out"),
            A=case("a_out a_in"),
            B=case("b_out b_in"),
            scale=case.number(2, 4),
        )
        same(submission.krona_linear, reference_linear, **arguments)
        same_gradients(submission.krona_linear, reference_linear, wrt="x A B", **arguments)


def reference_survey(x: Tensor, W: Tensor, A: Tensor, B: Tensor, scale: float) -> Tensor:
    return x @ W + product(x, A.T, B.T, scale)


@exercise(
    "16.2",
    "Find the mistakes: the survey's listing",
    difficulty=2,
    minutes=10,
    points=6,
    reference=reference_survey,
    hints=(
        "How many numbers has what is cut into a grid, and how many has it to have? And what did alpha / r scale in "
        "LoRA, and what not?",
        "What is adapted is x, not x W. It has d_in numbers, so its grid has the factors' input sides, (a_in, b_in). "
        "And scale belongs to the change alone.",
        "X = x.reshape(A.shape[0], ...); y = x @ W + ...",
    ),
)
def test_krona_survey(submission, cases):
    for case in sized(cases):
        arguments = dict(x=case("d_in"), W=case("d_in d_out"), A=case("a_in a_out"), B=case("b_in b_out"))
        same(submission.krona_survey, reference_survey, **arguments, scale=case.number(2, 4))


def reference_fewest(d_out: int, d_in: int) -> int:
    """All sizes tried, and the numbers counted in the library's branch."""
    factors = [(i, j) for i in range(1, d_out + 1) for j in range(1, d_in + 1) if d_out % i == d_in % j == 0]
    with torch.device("meta"):
        branches = [Kronecker(d_in, d_out, 1.0, factor) for factor in factors]
    return min(sum(p.numel() for p in branch.parameters()) for branch in branches)


@exercise(
    "16.3",
    "The fewest numbers",
    difficulty=2,
    minutes=10,
    points=4,
    reference=reference_fewest,
    hints=(
        "If A is (a_out, a_in), how large is B, and how many numbers have the two together? Which a_out are possible?",
        "a_out is a divisor of d_out, a_in one of d_in, and B is (d_out / a_out, d_in / a_in). There are few such "
        "pairs: try them all. Both sides nearly square is a good choice, but not always the best.",
        "return min(i * j + (d_out // i) * ... for i in ... if d_out % i == 0 for j in ...)",
    ),
)
def test_krona_fewest(submission, cases):
    same(submission.krona_fewest, reference_fewest, d_out=10, d_in=54)  # near-square sides are not the best here
    for case in cases(count=3):
        d_out, d_in = 6 * case.integer(2, 9), 4 * case.integer(3, 12)
        same(submission.krona_fewest, reference_fewest, d_out=d_out, d_in=d_in)
        same(submission.krona_fewest, reference_fewest, d_out=d_out, d_in=1)  # a weight may be a row or a column
        same(submission.krona_fewest, reference_fewest, d_out=1, d_in=d_in)


def reference_rank(a_out: int, a_in: int, b_out: int, b_in: int) -> int:
    """Done, with random factors."""
    random = torch.Generator().manual_seed(0)
    A, B = (torch.randn(*sides, generator=random, dtype=torch.double) for sides in ((a_out, a_in), (b_out, b_in)))
    return int(torch.linalg.matrix_rank(torch.kron(A, B)))


@exercise(
    "16.4",
    "Predict: the rank of the product",
    difficulty=1,
    minutes=5,
    points=3,
    reference=reference_rank,
    hints=(
        "The singular values of A (x) B are all products of one singular value of A and one of B. How many of them are "
        "not zero?",
        "The rank of a Kronecker product is the product of the ranks, and the rank of a random matrix is its shorter "
        "side.",
        "return min(a_out, a_in) * ...",
    ),
)
def test_krona_rank(submission, cases):
    for case in cases("s1 s2 s3 s4"):
        s1, s2, s3, s4 = sorted(case.sizes.values())
        # wide and tall, both tall, tall and wide
        for a_out, a_in, b_out, b_in in ((s1, s3, s4, s2), (s4, s2, s3, s1), (s2, s1, s3, s4)):
            same(submission.krona_rank, reference_rank, a_out=a_out, a_in=a_in, b_out=b_out, b_in=b_in)


def reference_nearest(D: Tensor, a_out: int, a_in: int) -> Tensor:
    """By turns: the best B for this A, then the best A for this B, and so on until nothing moves."""
    blocks = torch.stack([block for row in D.double().chunk(a_out, 0) for block in row.chunk(a_in, 1)])
    B = blocks[blocks.square().sum((1, 2)).argmax()]
    for _ in range(500):
        A = (blocks * B).sum((1, 2)) / B.square().sum()
        B = (A[:, None, None] * blocks).sum(0) / A.square().sum()
    return torch.kron(A.reshape(a_out, a_in), B).to(D.dtype)


@exercise(
    "16.5",
    "The nearest Kronecker product",
    difficulty=3,
    minutes=15,
    points=5,
    reference=reference_nearest,
    hints=(
        "Write down D = A (x) B for A (2, 2): four blocks. If each becomes one row, how do the four rows differ?",
        "The new matrix is (all of A as a column) times (all of B as a row): of rank 1. The nearest matrix of rank 1 "
        "is the first singular value with its two vectors.",
        "blocks = D.reshape(a_out, b_out, a_in, b_in).transpose(1, 2).reshape(...); U, S, V = torch.linalg.svd(blocks)",
    ),
)
def test_krona_nearest(submission, cases):
    for case in sized(cases):
        D = torch.kron(case("a_out a_in"), case("b_out b_in")) + 0.5 * case("d_out d_in")
        sides = dict(a_out=case["a_out"], a_in=case["a_in"])
        same(submission.krona_nearest, reference_nearest, tolerance=1e-4, D=D, **sides)
