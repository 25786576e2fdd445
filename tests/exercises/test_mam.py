"""The exercises of lesson 19, MAM, and their checks.  The right answers come from the library's own modules."""

from functools import partial

import torch
from torch import Tensor, nn

from minipeft.additive.adapters import Bottleneck
from minipeft.additive.prefix_tuning import Prefix
from minipeft.course.exercise import exercise
from minipeft.course.judge import same, same_gradients
from minipeft.gpt import GPT, Config, attend
from minipeft.hybrid.mam import MAM, Beside
from minipeft.surgery import added, trainable


class Second(nn.Module):
    """A block whose attention adds nothing, and whose norm and MLP give what they are told."""

    def __init__(self, n: Tensor, mlp: Tensor):
        super().__init__()
        self.norm1 = nn.Identity()
        self.attn, self.norm2, self.mlp = torch.zeros_like, lambda u: n, lambda seen: mlp


def reference_parallel(
    u: Tensor, n: Tensor, mlp: Tensor, D: Tensor, c: Tensor, U: Tensor, b: Tensor, s: float
) -> Tensor:
    with torch.device("meta"):  # no first values: they would be thrown away
        branch = Bottleneck(D.shape[1], len(D), "relu")
    block = Beside(Second(n, mlp), branch, s)
    values = {"down.weight": D, "down.bias": c, "up.weight": U, "up.bias": b}
    return torch.func.functional_call(block, {f"branch.{key}": value for key, value in values.items()}, (u,))


@exercise(
    "19.1",
    "An adapter beside the MLP",
    difficulty=1,
    minutes=10,
    points=5,
    reference=reference_parallel,
    hints=(
        "Which of the three tensors is the residual stream as it is? And which of the three terms does s belong to?",
        "The branch reads u: down with D and c, relu, up with U and b. Then three terms are added, and the branch "
        "alone is scaled, its bias b with it.",
        "return u + mlp + s * ((u @ D.T + c).relu() @ ...)",
    ),
)
def test_parallel_adapter(submission, cases):
    for case in cases("b t d m"):
        arguments = dict(
            u=case("b t d"),
            n=case("b t d"),
            mlp=case("b t d"),
            D=case("m d"),
            c=case("m"),
            U=case("d m"),
            b=case("d"),
            s=case.number(2, 5),
        )
        same(submission.parallel_adapter, reference_parallel, **arguments)
        same_gradients(submission.parallel_adapter, reference_parallel, wrt="u D c U b", **arguments)


def attended(q: Tensor, k: Tensor, v: Tensor, P_k: Tensor, P_v: Tensor) -> Tensor:
    """One head of the library's attention behind its prefix."""
    q, k, v, P_k, P_v = (x.detach()[None] for x in (q, k, v, P_k, P_v))
    k, v = Prefix(P_k, P_v)(q[None], k[None], v[None])
    return attend(q[None], k, v, None).detach()[0, 0]


def reference_step(h: Tensor, g: Tensor, s: float, lr: float) -> tuple[Tensor, Tensor]:
    """The optimizers of torch, in double precision."""
    said = []
    for optimizer in (partial(torch.optim.Adam, eps=1e-20), torch.optim.SGD):
        up = nn.Linear(len(h), len(g), bias=False, dtype=torch.float64)
        nn.init.zeros_(up.weight)
        (s * up(h.double()) * g.double()).sum().backward()  # a loss whose gradient is g
        optimizer(up.parameters(), lr=lr).step()
        said.append((s * up(h.double())).detach().float())
    return tuple(said)


@exercise(
    "19.2",
    "The scale in the first step",
    difficulty=2,
    minutes=10,
    points=4,
    reference=reference_step,
    hints=(
        "The branch says s U h. If its gradient is g, what is the gradient of U? Where is s in it?",
        "The gradient of U is s g h^T, one row for each number of g. Gradient descent takes lr times that, Adam lr times its "
        "sign. What the branch says afterwards is s times the new U, times h.",
        "gradient = s * g[:, None] * h; return s * (-lr * gradient.sign()) @ h, ...",
    ),
)
def test_first_step(submission, cases):
    for case in cases("d m"):
        h = case("m").abs()
        h[0] = 0  # what the relu has cut off
        h.axes = "m"
        same(submission.first_step, reference_step, h=h, g=case("d"), s=case.number(2, 5), lr=case.number(0.1, 0.5))


