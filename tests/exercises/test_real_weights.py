"""The exercises of lesson 24, real weights, and their checks.  The right answers are the library's, or measured."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from minipeft.checkpoint import skeleton
from minipeft.course.exercise import exercise
from minipeft.course.judge import Wrong, call_text, fault, same
from minipeft.gpt import Config

BF16, FP16, FP32 = 7, 10, 23  # bits after the leading 1


def all_same(call: Callable, reference: Callable, calls: list[dict], tolerance: float = 1e-5) -> None:
    """`same` for several calls.  The evidence is all answers together: mistakes may agree in one of them."""
    answers = [call(**arguments) for arguments in calls]
    for arguments, answer in zip(calls, answers, strict=True):
        if found := fault(answer, reference(**arguments), tolerance):
            raise Wrong(found, ("values", answers), call_text(call.name, arguments))


def reference_qkv(weight: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
    """Asked of what transformers computes: x weight is linear, and its rows for the unit vectors are the columns."""
    q, k, v = (torch.eye(len(weight)) @ weight).split(len(weight), dim=1)
    return q.T, k.T, v.T, *bias.split(len(weight))


@exercise(
    "24.1",
    "Find the mistake: GPT-2's queries, keys and values",
    difficulty=2,
    minutes=10,
    points=5,
    reference=reference_qkv,
    hints=(
        "x weight has 3 d numbers for each token. Which columns of the weight make the queries?",
        "The queries are the first d columns, so W_q = weight[:, :d] transposed. reshape takes the first third of the "
        "*rows* and draws new borders.",
        "W_q, W_k, W_v = weight.T...",
    ),
)
def test_gpt2_qkv(submission, cases):
    for case in cases("d"):
        weight, bias = torch.cat([case("d d") for _ in "qkv"], 1), torch.cat([case("d") for _ in "qkv"])
        weight.axes, bias.axes = "d 3d", "3d"
        same(submission.gpt2_qkv, reference_qkv, weight=weight, bias=bias)


def reference_numbers(vocab: int, layers: int, d: int, heads: int, kv_heads: int, e: int, f: int, tied: bool) -> int:
    """Counted in a model that has shapes and no memory."""
    shape = dict(layers=layers, width=d, heads=heads, kv_heads=kv_heads, head_width=e, hidden=f)
    return sum(p.numel() for p in skeleton(Config("llama", vocab, 8, tied=tied, **shape)).parameters())


@exercise(
    "24.2",
    "How many numbers has a LLaMA?",
    difficulty=1,
    minutes=10,
    points=4,
    reference=reference_numbers,
    hints=(
        "Which of its tensors are there once, and which once in each layer?",
        "A layer has four matrices of attention, three of the MLP and two norms. Once: the embedding, the last norm, "
        "and the head if it isn't tied.",
        "layer = 2 * heads * e * d + 2 * kv_heads * e * d + ... + 2 * d",
    ),
)
def test_llama_numbers(submission, cases):
    calls = []
    for i, case in enumerate(cases(count=4)):
        kv_heads = case.integer(2, 4)
        sizes = dict(vocab=case.integer(50, 90), layers=case.integer(3, 6), d=2 * case.integer(10, 20))
        sizes |= dict(heads=kv_heads * case.integer(2, 3), kv_heads=kv_heads, e=2 * case.integer(3, 5))
        calls.append(sizes | dict(f=case.integer(41, 60), tied=i % 2 == 1))
    all_same(submission.llama_numbers, reference_numbers, calls)


def reference_cache(layers: int, kv_heads: int, e: int, tokens: int, texts: int, size: int) -> int:
    """The keys and values that the model's own attention makes, in all layers."""
    shape = dict(layers=layers, width=8, heads=2 * kv_heads, kv_heads=kv_heads, head_width=e)
    model = skeleton(Config("llama", 7, tokens, **shape)).to({2: torch.bfloat16, 4: torch.float32}[size])
    x = torch.empty(texts, tokens, 8, dtype=next(model.parameters()).dtype, device="meta")
    return sum(y.nbytes for block in model.trunk for y in block.attn.heads(x)[1:])


