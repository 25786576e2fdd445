"""The exercises of lesson 01, the mini GPT, and their checks.  The right answers come from the library's own model."""

import torch
from torch import Tensor

from minipeft import gpt
from minipeft.course.exercise import exercise
from minipeft.course.judge import Wrong, call_text, fault, same
from minipeft.generate import Cache, generate
from minipeft.gpt import GPT, Config


def reference_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return gpt.attend(q[:, None], k[:, None], v[:, None], None)[:, 0]


@exercise(
    "01.1",
    "Causal attention",
    difficulty=2,
    minutes=15,
    points=6,
    reference=reference_attention,
    hints=(
        "Which score belongs to query i and key j, and for which i and j must its weight come out as zero?",
        "Scores q k^T / sqrt(e) are (b, t, t), one row a query. Set those above the diagonal to minus infinity: the "
        "softmax of each row then gives them a weight of zero. The weights times v are the averages.",
        "scores.masked_fill(torch.ones(t, t, dtype=torch.bool).triu(1), -math.inf).softmax(...) @ ...",
    ),
)
def test_attention(submission, cases):
    for case in cases("b t e"):
        same(submission.attention, reference_attention, q=case("b t e"), k=case("b t e"), v=case("b t e"))


def reference_norm(x: Tensor, gain: Tensor, eps: float) -> Tensor:
    norm = gpt.norm(Config("llama", width=x.shape[-1], heads=1, head_width=2, eps=eps))
    return torch.func.functional_call(norm, {"weight": gain}, (x,))


@exercise(
    "01.2",
    "RMSNorm",
    difficulty=1,
    minutes=5,
    points=3,
    reference=reference_norm,
    hints=(
        "Over which axis is the mean taken, and which shape must it have so that x can be divided by it?",
        "Square, mean over the last axis with keepdim=True, add eps, then the root. Nothing is subtracted from x.",
        "x / (x.square().mean(-1, keepdim=True) + eps)... * gain",
    ),
)
def test_rms_norm(submission, cases):
    for case in cases("b t d"):  # a large eps: in its usual place or not, a small one would not show
        arguments = dict(x=case("b t d"), gain=case("d"), eps=case.number(0.2, 0.6))
        same(submission.rms_norm, reference_norm, **arguments)


def reference_rotate(x: Tensor, start: int, base: float) -> Tensor:
    t, e = x.shape[-2:]
    c = Config("llama", width=e, heads=1, rope_base=base)
    cos, sin = gpt.turns(c, torch.arange(start, start + t), x.dtype)
    return gpt.rotate(x[:, :, None], cos, sin)[:, :, 0]


@exercise(
    "01.3",
    "Rotary positions",
    difficulty=2,
    minutes=15,
    points=5,
    reference=reference_rotate,
    hints=(
        "How many different angles are there for t tokens of width e, and on what does each depend?",
        "Angles are (t, e/2): position times speed. Split x into its left and right half, (b, t, e/2) each, turn "
        "all pairs at once, and put the halves together again.",
        "angle = torch.arange(start, start + t)[:, None] * base ** (...); left, right = x.chunk(2, -1)",
    ),
)
def test_rotate(submission, cases):
    for e, latest in ((6, 0), (4, 20), (10, 20)):  # from the start of a text, then from further on
        for case in cases("b t", count=1, e=e):
            start, base = case.integer(min(latest, 2), latest), case.number(20, 2000)
            same(submission.rotate, reference_rotate, x=case("b t e"), start=start, base=base)


def reference_past(q: Tensor, k: Tensor, v: Tensor, past_k: Tensor, past_v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    cache = Cache()
    cache.kept = past_k[:, None], past_v[:, None]
    k, v = cache(q, k[:, None], v[:, None])
    return gpt.attend(q[:, None], k, v, None)[:, 0], k[:, 0], v[:, 0]


@exercise(
    "01.4",
    "A step with a cache",
    difficulty=2,
    minutes=15,
    points=5,
    reference=reference_past,
    hints=(
        "There are t queries and s = p + t keys. How many of the keys may the last query see, how many the first?",
        "Join the past and the new along the tokens, the past first. The mask is (t, s): row i hides the keys after "
        "number p + i, so the diagonal of 01.1 has moved p columns to the right.",
        "later = torch.ones(t, s, dtype=torch.bool).triu(s - t + ...)",
    ),
)
def test_attention_with_past(submission, cases):
    for case in cases("b t p e"):
        new, past = dict(q=case("b t e"), k=case("b t e"), v=case("b t e")), dict(past_k=case("b p e"))
        same(submission.attention_with_past, reference_past, **new, **past, past_v=case("b p e"))


def reference_count(style: str, v: int, context: int, layers: int, d: int, f: int, d_kv: int) -> int:
    """Counted in a real model, with heads two numbers wide."""
    sizes = dict(vocab=v, context=context, layers=layers, width=d, hidden=f)
    c = Config(style, **sizes, heads=d // 2, kv_heads=d_kv // 2, head_width=2)
    return sum(p.numel() for p in GPT(c).parameters())


@exercise(
    "01.5",
    "How many numbers a GPT has",
    difficulty=2,
    minutes=15,
    points=3,
    reference=reference_count,
    hints=(
        "Go through the model from its embeddings to its head. Which of its parts hold numbers, and of which shapes?",
        "A block has q (d, d), k and v (d_kv, d), o (d, d), the MLP's up (f, d), down (d, f) and in LLaMA gate (f, d), "
        "and two norms. In GPT-2 every Linear has as many biases as outputs and every norm has 2 d numbers.",
        "block = 2 * d * d + 2 * d * d_kv + ... ; return v * d + ... + layers * block + ...",
    ),
)
def test_parameter_count(submission, cases):
    for case in cases():
        d_kv = 2 * case.integer(2, 5)
        sizes = dict(v=case.integer(500, 900), context=case.integer(100, 200), layers=case.integer(3, 6))
        sizes |= dict(d=d_kv * case.integer(2, 3), f=case.integer(50, 99), d_kv=d_kv)
        calls = [dict(style=style, **sizes) for style in ("gpt2", "llama")]
        got = [submission.parameter_count(**arguments) for arguments in calls]
        for number, arguments in zip(got, calls, strict=True):
            if found := fault(number, reference_count(**arguments)):  # both are evidence: one may agree by chance
                raise Wrong(found, ("value", got), call_text("parameter_count", arguments))


def reference_computed(p: int, n: int) -> tuple[int, int]:
    """Counted while a real model generates."""
    model, computed = GPT(Config(vocab=7, context=p + n, layers=1, heads=1, width=2)), []
    model.trunk.register_forward_pre_hook(lambda trunk, inputs: computed.append(inputs[0].shape[1]))
    totals = []
    for cache in (False, True):
        computed.clear()
        generate(model, [[1] * p], n, cache=cache)
        totals.append(sum(computed))
    return totals[0], totals[1]


@exercise(
    "01.6",
    "Predict: the work a cache saves",
    difficulty=1,
    minutes=5,
    points=3,
    reference=reference_computed,
    hints=(
        "How many tokens does the first step compute, which gives the first new token? And the second?",
        "Without a cache the steps compute p, p + 1, p + 2, ... tokens, n steps in all. With one, the first computes "
        "the prompt and every later one a single token, the one just generated.",
        "return n * p + n * (n - 1) // 2, p + ...",
    ),
)
def test_tokens_computed(submission, cases):
    for case in cases("p n", count=4):
        same(submission.tokens_computed, reference_computed, p=case["p"], n=case["n"])
