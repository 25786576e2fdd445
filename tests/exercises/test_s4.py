"""The exercises of lesson 22, S4, and their checks.  The right answers come from the library's own modules."""

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor

from minipeft.additive.prefix_tuning import Prefix
from minipeft.course.exercise import exercise
from minipeft.course.judge import same, same_gradients
from minipeft.gpt import GPT, Config, attend
from minipeft.hybrid.s4 import S4, spindle
from minipeft.hybrid.s4 import biases as biases_of
from minipeft.reparametrization.lora import LowRank


def reference_groups(layers: int, groups: int) -> list[int]:
    return [len(run) for run in spindle(layers, groups)]


@exercise(
    "22.1",
    "The groups",
    difficulty=1,
    minutes=5,
    points=3,
    reference=reference_groups,
    hints=(
        "With 5 groups the weights are 1, 2, 2, 2, 1. After which share of the layers does the second group end?",
        "Round the ends of the groups, not their sizes: then the sizes always add up to all layers. A group's size is "
        "its end less the end of the group before it.",
        "cuts = [round(layers * sum(weights[:g]) / sum(weights)) for g in range(groups + 1)]",
    ),
)
def test_s4_groups(submission, cases):
    same(submission.s4_groups, reference_groups, layers=30, groups=5)  # here rounded sizes don't add up to 30
    for case in cases(count=4):
        # even: of 45 layers and 6 groups, a cut is at 31.5 or just below, by the order in which one multiplies
        same(submission.s4_groups, reference_groups, layers=2 * case.integer(6, 30), groups=case.integer(3, 6))


def reference_sizes(letters: str, budget: int, d: int, d_q: int, d_kv: int, biases: int) -> list[int]:
    """Asked of the library, with a plan of one group on a model of one layer that has so many biases."""
    hidden = biases - d_q - 2 * d_kv - 4 * d
    shape = dict(layers=1, heads=d_q, kv_heads=d_kv, head_width=1, width=d, hidden=hidden)
    with torch.device("meta"):
        model = GPT(Config("gpt2", vocab=budget, context=1, **shape))
    total = sum(p.numel() for p in model.parameters())
    sizes = []
    for part in S4(plan=(letters,), share=(budget + 0.5) / total).parts(model):  # a half: no whole number is lost
        name = {"Adapters": "size", "LoRA": "rank", "PrefixTuning": "length"}.get(type(part).__name__)
        sizes.append(getattr(part, name) if name else biases_of(model))
    return sizes


@exercise(
    "22.2",
    "From a budget to sizes",
    difficulty=2,
    minutes=15,
    points=5,
    reference=reference_sizes,
    hints=(
        "Which letter leaves no choice, and what does it leave to the others?",
        "Take the biases off if there is a B, and divide what is left by the number of the other letters. Then solve "
        "each count for its size: for A, 2 d m + m + d = part gives m = (part - d) / (2 d + 1), rounded down.",
        'part = (budget - biases * ("B" in letters)) / max(1, len(letters.replace("B", "")))',
    ),
)
def test_s4_sizes(submission, cases):
    words = ("PBL", "AL", "AP", "APB", "APBL", "LBA", "B", "PB", "L")
    for letters, case in zip(words, cases(count=len(words)), strict=True):
        d_kv = case.integer(3, 5)
        sizes = dict(d=case.integer(6, 12), d_q=d_kv * case.integer(2, 3), d_kv=d_kv)
        biases = sizes["d_q"] + 2 * d_kv + 4 * sizes["d"] + case.integer(20, 40)
        budget = biases + case.integer(1000, 1500)
        same(submission.s4_sizes, reference_sizes, letters=letters, budget=budget, **sizes, biases=biases)
    for case in cases():  # just enough for a bottleneck of m
        d, m = case.integer(6, 9), case.integer(3, 9)
        sizes = dict(d=d, d_q=10, d_kv=5, biases=100)
        same(submission.s4_sizes, reference_sizes, letters="A", budget=2 * d * m + m + d, **sizes)


def detour(x: Tensor, A: Tensor, B: Tensor, alpha: float) -> Tensor:
    """What LoRA adds."""
    with torch.device("meta"):
        branch = LowRank(A.shape[1], B.shape[0], len(A))
    return alpha / len(A) * torch.func.functional_call(branch, {"A": A, "B": B}, (x,))


