"""The exercises of lesson 09, (IA)^3, and their checks.  The right answers come from the library's own modules."""

import torch
from torch import Tensor, nn

from minipeft.additive.ia3 import IA3, ScaleIn, ScaleOut
from minipeft.course.exercise import exercise
from minipeft.course.judge import same
from minipeft.gpt import GPT, MLP, Config
from minipeft.measure import counts
from minipeft.surgery import trainable


def linear(W: Tensor, bias: Tensor | None = None) -> nn.Linear:
    """A Linear with these values, which it shares."""
    with torch.device("meta"):  # no first values: they would be thrown away
        made = nn.Linear(W.shape[1], W.shape[0], bias is not None)
    made.load_state_dict({"weight": W} | ({} if bias is None else {"bias": bias}), assign=True)
    return made


def scaled(kind: type, base: nn.Module, scale: Tensor) -> nn.Module:
    wrapper = kind(base)
    wrapper.scale = nn.Parameter(scale)
    return wrapper


def reference_mlp(x: Tensor, W_gate: Tensor, W_up: Tensor, W_down: Tensor, l_ff: Tensor) -> Tensor:
    with torch.device("meta"):
        mlp = MLP(Config("llama", width=W_up.shape[1], hidden=W_up.shape[0], heads=1, head_width=2))
    mlp.gate, mlp.up, mlp.down = linear(W_gate), linear(W_up), ScaleIn(linear(W_down))
    values = {"gate.weight": W_gate, "up.weight": W_up, "down.base.weight": W_down, "down.scale": l_ff}
    return torch.func.functional_call(mlp, values, (x,))


@exercise(
    "09.1",
    "A scale in the MLP",
    difficulty=1,
    minutes=10,
    points=4,
    reference=reference_mlp,
    hints=(
        "How wide is l_ff, and what in the MLP is as wide? There are three such things: which one does W_down read?",
        "Compute silu(W_gate x) times (W_up x) first, scale that, and hand it to W_down.",
        "return (l_ff * hidden) @ ...",
    ),
)
def test_ia3_mlp(submission, cases):
    for case in cases("b t d f"):
        weights = dict(W_gate=case("f d"), W_up=case("f d"), W_down=case("d f"))
        same(submission.ia3_mlp, reference_mlp, x=case("b t d"), **weights, l_ff=case("f"))


def reference_merged(
    W_k: Tensor, b_k: Tensor, l_k: Tensor, W_down: Tensor, l_ff: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    keys = scaled(ScaleOut, linear(W_k.clone(), b_k.clone()), l_k).merged()
    down = scaled(ScaleIn, linear(W_down.clone()), l_ff).merged()
    return keys.weight.detach(), keys.bias.detach(), down.weight.detach()


@exercise(
    "09.2",
    "Folded in",
    difficulty=2,
    minutes=10,
    points=4,
    reference=reference_merged,
    hints=(
        "A row of a weight makes one number of its output, a column meets one number of its input. Which of the two "
        "does each scale belong to?",
        "l * (W x + b) scales the rows of W, and b with them. W (l * h) scales the columns of W.",
        "return l_k[:, None] * W_k, l_k * b_k, W_down * ...",
    ),
)
def test_ia3_merged(submission, cases):
    for case in cases("d d_kv f"):
        keys = dict(W_k=case("d_kv d"), b_k=case("d_kv"), l_k=case("d_kv"))
        same(submission.ia3_merged, reference_merged, **keys, W_down=case("d f"), l_ff=case("f"))


def reference_mixed(x: Tensor, W: Tensor, bias: Tensor, scales: Tensor, task: list[int]) -> Tensor:
    """Text by text, each with its task's own layer."""
    texts = [scaled(ScaleOut, linear(W, bias), scales[n])(text) for text, n in zip(x, task, strict=True)]
    return torch.stack(texts).detach()


@exercise(
    "09.3",
    "One batch, several tasks",
    difficulty=2,
    minutes=10,
    points=3,
    reference=reference_mixed,
    hints=(
        "scales[i] is what one task wants. How do you get a row of `scales` for each text, and along which side of the "
        "output does it repeat?",
        "Indexing with a tensor of numbers gives one row for each: (b, d_out). All tokens of a text share it, so it "
        "becomes (b, 1, d_out) and multiplies the output, bias included.",
        "return scales[torch.tensor(task)][:, None] * (...)",
    ),
)
def test_ia3_mixed(submission, cases):
    for case in cases("b t d_in d_out", n=2):
        arguments = dict(x=case("b t d_in"), W=case("d_out d_in"), bias=case("d_out"), scales=case("n d_out"))
        task = [1, 0] + [case.integer(0, 1) for _ in range(case["b"] - 2)]
        same(submission.ia3_mixed, reference_mixed, **arguments, task=task)


def reference_counts(layers: int, d: int, d_kv: int, f: int) -> tuple[int, int, int]:
    """Counted in a real model, heads of width two, with random scales."""
    c = Config("llama", 7, 4, layers, heads=d // 2, width=d, hidden=f, kv_heads=d_kv // 2, head_width=2)
    model, random = IA3().attach(GPT(c)), torch.Generator().manual_seed(0)
    for scale in trainable(model).values():
        scale.data = torch.randn(scale.shape, generator=random)
    found = counts(model)
    return found.trainable, found.changed, found.rank


@exercise(
    "09.4",
    "Count, and predict the rank",
    difficulty=2,
    minutes=10,
    points=3,
    reference=reference_counts,
    hints=(
        "Merged, a scale multiplies a whole row or column. What does that make of the number of changes, and how many "
        "rows of the change are multiples of one another?",
        "diag(l) W - W = diag(l - 1) W: a diagonal matrix without zeros does not lower the rank. The largest of the "
        "three weights decides, and no matrix has a larger rank than its shorter side.",
        "return layers * (2 * d_kv + f), layers * (...), d",
    ),
)
def test_ia3_counts(submission, cases):
    for case in cases():
        d_kv = 2 * case.integer(2, 4)
        sizes = dict(d=d_kv * case.integer(3, 4), d_kv=d_kv, f=case.integer(40, 60))
        same(submission.ia3_counts, reference_counts, layers=case.integer(2, 4), **sizes)
