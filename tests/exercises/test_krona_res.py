"""The exercises of lesson 17, KronA beside the MLP, and their checks.  Right answers come from the library's module."""

from collections.abc import Iterator

import torch
from torch import Tensor

from minipeft.course.exercise import exercise
from minipeft.course.judge import Case, Cases, Wrong, call_text, fault, same, same_gradients, tensors
from minipeft.gpt import GPT, MLP, Config
from minipeft.reparametrization.krona import Kronecker
from minipeft.reparametrization.krona_res import KronARes, ResidualKronecker
from minipeft.surgery import trainable


def sized(cases: Cases, letters: str) -> Iterator[Case]:
    """Cases in which d is a times c."""
    for case in cases(f"a c {letters}"):
        case.sizes["d"] = case["a"] * case["c"]
        yield case


def branch(x: Tensor, A: Tensor, B: Tensor, scale: float, r: Tensor) -> Tensor:
    """The library's branch with these values."""
    d = len(A) * len(B)
    values = {"product.A": A, "product.B": B, "r": r}
    return torch.func.functional_call(ResidualKronecker(Kronecker(d, d, scale, A.shape)), values, (x,))


def reference_res(h: Tensor, x: Tensor, A: Tensor, B: Tensor, scale: float, r: Tensor) -> Tensor:
    return h + branch(x, A, B, scale, r)


@exercise(
    "17.1",
    "Beside the MLP",
    difficulty=1,
    minutes=10,
    points=6,
    reference=reference_res,
    hints=(
        "Three things are added up. Which of them does scale belong to, and which r? Do they read x or h?",
        "The product and the scaled copy both read x, as the MLP does. scale belongs to the product, r to the copy. "
        "For the product, cut x into a grid of a rows, as in 16.1.",
        "X = x.unflatten(-1, (len(A), len(B))); return h + scale * (A @ X @ B.T).flatten(-2) + ...",
    ),
)
def test_krona_res(submission, cases):
    for case in sized(cases, "b t"):
        arguments = dict(
            h=case("b t d"),
            x=case("b t d"),
            A=case("a a"),
            B=case("c c"),
            scale=case.number(2, 4),
            r=torch.tensor(case.number(0.2, 0.8)),
        )
        same(submission.krona_res, reference_res, **arguments)
        same_gradients(submission.krona_res, reference_res, wrt="x A B", **arguments)
        # of r it is one sum over all numbers, in which large ones of both signs cancel
        same_gradients(submission.krona_res, reference_res, wrt="r", tolerance=1e-3, **arguments)


def reference_count(L: int, d: int, f: int, a: int, residual: bool) -> int:
    """Counted in a real model."""
    c = Config("gpt2", vocab=7, context=4, layers=L, heads=1, width=d, hidden=f)
    model = KronARes(factor=(a, a), residual=residual).attach(GPT(c))
    return sum(p.numel() for p in trainable(model).values())


@exercise(
    "17.2",
    "How many numbers train",
    difficulty=1,
    minutes=5,
    points=4,
    reference=reference_count,
    hints=(
        "From where to where does the product map: what does the MLP read, and what does it write?",
        "From d numbers to d numbers, whatever f is. A has a a numbers, B (d / a) (d / a), and the residual adds one "
        "number in each layer.",
        "return L * (a * a + (d // a) ** 2 + ...)",
    ),
)
def test_krona_res_count(submission, cases):
    for case in cases("a c L"):
        d = case["a"] * case["c"]
        for residual in (True, False):
            sizes = dict(L=case["L"], d=d, f=case["a"] * case.integer(11, 19), a=case["a"])
            same(submission.krona_res_count, reference_count, **sizes, residual=residual)


def reference_gradients(x: Tensor, G: Tensor, A: Tensor, B: Tensor, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    parts = [z.clone().requires_grad_(True) for z in (A, B, torch.zeros(()))]
    with torch.enable_grad():
        y = branch(x, parts[0], parts[1], scale, parts[2])
    return torch.autograd.grad(y, parts, G)


@exercise(
    "17.3",
    "Find the mistakes: gradients by hand",
    difficulty=2,
    minutes=10,
    points=6,
    reference=reference_gradients,
    hints=(
        "Let torch tell you: compute y with A, B and r that require a gradient, and call y.backward(G). Which of the "
        "three differs, and by what factor?",
        "Two of the three are right. r meets x alone: no scale stands before it. And G holds one gradient for each "
        "number of the output: what r did to them adds up.",
        "dr = (G * x)...",
    ),
)
def test_krona_res_gradients(submission, cases):
    for case in sized(cases, "n"):
        arguments = dict(x=case("n d"), G=case("n d"), A=case("a a"), B=case("c c"), scale=case.number(2, 4))
        same(submission.krona_res_gradients, reference_gradients, tolerance=1e-4, **arguments)


def mlp(x: Tensor, up: Tensor, bias: Tensor, down: Tensor) -> Tensor:
    """The library's MLP with these values."""
    f, d = up.shape
    values = {"up.weight": up, "up.bias": bias, "down.weight": down, "down.bias": torch.zeros(d)}
    return torch.func.functional_call(MLP(Config("gpt2", heads=1, width=d, hidden=f)), values, (x,))


def reference_widened(up: Tensor, bias: Tensor, down: Tensor, M: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    d = len(M)
    more = torch.stack([torch.eye(d), -torch.eye(d)], 1).flatten(0, 1)  # z, -z, for one number of x after the other
    return torch.cat([up, more]), torch.cat([bias, torch.zeros(2 * d)]), torch.cat([down, M @ more.T], 1)


@exercise(
    "17.4",
    "Folded in, at a price",
    difficulty=3,
    minutes=15,
    points=8,
    reference=reference_widened,
    hints=(
        "gelu(z) - gelu(-z) = z p(z) + z p(-z). What is left of it?",
        "It is z itself. So two hidden units, one that reads x_i and one that reads -x_i, can hand x_i on unchanged, "
        "if down subtracts the second from the first. Where does M come in?",
        "one = torch.eye(d); up = torch.cat([up, one, -one]); ...; down = torch.cat([down, M, ...], 1)",
    ),
)
def test_krona_res_widened(submission, cases):
    for case in cases("b t d f"):
        given = dict(up=case("f d"), bias=case("f"), down=case("d f"), M=case("d d"))
        called = call_text("krona_res_widened", given)
        x, (d, f) = case("b t d"), (case["d"], case["f"])
        expected = mlp(x, given["up"], given["bias"], given["down"]) + x @ given["M"].T
        answer, meaning = (
            submission.krona_res_widened(**given),
            "up (f + 2 d, d), bias (f + 2 d,) and down (d, f + 2 d)",
        )
        shapes = dict(up=(f + 2 * d, d), bias=(f + 2 * d,), down=(d, f + 2 * d))
        got = mlp(x, *tensors(answer, meaning, called, **shapes))
        if found := fault(got, expected, 1e-4):
            raise Wrong(f"what the wider MLP makes of an x (b, t, d): {found}", ("value", got), called)
