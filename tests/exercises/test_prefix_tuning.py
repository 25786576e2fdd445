"""The exercises of lesson 06, Prefix-Tuning, and their checks.  The right answers come from the library's modules."""

import torch
from torch import Tensor

from minipeft.additive.prefix_tuning import Prefix, PrefixTuning, Source, Written, drop
from minipeft.course.exercise import exercise
from minipeft.course.judge import same, same_gradients
from minipeft.gpt import GPT, Config, attend
from minipeft.surgery import trainable


def reference_attention(q: Tensor, k: Tensor, v: Tensor, P_k: Tensor, P_v: Tensor) -> Tensor:
    with torch.device("meta"):
        link = Prefix(torch.empty(P_k.shape), torch.empty(P_v.shape))
    return attend(q, *torch.func.functional_call(link, {"k": P_k, "v": P_v}, (q, k, v)), mask=None)


@exercise(
    "06.1",
    "Attention behind a prefix",
    difficulty=2,
    minutes=15,
    points=5,
    reference=reference_attention,
    hints=(
        "The softmax runs over n + t keys. Which of them may token 0 see, and which the last token?",
        "Put P_k before k and P_v before v along the tokens, the same for all b texts. The mask is (t, n + t): n "
        "columns that everyone sees, then the usual triangle. tril takes the diagonal to stop at.",
        "see = torch.ones(t, n + t, dtype=torch.bool).tril(...)",
    ),
)
def test_prefix_attention(submission, cases):
    for case in cases("b t n h e"):
        arguments = {name: case("b h t e") for name in "qkv"} | {name: case("h n e") for name in ("P_k", "P_v")}
        same(submission.prefix_attention, reference_attention, **arguments)
        same_gradients(submission.prefix_attention, reference_attention, wrt="q P_k P_v", **arguments)


def reference_share(q: Tensor, k: Tensor, P_k: Tensor) -> Tensor:
    """Asked of attention itself: what comes out if each slot's value is 1 and each token's is 0."""
    return reference_attention(q, k, torch.zeros_like(k), P_k, torch.ones_like(P_k))[..., 0]


@exercise(
    "06.2",
    "The prefix's share",
    difficulty=1,
    minutes=10,
    points=4,
    reference=reference_share,
    hints=(
        "A softmax is each key's exponential over the sum of all. Which sum stands above, and which below the line?",
        "Above: the exponentials of the n slots. Below: the same and those of the tokens that this token may see, "
        "itself included. Scores are divided by sqrt(e) as always.",
        "return learned / (learned + ...)",
    ),
)
def test_prefix_share(submission, cases):
    for case in cases("b t n h e"):
        same(submission.prefix_share, reference_share, q=case("b h t e"), k=case("b h t e"), P_k=case("h n e"))


def reference_written(p: Tensor, A: Tensor, a: Tensor, W: Tensor, bias: Tensor, h: int) -> tuple[Tensor, Tensor]:
    with torch.device("meta"):
        link = Written(Source(*p.shape, len(a)), h, len(bias) // (2 * h))
    values = {"source.p": p, "source.up.weight": A, "source.up.bias": a, "out.weight": W, "out.bias": bias}
    nothing = p.new_zeros(1, h, 0, len(bias) // (2 * h))  # the keys and values of a text without tokens
    return tuple(rows[0] for rows in torch.func.functional_call(link, values, (p[:1], nothing, nothing)))


@exercise(
    "06.3",
    "Find the mistake: the network that writes",
    difficulty=2,
    minutes=10,
    points=4,
    reference=reference_written,
    hints=(
        "Row i of `keys` is all that slot i has. In P_k[0, 0], P_k[0, 1], ... as the code gives them, of which slots "
        "are the numbers?",
        "reshape never moves a number, it only draws new borders. A row holds head after head, so the borders that are "
        "there are (n, h, e); the wanted order (h, n, e) takes a transpose.",
        "keys.reshape(len(p), h, -1)...",
    ),
)
def test_prefix_written(submission, cases):
    for case in cases("n d m", h=2, e=5, w=20):
        arguments = dict(p=case("n d"), A=case("m d"), a=case("m"), W=case("w m"), bias=case("w"), h=2)
        same(submission.prefix_written, reference_written, **arguments)


def reference_counts(layers: int, d: int, d_kv: int, n: int, m: int) -> tuple[int, int]:
    """Counted in a real model, before and after its network is dropped."""
    sizes = dict(layers=layers, width=d, heads=d // 2, kv_heads=d_kv // 2, head_width=2, hidden=8)
    model = PrefixTuning(length=n, hidden=m).attach(GPT(Config("llama", vocab=7, context=n + 2, **sizes)))
    trained = sum(p.numel() for p in trainable(model).values())
    drop(model)
    return trained, sum(p.numel() for p in trainable(model).values())


@exercise(
    "06.4",
    "Trained and stored",
    difficulty=1,
    minutes=10,
    points=3,
    reference=reference_counts,
    hints=(
        "Which of p, A, a, W, bias are there once, and which once a layer? And what is left when all five are gone?",
        "Once: n d + m d + m. In each layer: 2 d_kv (m + 1). What is left is a key and a value of d_kv numbers for "
        "each slot in each layer.",
        "return n * d + (m * d + m) + layers * ..., layers * ...",
    ),
)
def test_prefix_counts(submission, cases):
    for case in cases():
        kv_heads = case.integer(2, 4)
        d_kv = 2 * kv_heads
        arguments = dict(d=d_kv * case.integer(2, 3), d_kv=d_kv, n=case.integer(5, 9), m=case.integer(3, 4))
        same(submission.prefix_counts, reference_counts, layers=case.integer(3, 5), **arguments)