def reference_attention(
    x: Tensor, W: Tensor, bias: Tensor, A: Tensor, B: Tensor, alpha: float, P: Tensor
) -> Tensor:  # fmt: skip
    q, k, v = (F.linear(x, W[i], bias[i])[:, None] for i in range(3))  # one head: (b, 1, t, d)
    q, v = q + detour(x, A[0], B[0], alpha)[:, None], v + detour(x, A[1], B[1], alpha)[:, None]
    with torch.device("meta"):
        link = Prefix(torch.empty(P[:1].shape), torch.empty(P[1:].shape))
    k, v = torch.func.functional_call(link, {"k": P[:1], "v": P[1:]}, (q, k, v))
    return attend(q, k, v, mask=None)[:, 0]


@exercise(
    "22.3",
    "A layer of the fourth group",
    difficulty=3,
    minutes=20,
    points=6,
    reference=reference_attention,
    hints=(
        "Three methods: which of them changes the queries, which the keys, which the values, and in which order?",
        "First the Linears with their biases, then LoRA's detours from x to the queries and the values, then the prefix "
        "before keys and values. The mask is (t, n + t): n columns that everyone sees, then the usual triangle.",
        "hidden = torch.ones(t, n + t, dtype=torch.bool).triu(n + 1)",
    ),
)
def test_s4_attention(submission, cases):
    for case in cases("b t n d", qkv=3, qv=2, kv=2, r=4):
        arguments = dict(
            x=case("b t d"),
            W=case("qkv d d"),
            bias=case("qkv d"),
            A=case("qv r d"),
            B=case("qv d r"),
            alpha=case.number(4, 9),
            P=case("kv n d"),
        )
        same(submission.s4_attention, reference_attention, tolerance=1e-4, **arguments)  # scores up to a thousand
        same_gradients(submission.s4_attention, reference_attention, wrt="bias P", tolerance=1e-3, **arguments)


def reference_plans(letters: int, groups: int) -> tuple[int, int]:
    """All of them written down, and the trials of the greedy search counted one by one."""
    words = [word for n in range(1, letters + 1) for word in itertools.combinations(range(letters), n)]
    return len(list(itertools.product(words, repeat=groups))), sum(1 for _ in range(groups) for _ in words)


@exercise(
    "22.4",
    "Predict: how many plans",
    difficulty=1,
    minutes=5,
    points=3,
    reference=reference_plans,
    hints=(
        "With the methods A and L alone: what can one group have? (There are three answers.)",
        "Each letter is in or out, and only 'all out' is no choice: 2^letters - 1. For all groups at once these "
        "multiply; one group after the other, they add up.",
        "choices = 2**letters - 1",
    ),
)
def test_s4_plans(submission, cases):
    same(submission.s4_plans, reference_plans, letters=3, groups=2)
    for case in cases():
        same(submission.s4_plans, reference_plans, letters=case.integer(3, 4), groups=case.integer(3, 4))


def reference_budgets(total: int, share: float, sizes: list[int]) -> list[float]:
    """Given out number by number: every layer gets its equal part, group after group."""
    layers = [g for g, size in enumerate(sizes) for _ in range(size)]
    budgets = [0.0] * len(sizes)
    for g in layers:
        budgets[g] += share * total / len(layers)
    return budgets


@exercise(
    "22.5",
    "Find the mistake: who gets how much",
    difficulty=1,
    minutes=5,
    points=3,
    reference=reference_budgets,
    hints=(
        "With the code as given, how much does one layer of a group of 4 get, and one of a group of 2?",
        "The code is uniform over groups. Uniform over layers means: a layer's part first, and then a group has as many "
        "parts as it has layers.",
        "per_layer = share * total / sum(sizes)",
    ),
)
def test_s4_budgets(submission, cases):
    for case in cases():
        sizes = [case.integer(1, 3), case.integer(4, 6), case.integer(7, 9), case.integer(1, 3)]
        same(
            submission.s4_budgets,
            reference_budgets,
            total=case.integer(10_000, 90_000),
            share=case.number(0.001, 0.1),
            sizes=sizes,
        )