@exercise(
    "24.3",
    "The cache of a text",
    difficulty=1,
    minutes=5,
    points=4,
    reference=reference_cache,
    hints=(
        "What of a token do later tokens need, in each layer?",
        "Its key and its value: 2 times kv_heads e numbers. Then count layers, tokens, texts, and bytes.",
        "return layers * 2 * kv_heads * e * ...",
    ),
)
def test_cache_bytes(submission, cases):
    calls = []
    for case, size in zip(cases(), (2, 4, 2), strict=True):
        sizes = dict(layers=case.integer(3, 5), kv_heads=case.integer(3, 6), e=2 * case.integer(4, 8))
        calls.append(sizes | dict(tokens=case.integer(20, 50), texts=case.integer(7, 9), size=size))
    all_same(submission.cache_bytes, reference_cache, calls)


def reference_operations(numbers: int, tokens: int, base_trains: bool, recompute: bool) -> int:
    """Counted by torch, in a step of a Linear with so many weights."""
    with torch.device("meta"):
        linear = nn.Linear(1, numbers, bias=False).requires_grad_(base_trains)
        x = torch.empty(tokens, 1, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        if recompute:
            linear(x)
        linear(x).sum().backward()
    return counter.get_total_flops()


@exercise(
    "24.4",
    "Predict: the products of a step",
    difficulty=1,
    minutes=5,
    points=4,
    reference=reference_operations,
    hints=(
        "How many products of the same size are there for each Linear, if everything trains?",
        "Three: forward, the gradient of the input, the gradient of the weight. A frozen base saves the last one, "
        "recomputation adds another forward pass. Each is 2 operations for every weight and token.",
        "return 2 * numbers * tokens * (2 + ...)",
    ),
)
def test_step_operations(submission, cases):
    flags = ((False, True), (True, False), (False, False), (True, True))
    calls = [
        dict(numbers=case.integer(100, 900), tokens=case.integer(11, 99), base_trains=trains, recompute=again)
        for case, (trains, again) in zip(cases(count=4), flags, strict=True)
    ]
    all_same(submission.step_operations, reference_operations, calls)


def reference_gap(x: float, bits: int) -> float:
    """The next number of the format itself: its bits, read as a whole number, and one more."""
    number, whole = {
        BF16: (torch.bfloat16, torch.int16),
        FP16: (torch.float16, torch.int16),
        FP32: (torch.float32, torch.int32),
    }[bits]
    here = torch.tensor(abs(x)).to(number)
    if here.double() > abs(x):  # rounded up: to the number below
        here = (here.view(whole) - 1).view(number)
    return ((here.view(whole) + 1).view(number).double() - here.double()).item()


@exercise(
    "24.5",
    "Predict: the gap to the next number",
    difficulty=2,
    minutes=10,
    points=4,
    reference=reference_gap,
    hints=(
        "Between 1 and 2, bf16 has 128 steps. How long is one? And between 4 and 8, where there are 128 steps as well?",
        "Find the largest power of two that is not above |x|: its exponent is the floor of log2 |x|. The gap is that "
        "power divided by the number of steps, 2^bits.",
        "power = 2.0 ** math.floor(math.log2(abs(x)))",
    ),
)
def test_gap(submission, cases):
    calls = [dict(x=4.0, bits=BF16)]  # on a power of two itself
    for case, bits in zip(cases(count=6), (BF16, FP16, FP32) * 2, strict=True):
        calls.append(dict(x=-case.number(1.1, 1.9) * 2.0 ** case.integer(3, 6), bits=bits))
        calls.append(dict(x=case.number(1.1, 1.9) / 2.0 ** case.integer(3, 6), bits=bits))
    # the gaps themselves may be as small as 1e-9, and powers of two are exact
    all_same(submission.gap, reference_gap, calls, tolerance=1e-12)


def reference_master(master: Tensor, update: Tensor) -> tuple[Tensor, Tensor]:
    """Done by the optimizer: plain SGD with a rate of 1 on the master copy, whose gradient is the update."""
    exact = nn.Parameter(master.clone())
    exact.grad = update
    torch.optim.SGD([exact], lr=1.0).step()
    weights = torch.empty_like(master, dtype=torch.bfloat16).copy_(exact.detach())
    return weights, exact.detach()


@exercise(
    "24.6",
    "The master copy",
    difficulty=2,
    minutes=10,
    points=4,
    reference=reference_master,
    hints=(
        "Where do the small steps add up, and what does the model see of them?",
        "The update is taken off the master copy, in fp32. The model's weights are the master copy rounded, anew in "
        "each step; the rounded ones never flow back.",
        "return master.bfloat16(), master",
    ),
)
def test_master_step(submission, cases):
    for case in cases(n=40):
        master = case("n")
        update = 1e-3 * case("n")
        update.axes = "n"
        same(submission.master_step, reference_master, tolerance=1e-7, master=master, update=update)
