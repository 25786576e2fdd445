"""The exercises of lesson 13, FISH Mask, and their checks.  The right answers come from the library's own modules."""

import torch
from torch import Tensor, nn

from minipeft.course.exercise import exercise
from minipeft.course.judge import same
from minipeft.method import Method
from minipeft.selective.fishmask import fisher
from minipeft.sparse import budget, largest


def reference_fisher(x: Tensor, G: Tensor) -> Tensor:
    """The library's, one backward pass an example, for a log p whose gradient at the Linear's output is G."""

    class Linear(Method):
        def loss(self, model: nn.Module, which: Tensor, _: Tensor) -> Tensor:
            return -(model.w(x[which[0]]) * G[which[0]]).sum()

    model = nn.Module()
    model.w = nn.Linear(x.shape[2], G.shape[2], bias=False)
    n = len(x)
    with torch.enable_grad():
        return fisher(Linear(), model, [(torch.arange(n)[:, None], torch.zeros(n, 1))], n)["w.weight"]


@exercise(
    "13.1",
    "One gradient for each example",
    difficulty=2,
    minutes=15,
    points=7,
    reference=reference_fisher,
    hints=(
        "What is the gradient of W for example i alone, as a product of two matrices? What is then squared, and what "
        "is averaged?",
        "For one example it is G_i^T x_i, (d_out, t) times (t, d_in): the product sums over its tokens. Form it for "
        "each example, then square every number, then take the mean over the examples.",
        "return (G.transpose(1, 2) @ x)...",
    ),
)
def test_fish_fisher(submission, cases):
    for case in cases("n t d_in d_out"):
        same(submission.fish_fisher, reference_fisher, tolerance=1e-4, x=case("n t d_in"), G=case("n t d_out"))


def reference_mask(F1: Tensor, F2: Tensor, F3: Tensor, density: float) -> tuple[Tensor, Tensor, Tensor]:
    tensors = {"F1": F1, "F2": F2, "F3": F3}
    where = largest(tensors, int(density * sum(f.numel() for f in tensors.values())))
    masks = {name: torch.zeros(f.numel(), dtype=torch.bool) for name, f in tensors.items()}
    for name, positions in where.items():
        masks[name][positions] = True
    return tuple(masks[name].view(f.shape) for name, f in tensors.items())


def information(x: Tensor, scale: float) -> Tensor:
    """Squares, as Fisher information is, under the same names of axes."""
    f = scale * x.square()
    f.axes = x.axes
    return f


@exercise(
    "13.2",
    "The mask",
    difficulty=2,
    minutes=10,
    points=6,
    reference=reference_mask,
    hints=(
        "May a tensor end up without any number that trains, and another with nearly all of its own?",
        "One competition for the whole model: join all tensors into one vector, take the k largest there, and cut the "
        "mask of that vector into pieces of the tensors' sizes. topk gives exactly k; a threshold may not.",
        "chosen[torch.cat([f.flatten() for f in (F1, F2, F3)]).topk(k).indices] = True",
    ),
)
def test_fish_mask(submission, cases):
    for case in cases("a b c"):
        arguments = dict(
            F1=information(case("a b"), 1.0), F2=information(case("c b"), 3.0), F3=information(case("c"), 30.0)
        )
        same(submission.fish_mask, reference_mask, **arguments, density=case.number(0.2, 0.5))


def reference_step(
    theta: Tensor, m: Tensor, g: Tensor, mask: Tensor, lr: float, beta: float, decay: float
) -> tuple[Tensor, Tensor]:
    """The masked numbers alone, as a short vector that torch's own SGD moves; all else stays where it is."""
    values = nn.Parameter(theta[mask] * (1 - lr * decay))
    values.grad = g[mask]
    optimizer = torch.optim.SGD([values], lr, momentum=beta)
    optimizer.state[values]["momentum_buffer"] = m[mask].clone()
    optimizer.step()
    new, momentum = theta.clone(), torch.zeros_like(m)
    new[mask], momentum[mask] = values.detach(), optimizer.state[values]["momentum_buffer"]
    return new, momentum


@exercise(
    "13.3",
    "Find the mistake: what moves although its gradient is zero",
    difficulty=2,
    minutes=10,
    points=6,
    reference=reference_step,
    hints=(
        "Take a number that is not in the mask, with g = 0. Go through the three lines: does its theta stay?",
        "Two things move it: what the momentum remembers, and the weight decay. The mask has to bind what the "
        "optimizer does, not only what it reads.",
        "m = (beta * m + g) * mask, and the mask once more in the last line",
    ),
)
def test_fish_step(submission, cases):
    for case in cases(p=11):
        mask = torch.zeros(11, dtype=torch.bool).index_fill(0, case("p").topk(4).indices, True)
        mask.axes = "p"
        same(
            submission.fish_step,
            reference_step,
            theta=case("p"),
            m=case("p"),
            g=case("p"),
            mask=mask,
            lr=case.number(0.1, 0.3),
            beta=case.number(0.5, 0.9),
            decay=case.number(0.1, 0.5),
        )


def reference_costs(total: int, density: float) -> tuple[int, int, int]:
    model = nn.Module()
    model.weight = nn.Parameter(torch.empty(total, device="meta"))
    k = budget(model, density)
    short = torch.empty(k)
    return k, 3 * short.nbytes, short.nbytes + short.int().nbytes


@exercise(
    "13.4",
    "What a mask costs",
    difficulty=1,
    minutes=5,
    points=3,
    reference=reference_costs,
    hints=(
        "How many bytes has a number of fp32, and how many numbers are there for each one that trains?",
        "A gradient and Adam's two: three numbers of 4 bytes in training. In the file a value of 4 bytes and a "
        "position of 4 bytes.",
        "return k, 12 * k, ...",
    ),
)
def test_fish_costs(submission, cases):
    for case in cases():
        same(submission.fish_costs, reference_costs, total=case.integer(10**5, 10**6), density=case.number(0.001, 0.02))


def reference_unreset(n: int) -> float:
    """Done: a number whose loss is itself, so that its gradient is 1, and a loop that never resets it."""
    theta, total = torch.zeros((), dtype=torch.double, requires_grad=True), 0.0
    with torch.enable_grad():
        for _ in range(n):
            (theta * 1.0).backward()
            total += theta.grad.item() ** 2
    return total / n


@exercise(
    "13.5",
    "Predict: gradients that are never reset",
    difficulty=2,
    minutes=5,
    points=4,
    reference=reference_unreset,
    hints=(
        "What does .grad hold after the first backward pass, after the second, after the third?",
        "g, 2 g, 3 g, ... The listing adds up their squares and divides by n.",
        "return sum(i**2 for i in ...) / n",
    ),
)
def test_fish_unreset(submission, cases):
    for case in cases():
        same(submission.fish_unreset, reference_unreset, n=case.integer(3, 40))
