"""The exercises of lesson 15, LoRA, and their checks.  The right answers come from the library's own modules."""

import torch
from torch import Tensor, nn

from minipeft.course.exercise import exercise
from minipeft.course.judge import call_text, require, same, same_gradients, tensors
from minipeft.gpt import GPT, Config
from minipeft.reparametrization.lora import LoRA, LowRank
from minipeft.surgery import Parallel, trainable


def values(W: Tensor, bias: Tensor | None, A: Tensor, B: Tensor) -> dict[str, Tensor]:
    return {"base.weight": W, "branch.A": A, "branch.B": B} | ({} if bias is None else {"base.bias": bias})


def layer(W: Tensor, bias: Tensor | None, A: Tensor, B: Tensor, alpha: float) -> Parallel:
    """The library's layer with these values, which it shares."""
    (r, d_in), d_out = A.shape, B.shape[0]
    with torch.device("meta"):  # no first values: they would be thrown away
        lora = Parallel(nn.Linear(d_in, d_out, bias is not None), LowRank(d_in, d_out, r), alpha / r)
    lora.load_state_dict(values(W, bias, A, B), assign=True)
    return lora


def reference_linear(x: Tensor, W: Tensor, bias: Tensor, A: Tensor, B: Tensor, alpha: float) -> Tensor:
    return torch.func.functional_call(layer(W, bias, A, B, alpha), values(W, bias, A, B), (x,))


@exercise(
    "15.1",
    "The layer",
    difficulty=1,
    minutes=10,
    points=6,
    reference=reference_linear,
    hints=(
        "Which parts of the result would be there without LoRA, and may alpha touch them?",
        "Two paths from x, added at the end: the frozen one, x W^T + bias, and the thin one, x A^T and then B^T, "
        "scaled by alpha / r. The rank r is a side of A.",
        "return x @ W.T + bias + alpha / A.shape[0] * ...",
    ),
)
def test_lora_linear(submission, cases):
    for case in cases("b t d_in d_out", r=2):
        arguments = dict(
            x=case("b t d_in"),
            W=case("d_out d_in"),
            bias=case("d_out"),
            A=case("r d_in"),
            B=case("d_out r"),
            alpha=case.number(4, 9),
        )
        same(submission.lora_linear, reference_linear, **arguments)
        same_gradients(submission.lora_linear, reference_linear, wrt="x A B", **arguments)


def reference_init(d_out: int, d_in: int, r: int) -> tuple[Tensor, Tensor]:
    branch = LowRank(d_in, d_out, r)
    return branch.A.detach(), branch.B.detach()


@exercise(
    "15.2",
    "First values",
    difficulty=1,
    minutes=5,
    points=4,
    reference=reference_init,
    hints=(
        "The change is B A. What is the cheapest way to make it zero, and what happens to the gradients if both are?",
        "One factor is zero, so the change is zero; the other is random, so that the first one gets a gradient. "
        "The order of the result and the shapes say which is which.",
        "return torch.empty(r, d_in).uniform_(-bound, bound), torch...",
    ),
)
def test_lora_init(submission, cases):
    for case in cases(d_out=48, d_in=100, r=16):
        sizes = dict(d_out=case["d_out"], d_in=case["d_in"], r=case["r"])
        called, bound = call_text("lora_init", sizes), sizes["d_in"] ** -0.5

        def drawn(sizes=sizes, called=called) -> list[Tensor]:
            shapes = dict(A=(sizes["r"], sizes["d_in"]), B=(sizes["d_out"], sizes["r"]))
            return tensors(submission.lora_init(**sizes), "A (r, d_in) and B (d_out, r)", called, **shapes)

        A, B = drawn()
        require(bool(A.any() or B.any()), "one of the two should be random", "A and B are both zero", called)
        start = f"B A starts with numbers up to {(B @ A).abs().max():.3g}"
        require(not (B @ A).any(), "the model should start as its base", start, called)
        require(bool(A.any()), "A should be random, and B zero", "it is A that is zero", called)
        spread = f"A lies between {A.min():.3g} and {A.max():.3g}, with a standard deviation of {A.std():.3g}"
        require(bool(A.max() > A.min()), "A should be random", "all numbers of A are equal", called)
        require(bool((A < 0).any()), "A should have numbers of both signs", spread, called)
        # 1600 numbers: their mean and spread are known to within a few percent
        normal = f"A should be uniform between -1/sqrt(d_in) = {-bound:.3g} and {bound:.3g}"
        fits = (
            A.abs().max() <= bound * 1.0001 and abs(A.std() * 3**0.5 / bound - 1) < 0.1 and abs(A.mean()) < bound / 10
        )
        by_rank = abs(A.abs().max() * 4 - 1) < 0.02
        require(fits or not by_rank, "its width should come from d_in, not from r", spread, called)
        require(bool(fits), normal, spread, called)
        require(not torch.equal(A, drawn()[0]), "each call should draw anew", "two calls give the same A", called)


