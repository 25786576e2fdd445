"""The exercises of lesson 10, BitFit, and their checks.  The right answers come from the library's own modules."""

import torch
from torch import Tensor, nn

from minipeft.course.exercise import exercise
from minipeft.course.judge import same
from minipeft.gpt import GPT, Attention, Config
from minipeft.selective.bitfit import BitFit
from minipeft.surgery import trainable


def reference_backward(G: Tensor, W: Tensor) -> tuple[Tensor, Tensor]:
    """Autograd's, at an input of zeros: the answer doesn't depend on it."""
    x = torch.zeros(*G.shape[:2], W.shape[1], requires_grad=True)
    bias = torch.zeros(W.shape[0], requires_grad=True)
    with torch.enable_grad():
        return torch.autograd.grad(nn.functional.linear(x, W, bias), (bias, x), G)


@exercise(
    "10.1",
    "Backward without the input",
    difficulty=2,
    minutes=10,
    points=5,
    reference=reference_backward,
    hints=(
        "Every token of every text gets the same bias. What does a bias's gradient collect, and from where?",
        "The bias is added at b times t places, so its gradient is the sum of G over them. An input reaches the "
        "output through W, so its gradient comes back through W: one product with G.",
        "return G.sum((0, 1)), G @ ...",
    ),
)
def test_bitfit_backward(submission, cases):
    for case in cases("b t d_in d_out"):
        same(submission.bitfit_backward, reference_backward, G=case("b t d_out"), W=case("d_out d_in"))


def reference_key_shift(q: Tensor, b: Tensor) -> Tensor:
    """Scores with the bias minus scores without it; any key will do."""
    key = torch.linspace(-1, 1, len(b))
    scores = [q.double() @ k.double() / q.shape[1] ** 0.5 for k in (key + b, key)]
    return (scores[0] - scores[1]).to(q.dtype)


@exercise(
    "10.2",
    "What a key's bias does",
    difficulty=1,
    minutes=5,
    points=4,
    reference=reference_key_shift,
    hints=(
        "Write the score out as a sum of two terms. Which of the two contains b, and does it know about j?",
        "q_i . (k_j + b) = q_i . k_j + q_i . b. The second term is the shift, and 1 / sqrt(e) stands before both.",
        "return q @ b / ...",
    ),
)
def test_bitfit_key_shift(submission, cases):
    for case in cases("t e"):
        same(submission.bitfit_key_shift, reference_key_shift, q=case("t e"), b=case("e"))


def reference_fold(
    u: Tensor, w: Tensor, W_q: Tensor, b_q: Tensor, W_v: Tensor, W_o: Tensor, b_o: Tensor
) -> tuple[Tensor, Tensor]:
    """What the library's attention makes of a single token u: one that sees itself alone."""
    d = len(u)
    attention = Attention(Config("gpt2", heads=1, width=d))
    values = {"q.weight": W_q, "q.bias": b_q, "v.weight": W_v, "v.bias": w, "o.weight": W_o, "o.bias": b_o}
    values |= {"k.weight": torch.zeros(d, d), "k.bias": torch.zeros(d)}
    attention.load_state_dict(values, assign=True)
    with torch.no_grad():
        return attention.q(u), attention(u[None, None])[0, 0]


@exercise(
    "10.3",
    "Fold one bias into another",
    difficulty=3,
    minutes=15,
    points=4,
    reference=reference_fold,
    hints=(
        "Add u to what norm1 gives. What arrives at the queries, and what at the values? And what does attention make "
        "of something that every value has in common?",
        "The queries get W_q u more. Every value gets W_v u + w more; an average, with weights that sum to one, of "
        "values that all have it more has it more as well, and W_o carries it to the output.",
        "return b_q + W_q @ u, b_o + W_o @ (...)",
    ),
)
def test_bitfit_fold(submission, cases):
    for case in cases("d"):
        arguments = {name: case("d d" if name.startswith("W") else "d") for name in "u w W_q b_q W_v W_o b_o".split()}
        same(submission.bitfit_fold, reference_fold, tolerance=1e-4, **arguments)  # three products in a row


def reference_count(layers: int, d: int, d_kv: int, f: int) -> int:
    """Counted in a real model: heads of width two."""
    with torch.device("meta"):
        c = Config("gpt2", 7, 4, layers, heads=d // 2, width=d, hidden=f, kv_heads=d_kv // 2, head_width=2)
        return sum(p.numel() for p in trainable(BitFit().attach(GPT(c))).values())


@exercise(
    "10.4",
    "How many biases there are",
    difficulty=1,
    minutes=5,
    points=3,
    reference=reference_count,
    hints=(
        "A bias is as long as what it is added to. What comes out of each part of the block, and how wide is it?",
        "A layer has five biases of width d (norm1, q, o, norm2, down), two of d_kv (k, v) and one of f (up).",
        "return layers * (5 * d + ...) + d",
    ),
)
def test_bitfit_count(submission, cases):
    for case in cases():
        d_kv = 2 * case.integer(2, 4)
        sizes = dict(d=d_kv * case.integer(2, 4), d_kv=d_kv, f=case.integer(30, 50))
        same(submission.bitfit_count, reference_count, layers=case.integer(2, 5), **sizes)


def reference_names(names: list[str]) -> list[str]:
    """Looked up in a model in which each parameter stands where its name says."""
    model = nn.Module()
    for name in names:
        path, _, key = name.rpartition(".")
        part = model
        for step in filter(None, path.split(".")):
            if step not in part._modules:
                part.add_module(step, nn.Module())
            part = part._modules[step]
        part.register_parameter(key, nn.Parameter(torch.zeros(1)))
    biases = {id(p) for m in model.modules() for key, p in m._parameters.items() if key == "bias"}
    return [name for name in names if id(model.get_parameter(name)) in biases]


@exercise(
    "10.5",
    'Find the mistake: "bias" in name',
    difficulty=2,
    minutes=10,
    points=4,
    reference=reference_names,
    hints=(
        "T5 has a table called relative_attention_bias; its parameter is relative_attention_bias.weight. Is it a bias?",
        "What counts is the parameter's own name, the part after the last dot, and all of it. A name may also have no "
        "dot: the bias of a lone Linear is called bias.",
        'found = [n for n in names if n.split(".")[-1] == ...]',
    ),
)
def test_bitfit_names(submission, cases):
    for case in cases():
        i, j = case.integer(0, 5), case.integer(6, 11)
        names = [
            f"trunk.{i}.attn.q.weight",
            f"trunk.{i}.attn.q.bias",
            f"trunk.{i}.norm1.weight",
            f"trunk.{i}.norm1.bias",
            f"trunk.{j}.relative_attention_bias.weight",
            f"trunk.{j}.attn.debias",
            f"trunk.{j}.bias.weight",
            f"trunk.{j}.bias_gate.bias",
            f"trunk.{j}.mlp.down.bias",
            "bias",
            "norm.bias",
            "head.weight",
        ]
        same(submission.bitfit_names, reference_names, names=names)