def reference_beside(a: Tensor, share: Tensor, q: Tensor, P_k: Tensor, P_v: Tensor) -> Tensor:
    """Token by token: a query alone sees the whole prefix."""
    learned = torch.cat([attend(*(x[None, None] for x in (one[None], P_k, P_v)), None)[0, 0] for one in q])
    return torch.lerp(a, learned, share[:, None])


@exercise(
    "19.3",
    "A prefix is an adapter",
    difficulty=2,
    minutes=10,
    points=4,
    reference=reference_beside,
    hints=(
        "The equation has two terms. Over which keys does its softmax go, and along which side?",
        "softmax(q P_k^T / sqrt(e)) is over the n learned keys alone, one row for each token. The share is one number "
        "for each token too: give it a second side, so that it multiplies rows.",
        "return (1 - share[:, None]) * a + share[:, None] * (...)",
    ),
)
def test_prefix_beside(submission, cases):
    for case in cases("t e n"):
        q, k, v, P_k, P_v = case("t e"), case("t e"), case("t e"), case("n e"), case("n e")
        a = attend(*(x[None, None] for x in (q, k, v)), None)[0, 0]
        share = attended(q, k, torch.zeros_like(k), P_k, torch.ones_like(P_k))[:, 0]  # all that arrives is the prefix's
        a.axes, share.axes = "t e", "t"
        wanted = attended(q, k, v, P_k, P_v)  # with the prefix: the same by another way
        same(submission.prefix_beside, lambda *_, wanted=wanted: wanted, a=a, share=share, q=q, P_k=P_k, P_v=P_v)


def reference_counts(layers: int, d: int, d_kv: int, n: int, m: int, h: int) -> tuple[int, int]:
    """Counted in a real model, heads of width two."""
    c = Config("llama", 7, 4, layers, heads=d // 2, width=d, hidden=8, kv_heads=d_kv // 2, head_width=2)
    during = MAM(n, m, hidden=h).attach(GPT(c))
    after = MAM(n, m, hidden=None).attach(GPT(c))
    return sum(p.numel() for p in trainable(during).values()), sum(x.numel() for x in added(after).values())


@exercise(
    "19.4",
    "What trains, and what stays",
    difficulty=2,
    minutes=10,
    points=4,
    reference=reference_counts,
    hints=(
        "Which parts exist once for the whole model, and which once a layer? And which of them are gone in the end?",
        "The network: n d inputs, one Linear of d h + h, and a Linear of h 2 d_kv + 2 d_kv for each layer. The "
        "adapters are in both counts; of the prefix, 2 n d_kv numbers a layer stay.",
        "return network + layers * adapter, layers * (2 * n * d_kv + ...)",
    ),
)
def test_mam_counts(submission, cases):
    for case in cases():
        d_kv = 2 * case.integer(2, 4)
        sizes = dict(d=d_kv * case.integer(2, 3), d_kv=d_kv, n=case.integer(3, 5), m=case.integer(6, 9))
        same(submission.mam_counts, reference_counts, layers=case.integer(2, 4), **sizes, h=case.integer(10, 13))


@exercise(
    "19.5",
    "Find the mistake: who sees the prefix",
    difficulty=2,
    minutes=5,
    points=3,
    reference=attended,
    hints=(
        "Print `see` for t = 3 and n = 2. Row 0 is token 0: how many keys may it look at, and how many should it?",
        "Every token sees all n learned keys. So the triangle of the text begins n columns further to the right.",
        "see = torch.ones(t, n + t, dtype=torch.bool).tril(...)",
    ),
)
def test_attention_with_prefix(submission, cases):
    for case in cases("t e n"):
        text = dict(q=case("t e"), k=case("t e"), v=case("t e"))
        same(submission.attention_with_prefix, attended, **text, P_k=case("n e"), P_v=case("n e"))
