"""The exercises of lesson 07, Intrinsic Prompt Tuning, and their checks.  The right answers come from the library."""

import torch
from torch import Tensor, nn

from minipeft.additive.ipt import IPT, Autoencoder, Decoder
from minipeft.course.exercise import exercise
from minipeft.course.judge import same, same_gradients
from minipeft.gpt import GPT, Config
from minipeft.surgery import trainable


def decoder(W1: Tensor, W2: Tensor, n: int) -> Decoder:
    """The library's, of these sizes."""
    return Decoder(W1.shape[1], len(W1), n, len(W2) // n)


def named(W1: Tensor, b1: Tensor, W2: Tensor, b2: Tensor) -> dict[str, Tensor]:
    return {"first.weight": W1, "first.bias": b1, "last.weight": W2, "last.bias": b2}


def reference_decode(z: Tensor, W1: Tensor, b1: Tensor, W2: Tensor, b2: Tensor, n: int) -> Tensor:
    return torch.func.functional_call(decoder(W1, W2, n), named(W1, b1, W2, b2), (z,))


def weights(case) -> dict[str, Tensor]:
    """Of a decoder; W1 is small, so that tanh bends but is not flat."""
    rows = case["n"] * case["d"]
    last, bias = (case("n d m") / case["m"]).reshape(rows, -1), case("n d").reshape(rows)
    return dict(W1=case("m k") / case["k"], b1=case("m") / 2, W2=last, b2=bias)


@exercise(
    "07.1",
    "From k numbers to a prompt",
    difficulty=1,
    minutes=5,
    points=2,
    reference=reference_decode,
    hints=(
        "The decoder gives one long row. Whose numbers come first in it?",
        "Two Linears with a tanh between them, then the row of n d numbers is cut into n vectors of d.",
        "return (W2 @ torch.tanh(...) + b2).reshape(n, -1)",
    ),
)
def test_ipt_decode(submission, cases):
    for case in cases("n d m k"):
        arguments = dict(z=case("k"), **weights(case), n=case["n"])
        same(submission.ipt_decode, reference_decode, **arguments)
        same_gradients(submission.ipt_decode, reference_decode, wrt="z", tolerance=1e-4, **arguments)


class Rebuilt(nn.Module):
    """Both things that the library's autoencoder can say."""

    def __init__(self, part: Autoencoder):
        super().__init__()
        self.part = part

    def forward(self) -> tuple[Tensor, Tensor]:
        return self.part(), self.part.error()


def reference_rebuild(
    P: Tensor, E: Tensor, e: Tensor, W1: Tensor, b1: Tensor, W2: Tensor, b2: Tensor
) -> tuple[Tensor, Tensor]:
    both = Rebuilt(Autoencoder(P[None], decoder(W1, W2, len(P))))
    values = {f"part.decoder.{name}": value for name, value in named(W1, b1, W2, b2).items()}
    values |= {"part.encoder.weight": E, "part.encoder.bias": e}
    with torch.no_grad():
        return torch.func.functional_call(both, values, ())


@exercise(
    "07.2",
    "Through the bottleneck",
    difficulty=2,
    minutes=10,
    points=3,
    reference=reference_rebuild,
    hints=(
        "How many numbers are left of the whole prompt, not of each vector, in the middle?",
        "P.flatten() is the row that E reads. After it come the decoder of 07.1, and the mean of the squares.",
        "rebuilt = (W2 @ torch.tanh(W1 @ (E @ P.flatten() + e) + b1) + b2).reshape(...)",
    ),
)
def test_ipt_rebuild(submission, cases):
    for case in cases("n d m k"):
        row = case["n"] * case["d"]
        encoder = dict(E=(case("k n d") / row**0.5).reshape(case["k"], row), e=case("k") / 2)
        same(submission.ipt_rebuild, reference_rebuild, P=case("n d"), **encoder, **weights(case))


def reference_gradient(G: Tensor, z: Tensor, W1: Tensor, b1: Tensor, W2: Tensor) -> Tensor:
    """By autograd, through the library's decoder."""
    z = z.detach().requires_grad_()
    with torch.enable_grad():
        P = reference_decode(z, W1, b1, W2, torch.zeros(len(W2)), len(G))
    return torch.autograd.grad(P, z, G)[0]


@exercise(
    "07.3",
    "Find the two mistakes: what z learns from",
    difficulty=2,
    minutes=10,
    points=3,
    reference=reference_gradient,
    hints=(
        "At which number is the derivative of tanh taken? And is G read in the order in which the prompt was written?",
        "What comes out of tanh has the derivative 1 - tanh^2. The prompt's row holds its vectors one after the other, "
        "and so must G's.",
        "hidden = torch.tanh(W1 @ z + b1), and G.flatten()",
    ),
)
def test_ipt_gradient(submission, cases):
    for case in cases("n d m k"):
        decoder = {name: value for name, value in weights(case).items() if name != "b2"}
        same(submission.ipt_gradient, reference_gradient, tolerance=1e-4, G=case("n d"), z=case("k"), **decoder)


def reference_explained(change: Tensor, others: Tensor) -> Tensor:
    """By directions at right angles, in fp64, one after the other."""
    change, basis = change.flatten().double(), []
    for other in others.flatten(1).double():
        for b in basis:
            other = other - b * (b @ other)
        basis.append(other / other.norm())
    held = sum((b @ change) ** 2 for b in basis)
    return (held / (change @ change)).float()


@exercise(
    "07.4",
    "How much of it do the others hold?",
    difficulty=2,
    minutes=15,
    points=3,
    reference=reference_explained,
    hints=(
        "Which problem do you solve when you look for the numbers a_i that bring a sum nearest to a given vector?",
        "Least squares: the others, each as a column of n d numbers, and the change as the right-hand side. Compare "
        "squared lengths.",
        "a = torch.linalg.lstsq(others.flatten(1).T, change.flatten()[:, None]).solution",
    ),
)
def test_ipt_explained(submission, cases):
    for case in cases("n d", s=3):
        common = case("n d")  # prompts have something in common, so they are not at right angles
        others = case("s n d") + common
        others.axes = "s n d"
        change = case("n d") + common
        change.axes = "n d"
        same(submission.ipt_explained, reference_explained, tolerance=1e-4, change=change, others=others)


def reference_counts(n: int, d: int, m: int, k: int) -> tuple[int, int, int]:
    """Counted in real modules, and in many prompts that one of them makes."""
    model = GPT(Config("gpt2", vocab=7, context=n + 4, layers=1, heads=1, width=d, hidden=8))
    made = IPT(length=n, size=k, hidden=m, sources=[]).attach(model).trunk.prompt
    part = Autoencoder(torch.zeros(2, n, d), made)
    space = sum(p.numel() for p in part.parameters()) - made.z.numel()
    draws, wide = torch.Generator().manual_seed(0), made.double()
    for p in wide.parameters():
        p.data = torch.randn(p.shape, generator=draws, dtype=torch.double)
    many = 2 * torch.randn(4 * m, k, generator=draws, dtype=torch.double)
    prompts = torch.stack([wide(z).flatten() - wide.last.bias for z in many])
    return space, sum(p.numel() for p in trainable(model).values()), torch.linalg.matrix_rank(prompts).item()


@exercise(
    "07.5",
    "What trains, and how wide the space is",
    difficulty=1,
    minutes=10,
    points=3,
    reference=reference_counts,
    hints=(
        "Each of the three matrices has a bias. And W2 times anything: in the span of what does it lie?",
        "Encoder: n d k + k. Decoder: k m + m, and m n d + n d. W2 has m columns; vectors of n d numbers span n d "
        "dimensions at most.",
        "return (n * d * k + k) + ..., k, min(m, n * d)",
    ),
)
def test_ipt_counts(submission, cases):
    for case in cases():
        sizes = dict(n=case.integer(4, 6), d=case.integer(4, 6), m=case.integer(7, 9), k=case.integer(3, 5))
        same(submission.ipt_counts, reference_counts, **sizes)
    same(submission.ipt_counts, reference_counts, n=2, d=3, m=9, k=4)
