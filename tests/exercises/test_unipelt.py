"""The exercises of lesson 20, UniPELT, and their checks.  The right answers come from the library's own modules."""

import torch
from torch import Tensor, nn

from minipeft.additive.prefix_tuning import Prefix
from minipeft.course.exercise import exercise
from minipeft.course.judge import same, same_gradients
from minipeft.gpt import GPT, Config, attend
from minipeft.hybrid.unipelt import Gate, Gated, GatedPrefix, UniPELT
from minipeft.reparametrization.lora import LowRank
from minipeft.surgery import Parallel, added


def gate_values(w: Tensor, c: float, under: str = "") -> dict[str, Tensor]:
    return {f"{under}weight": w[None], f"{under}bias": torch.tensor([c])}


def reference_lora(x: Tensor, W: Tensor, A: Tensor, B: Tensor, w: Tensor, c: float) -> Tensor:
    (r, d_in), d_out = A.shape, B.shape[0]
    with torch.device("meta"):  # no first values: they would be thrown away
        branch = Gated(LowRank(d_in, d_out, r), Gate(d_in, "token"))
        layer = Parallel(nn.Linear(d_in, d_out, bias=False), branch)
    values = {"base.weight": W, "branch.branch.A": A, "branch.branch.B": B} | gate_values(w, c, "branch.gate.")
    return torch.func.functional_call(layer, values, (x,))


@exercise(
    "20.1",
    "A gate before LoRA",
    difficulty=1,
    minutes=10,
    points=4,
    reference=reference_lora,
    hints=(
        "How many numbers is g(x) for one token, and which of the two paths does it multiply?",
        "x @ w is (b, t): one number for each token. The sigmoid of it plus c, with a last side of length one, "
        "multiplies what comes out of B, and only that.",
        "return x @ W.T + (x @ w + c).sigmoid()[..., None] * ...",
    ),
)
def test_gated_lora(submission, cases):
    for case in cases("b t d_in d_out", r=2):
        arguments = dict(
            x=case("b t d_in"),
            W=case("d_out d_in"),
            A=case("r d_in"),
            B=case("d_out r"),
            w=case("d_in"),
            c=case.number(0.5, 1.5),
        )
        same(submission.gated_lora, reference_lora, **arguments)
        same_gradients(submission.gated_lora, reference_lora, wrt="x A B w", tolerance=1e-4, **arguments)


def reference_gate(x: Tensor, w: Tensor, c: float) -> Tensor:
    """The library's gate for a text, of every beginning of the text."""
    gate = Gate(len(w), "text")
    starts = (x[:, : i + 1] for i in range(x.shape[1]))
    return torch.cat([torch.func.functional_call(gate, gate_values(w, c), (start,)) for start in starts], 1)


@exercise(
    "20.2",
    "Find the mistake: a gate that looks ahead",
    difficulty=2,
    minutes=10,
    points=4,
    reference=reference_gate,
    hints=(
        "Token i's gate is a mean. Over which tokens should it go, and over which does it go in the code?",
        "The sum over the tokens 0 to i, for all i at once, is g.cumsum(1). Divide each by how many tokens it holds.",
        "mean = g.cumsum(1) / torch.arange(1, ...)",
    ),
)
def test_causal_gate(submission, cases):
    for case in cases("b t d"):
        same(submission.causal_gate, reference_gate, x=case("b t d"), w=case("d"), c=case.number(0.5, 1.5))


class Told(nn.Module):
    """An attention of one head that is told its queries, keys and values."""

    def __init__(self, q: Tensor, k: Tensor, v: Tensor):
        super().__init__()
        self.head_width, self.o = q.shape[1], nn.Identity()
        self.told = tuple(x.detach()[None, None] for x in (q, k, v))

    def heads(self, x: Tensor, turn: None) -> tuple[Tensor, ...]:
        return self.told


