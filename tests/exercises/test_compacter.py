"""The exercises of lesson 21, Compacter, and their checks.  The right answers come from the library's own modules."""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.func import functional_call

from minipeft.additive.adapters import Bottleneck
from minipeft.course.exercise import exercise
from minipeft.course.judge import Case, Cases, same, same_gradients
from minipeft.gpt import GPT, Config
from minipeft.hybrid.compacter import PHM, Compacter
from minipeft.surgery import Serial, trainable


def sized(cases: Cases, letters: str) -> Iterator[Case]:
    """Cases with the widths of a weight made of n by n blocks (o, k)."""
    for case in cases(letters):
        case.sizes.update(d_out=case["n"] * case["o"], d_in=case["n"] * case["k"])
        yield case


def phm(A: Tensor, s: Tensor, t: Tensor) -> PHM:
    """The library's layer, with these values."""
    (n, o, r), k = s.shape, t.shape[2]
    layer = PHM(n * k, n * o, n, r, 1.0)
    for name, value in (("A", A), ("s", s), ("t", t)):
        getattr(layer, name).data = value.detach().clone()
    return layer


def reference_weight(A: Tensor, s: Tensor, t: Tensor) -> Tensor:
    """What the library's layer makes of unit vectors is its weight, column by column."""
    (n, o, r), k = s.shape, t.shape[2]
    given = {"A": A, "s": s, "t": t, "bias": torch.zeros(n * o)}
    return functional_call(PHM(n * k, n * o, n, r, 1.0), given, (torch.eye(n * k),)).T


@exercise(
    "21.1",
    "The weight",
    difficulty=1,
    minutes=10,
    points=5,
    reference=reference_weight,
    hints=(
        "What are the sizes of A[i] and of s[i] @ t[i], and of their Kronecker product?",
        "(n, n), (o, k) and (n o, n k). Do it for each i, with A[i] on the left, and add the n results.",
        "return sum(torch.kron(A[i], ...) for i in range(len(A)))",
    ),
)
def test_phm_weight(submission, cases):
    for case in sized(cases, "n o k r"):
        arguments = dict(A=case("n n n"), s=case("n o r"), t=case("n r k"))
        same(submission.phm_weight, reference_weight, **arguments)
        same_gradients(submission.phm_weight, reference_weight, wrt="A s t", tolerance=1e-4, **arguments)


def reference_adapter(
    h: Tensor, A: Tensor, s_down: Tensor, t_down: Tensor, c: Tensor, s_up: Tensor, t_up: Tensor, b: Tensor
) -> Tensor:
    bottleneck = Bottleneck(h.shape[-1], len(c))
    bottleneck.down, bottleneck.up = phm(A, s_down, t_down), phm(A, s_up, t_up)
    bottleneck.down.bias.data, bottleneck.up.bias.data = c.clone(), b.clone()
    with torch.no_grad():
        return Serial(torch.nn.Identity(), bottleneck)(h)


@exercise(
    "21.2",
    "Find the mistakes: the survey's listing",
    difficulty=1,
    minutes=10,
    points=4,
    reference=reference_adapter,
    hints=(
        "Which factors has each of the two matrices? And if U were zero, what should the adapter give back?",
        "Up is a layer of its own, with s_up, t_up and b; only A is the same. And an adapter has a skip: with U and b "
        "zero it gives h.",
        "y = h + lphm(z, A, s_up, ..., b)",
    ),
)
def test_compacter_adapter(submission, cases):
    for case in cases("b l n o k r"):
        case.sizes.update(m=case["n"] * case["o"], d=case["n"] * case["k"])
        arguments = dict(
            h=case("b l d"), A=0.1 * case("n n n"), s_down=case("n o r"), t_down=case("n r k"), c=case("m"),
            s_up=case("n k r"), t_up=case("n r o"), b=case("d"),
        )  # fmt: skip
        same(submission.compacter_adapter, reference_adapter, **arguments)