def reference_merged(W: Tensor, A: Tensor, B: Tensor, alpha: float) -> Tensor:
    return layer(W.clone(), None, A, B, alpha).merged().weight.detach()


@exercise(
    "15.3",
    "Folded in",
    difficulty=1,
    minutes=5,
    points=4,
    reference=reference_merged,
    hints=(
        "x W^T + s (x A^T) B^T = x M^T for every x. What is M?",
        "Take x out of the bracket: A^T B^T = (B A)^T, and the scale stays with it.",
        "return W + alpha / A.shape[0] * ...",
    ),
)
def test_lora_merged(submission, cases):
    for case in cases("d_in d_out", r=2):
        arguments = dict(W=case("d_out d_in"), A=case("r d_in"), B=case("d_out r"), alpha=case.number(4, 9))
        same(submission.lora_merged, reference_merged, **arguments)


def reference_count(layers: int, d: int, d_kv: int, r: int) -> int:
    """Counted in a real model: d_kv / 2 heads of keys and values, two numbers wide."""
    c = Config(
        "llama", vocab=7, context=4, layers=layers, heads=d // 2, width=d, hidden=8, kv_heads=d_kv // 2, head_width=2
    )
    return sum(p.numel() for p in trainable(LoRA(rank=r).attach(GPT(c))).values())


@exercise(
    "15.4",
    "How many numbers train",
    difficulty=1,
    minutes=5,
    points=3,
    reference=reference_count,
    hints=(
        "What are the shapes of A and B beside a weight (d_out, d_in), and how many numbers is that?",
        "r (d_in + d_out) for one weight. The queries' weight is (d, d), the values' (d_kv, d); A reads d in both.",
        "return layers * (r * (d + d) + r * (...))",
    ),
)
def test_lora_count(submission, cases):
    for case in cases():
        kv_heads = case.integer(2, 4)
        d_kv = 2 * kv_heads
        d = d_kv * case.integer(2, 4)
        same(submission.lora_count, reference_count, layers=case.integer(2, 5), d=d, d_kv=d_kv, r=case.integer(2, 3))


def reference_gradients(x: Tensor, G: Tensor, A: Tensor, B: Tensor, alpha: float) -> tuple[Tensor, Tensor]:
    change = layer(torch.zeros(B.shape[0], A.shape[1]), None, A, B, alpha)
    change(x).backward(G)
    return change.branch.A.grad, change.branch.B.grad


@exercise(
    "15.5",
    "Find the mistake: gradients by hand",
    difficulty=2,
    minutes=10,
    points=4,
    reference=reference_gradients,
    hints=(
        "Let torch tell you: make A and B require a gradient, compute y = s x A^T B^T, and call y.backward(G). "
        "Which of the two gradients differs, and by what factor?",
        "y depends on A and on B through s A^T B^T: the factor s reaches both gradients.",
        "dB = s * ...",
    ),
)
def test_lora_gradients(submission, cases):
    for case in cases("n d_in d_out", r=2):
        arguments = dict(
            x=case("n d_in"), G=case("n d_out"), A=case("r d_in"), B=case("d_out r"), alpha=case.number(4, 9)
        )
        same(submission.lora_gradients, reference_gradients, tolerance=1e-4, **arguments)


def reference_rank(rounds: int, r: int, d_out: int, d_in: int) -> int:
    """Done, with random factors: the rank of the sum is then as large as it can be."""
    random = torch.Generator().manual_seed(0)
    factors = [
        (
            torch.randn(d_out, r, generator=random, dtype=torch.double),
            torch.randn(r, d_in, generator=random, dtype=torch.double),
        )
        for _ in range(rounds)
    ]
    return int(torch.linalg.matrix_rank(sum(B @ A for B, A in factors)))


@exercise(
    "15.6",
    "Predict: the rank after several rounds",
    difficulty=2,
    minutes=5,
    points=3,
    reference=reference_rank,
    hints=(
        "One round changes W by a matrix of rank r. What can the sum of two such matrices have at most?",
        "Ranks add up at most; and no matrix has a larger rank than its shorter side.",
        "return min(rounds * r, ...)",
    ),
)
def test_lora_rank(submission, cases):
    for case in cases("d_out d_in", count=3, r=2):  # the ceiling, wide and tall: the sides are at most 9
        rounds, one, other = case.integer(6, 9), case["d_out"], case["d_in"]
        same(submission.lora_rank, reference_rank, rounds=rounds, r=2, d_out=one, d_in=other)
        same(submission.lora_rank, reference_rank, rounds=rounds, r=2, d_out=other, d_in=one)
    for case in cases(count=3):  # and room below it
        sizes = dict(d_out=case.integer(40, 50), d_in=case.integer(30, 39))
        same(submission.lora_rank, reference_rank, rounds=case.integer(3, 5), r=case.integer(3, 5), **sizes)