def reference_prefix(q: Tensor, k: Tensor, v: Tensor, P_k: Tensor, P_v: Tensor, g: Tensor) -> Tensor:
    part = GatedPrefix(Told(q, k, v), Prefix(P_k.detach()[None], P_v.detach()[None]), lambda x: g[None, :, None])
    return part(q[None]).detach()[0]


@exercise(
    "20.3",
    "A gated prefix",
    difficulty=3,
    minutes=20,
    points=6,
    reference=reference_prefix,
    hints=(
        "Where does g_i come in twice? What does it do to token i's scores for the learned keys, what to the values?",
        "q_i (g_i P_k) = g_i (q_i P_k): multiply row i of the learned scores before the softmax, and row i of what "
        "comes from P_v after it. The text's keys and values stay as they are.",
        "learned = g[:, None] * (q @ P_k.T) / e**0.5; weights = ...; return g[:, None] * (weights[:, :n] @ P_v) + ...",
    ),
)
def test_gated_prefix(submission, cases):
    for case in cases("t e n"):
        text = dict(q=case("t e"), k=case("t e"), v=case("t e"))
        g = case("t").sigmoid()
        g.axes = "t"
        same(submission.gated_prefix, reference_prefix, **text, P_k=case("n e"), P_v=case("n e"), g=g)


def reference_shut(scores: Tensor, n: int) -> float:
    """Tried: one query, keys that give these scores, a prefix of zeros, and values that are 1 in the text."""
    t = len(scores)
    keys, values = torch.zeros(1, 1, n + t, 1), torch.zeros(1, 1, n + t, 1)
    keys[0, 0, n:, 0], values[0, 0, n:] = scores, 1
    return attend(torch.ones(1, 1, 1, 1), keys, values, None, scale=1.0).item()


@exercise(
    "20.4",
    "Predict: a prefix behind a shut gate",
    difficulty=2,
    minutes=10,
    points=3,
    reference=reference_shut,
    hints=(
        "The keys are zero. What is a query's score for a key of zero, and what does the softmax make of that score?",
        "A score of 0 weighs exp(0) = 1, and there are n of them. The text weighs the sum of exp(scores). The values "
        "of the prefix are zero, so only the text's share arrives.",
        "return float(scores.exp().sum() / (...))",
    ),
)
def test_shut_prefix(submission, cases):
    for case in cases("t"):
        same(submission.shut_prefix, reference_shut, scores=case("t"), n=case.integer(10, 15))


def reference_counts(layers: int, d: int, d_kv: int, n: int, r: int, m: int) -> tuple[int, int]:
    """Counted in a real model, heads of width two."""
    c = Config("llama", 7, 4, layers, heads=d // 2, width=d, hidden=8, kv_heads=d_kv // 2, head_width=2)
    model = UniPELT(n, r, m, hidden=None).attach(GPT(c))
    gates = (module for module in model.modules() if isinstance(module, Gate))
    return sum(x.numel() for x in added(model).values()), sum(p.numel() for gate in gates for p in gate.parameters())


@exercise(
    "20.5",
    "How many numbers stay",
    difficulty=1,
    minutes=10,
    points=3,
    reference=reference_counts,
    hints=(
        "Count one layer, part by part. Which of its parts are d_kv wide somewhere?",
        "Prefix: 2 n d_kv. LoRA: r (d + d) at the queries and r (d + d_kv) at the values. Adapter: 2 d m + m + d. "
        "Gates: four times d + 1.",
        "return layers * (prefix + lora + adapter + gates), layers * ...",
    ),
)
def test_unipelt_counts(submission, cases):
    for case in cases():
        d_kv = 2 * case.integer(2, 4)
        # no two parts of a layer are of the same size, so that the known mistakes differ
        sizes = dict(d=d_kv * case.integer(2, 3), d_kv=d_kv, n=case.integer(6, 8), r=case.integer(9, 11))
        same(submission.unipelt_counts, reference_counts, layers=case.integer(12, 14), **sizes, m=case.integer(3, 5))