def reference_count(layers: int, d: int, m: int, n: int, r: int, shared: bool, norms: bool) -> int:
    """Counted in a real model."""
    with torch.device("meta"):
        model = GPT(Config("gpt2", vocab=7, context=4, layers=layers, heads=1, width=d, hidden=8))
        method = Compacter(size=m, n=n, rank=r, shared=shared, norms=norms)
        return sum(p.numel() for p in trainable(method.attach(model)).values())


@exercise(
    "21.3",
    "How many numbers train",
    difficulty=2,
    minutes=10,
    points=4,
    reference=reference_count,
    hints=(
        "What are the shapes of s and t for D, and how many numbers is that in all n of them together?",
        "s has n (m / n) r = m r numbers, t has d r; the same for U, and the biases m + d. A has n^3: once, or once "
        "for each of the 4 layers matrices. A LayerNorm has 2 d numbers, and there are 2 layers + 1.",
        "return 2 * layers * (2 * r + 1) * (d + m) + ...",
    ),
)
def test_compacter_count(submission, cases):
    for case in cases():
        for n, shared, norms in ((3, True, True), (4, False, True), (5, True, False)):
            layers, d, m, r = case.integer(2, 5), n * case.integer(7, 9), n * case.integer(2, 4), case.integer(2, 3)
            same(submission.compacter_count, reference_count,
                 layers=layers, d=d, m=m, n=n, r=r, shared=shared, norms=norms)  # fmt: skip


def reference_shared_gradient(G: Tensor, s: Tensor, t: Tensor) -> Tensor:
    """Asked of autograd, of layers that really share."""
    p, n = s.shape[:2]
    layers = [phm(torch.zeros(n, n, n), s[j], t[j]) for j in range(p)]
    for layer in layers[1:]:
        layer.borrow(layers[0])
    with torch.enable_grad():
        sum((g * layer.weight()).sum() for g, layer in zip(G, layers, strict=True)).backward()
    return layers[0].A.grad


@exercise(
    "21.4",
    "The gradient of what is shared",
    difficulty=3,
    minutes=20,
    points=5,
    reference=reference_shared_gradient,
    hints=(
        "If A_i[a, c] grows by a little, which numbers of W_j change, and by how much?",
        "Those in the block (a, c), by s_ji t_ji. So multiply that block of G[j] with s_ji t_ji, number by number, and "
        "add up; then add over all weights j.",
        "blocks = G[j].reshape(n, o, n, k).transpose(1, 2); total[i] += (blocks * ...).sum((2, 3))",
    ),
)
def test_compacter_shared_gradient(submission, cases):
    for case in sized(cases, "p n o k r"):
        arguments = dict(G=case("p d_out d_in"), s=case("p n o r"), t=case("p n r k"))
        same(submission.compacter_shared_gradient, reference_shared_gradient, tolerance=1e-4, **arguments)


def reference_rank(d: int, m: int, n: int, r: int) -> int:
    """Measured."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return int(torch.linalg.matrix_rank(PHM(d, m, n, r, 1.0).double().weight()))


@exercise(
    "21.5",
    "Predict: the rank",
    difficulty=2,
    minutes=5,
    points=2,
    reference=reference_rank,
    hints=(
        "What is the rank of one term, A_i (x) s_i t_i? And what can it be, at most, of a sum of n of them?",
        "n r for one term, so n times that for the sum. And D has m rows and d columns.",
        "return min(m, d, ...)",
    ),
)
def test_compacter_rank(submission, cases):
    for case in cases():
        d, m, r = 4 * case.integer(17, 20), 4 * case.integer(13, 16), case.integer(2, 3)
        same(submission.compacter_rank, reference_rank, d=d, m=m, n=4, r=r)
        same(submission.compacter_rank, reference_rank, d=36, m=4 * case.integer(4, 6), n=4, r=3)
        same(submission.compacter_rank, reference_rank, d=4 * case.integer(4, 6), m=40, n=4, r=3)
