"""The three counts, the bytes kept for the backward pass, and seconds."""

import copy
import time

import pytest
import torch
from torch import nn

from minipeft.additive.adapters import Adapters
from minipeft.gpt import GPT, Config
from minipeft.measure import Counts, counts, kept_bytes, rank, times, training_step
from minipeft.method import FullFineTuning
from minipeft.reparametrization.lora import LoRA
from minipeft.selective.bitfit import BitFit
from minipeft.surgery import detach, merge, trainable

# -- counts -----------------------------------------------------------------------------------------------------------


def test_prints():
    """As the lessons show it, in a notebook too."""
    text = "trainable 12,288 · changed 73,728 · rank 8"
    assert str(Counts(12288, 73728, 8)) == repr(Counts(12288, 73728, 8)) == text
    assert str(Counts(640, 640, None)) == "trainable 640 · changed 640 · rank –"


def test_lora(make, shake):
    """Before training nothing has changed; afterwards all of q and v has, by rank r. Merged, nothing is left."""
    c = make().c
    d, q, v = c.width, c.heads * c.head_width, c.kv_heads * c.head_width
    trains = c.layers * 3 * (d + q + d + v)
    model = LoRA(rank=3).attach(make())
    assert counts(model) == Counts(trains, 0, None)
    assert counts(shake(model)) == Counts(trains, c.layers * d * (q + v), 3)
    n = sum(p.numel() for p in make().parameters())
    assert counts(merge(model)) == counts(detach(model)) == counts(make()) == Counts(n, 0, None)


def test_change_below_rounding(make, shake):
    """A change that fp32 would round away is one: q and v are changed in all their numbers, by rank 3."""
    model = shake(LoRA(rank=3).attach(make()), std=1e-6)
    c = model.c
    assert counts(model).changed == c.layers * c.width * (c.heads + c.kv_heads) * c.head_width
    assert counts(model).rank == 3


def test_one_number(make):
    """A single number of a matrix is a change of one number, of rank one; of a vector, of no rank."""
    for part, key, at, expected in (
        ("trunk.1.mlp.up", "weight", (3, 4), 1),
        ("norm", "weight", (2,), None),
    ):
        model = FullFineTuning().attach(make())
        with torch.no_grad():
            getattr(model.get_submodule(part), key)[at] += 1
        assert counts(model) == Counts(sum(p.numel() for p in model.parameters()), 1, expected)


def test_adapters(make, shake):
    """They stay beside the base, so they count as changed even untrained; the norms count when they have moved."""
    c, m = make().c, 5
    size = 2 * c.layers * (2 * c.width * m + c.width + m)
    norms = (2 * c.layers + 1) * c.width * (2 if c.style == "gpt2" else 1)
    model = Adapters(size=m).attach(make())
    assert counts(model) == Counts(size + norms, size, None)
    assert counts(shake(model)) == Counts(size + norms, size + norms, None)


def test_two_methods(make, shake):
    """Their numbers add up: adapters beside, LoRA folded into q and v, biases in place."""
    model = make()
    c = model.c
    for method in (BitFit(add=True), LoRA(rank=2), Adapters(size=3, norms=False)):
        method.attach(model)
    shake(model)
    biases = sum(p.numel() for n, p in model.named_parameters() if n.endswith("bias") and ".branch." not in n)
    adapters = 2 * c.layers * (2 * c.width * 3 + c.width + 3)
    folded = c.layers * c.width * (c.heads + c.kv_heads) * c.head_width
    given = counts(model)
    assert (given.changed, given.rank) == (biases + adapters + folded, 2)
    assert given.trainable == biases + adapters + c.layers * 2 * (2 * c.width + (c.heads + c.kv_heads) * c.head_width)


def test_counting_touches_nothing(make, shake, idx):
    model = shake(LoRA().attach(shake(Adapters().attach(make()))))
    state = {name: t.clone() for name, t in model.state_dict().items()}
    flags, parts = [p.requires_grad for p in model.parameters()], [type(m) for m in model.modules()]
    counts(model)
    assert all(torch.equal(t, state[name]) for name, t in model.state_dict().items())
    assert [p.requires_grad for p in model.parameters()] == flags and [type(m) for m in model.modules()] == parts


def test_shares_what_is_not_touched():
    """At GPT-2's width it doesn't copy the model: in 12 layers 2 of 12 d^2 each are LoRA's."""
    torch.manual_seed(0)
    model = GPT(Config(vocab=2000, layers=2, heads=12, width=768))
    LoRA(rank=8).attach(model)
    for i in range(2):
        for part in (model.trunk[i].attn.q, model.trunk[i].attn.v):
            nn.init.normal_(part.branch.B)
    began = time.process_time()
    assert counts(model) == Counts(2 * 2 * 8 * 2 * 768, 2 * 2 * 768 * 768, 8)
    assert time.process_time() - began < 3


@pytest.mark.parametrize(("m", "n"), [(300, 40), (40, 300), (150, 150), (700, 200), (7, 5)])
def test_rank(m, n):
    """Of random matrices of every rank there is, the zero matrix and the largest included."""
    torch.manual_seed(0)
    for r in {0, 1, 4, 31, 32, 33, 127, 128, 129, min(m, n) - 1, min(m, n)}:
        if r <= min(m, n):
            assert rank(torch.randn(m, r).double() @ torch.randn(r, n).double()) == r
    low = torch.randn(m, 2).double() @ torch.randn(2, n).double()
    assert rank(low + 1e-9 * torch.randn(m, n), noise=1e-6) == 2


# -- bytes ------------------------------------------------------------------------------------------------------------


def test_kept_bytes_by_hand():
    """Of tanh(x W): x for the gradient of W, the product's tanh for its own; W is the model's, and free."""
    linear, x = nn.Linear(5, 3, bias=False), torch.randn(7, 5)

    def run():
        return torch.tanh(linear(x)).sum()

    assert kept_bytes(run, linear) == 4 * (7 * 5 + 7 * 3)
    assert kept_bytes(run) == 4 * (7 * 5 + 7 * 3)  # x needs no gradient, so W isn't kept anyway
    x.requires_grad_(True)
    assert kept_bytes(run) == 4 * (7 * 5 + 7 * 3 + 3 * 5)
    x.requires_grad_(False)
    linear.requires_grad_(False)
    assert kept_bytes(run, linear) == 0  # nothing trains, nothing is kept


def test_kept_once():
    """A tensor that two operations keep, or two views of it, count once."""
    x = torch.randn(6, 4, requires_grad=True)
    assert kept_bytes(lambda: (x.exp() * 2).sum()) == 6 * 4 * 4
    y = x.detach().clone().requires_grad_(True)

    def both():
        z = y * 3
        return (z.T @ z).sum() + (z * z).sum()

    assert kept_bytes(both) == 6 * 4 * 4


def test_methods_keep_less(make, idx):
    """Frozen weights keep fewer activations, and recomputing blocks keeps little more than their inputs."""
    kept = {}
    for name, method in (("full", FullFineTuning()), ("lora", LoRA(rank=2))):
        model = method.attach(make().train())
        kept[name] = kept_bytes(lambda: method.loss(model, idx, idx), model)  # noqa: B023
    model.trunk.recompute = True
    kept["recomputed"] = kept_bytes(lambda: method.loss(model, idx, idx), model)
    assert kept["full"] > 1.2 * kept["lora"] > 2 * kept["recomputed"]
    assert kept["recomputed"] >= (model.c.layers - 1) * idx.numel() * model.c.width * 4  # block 0's input needs none


def test_the_result_lives(make, idx):
    """Measuring doesn't disturb: a loss computed inside can still be taken backwards."""
    model, losses = LoRA().attach(make()), []
    kept_bytes(lambda: losses.append(model(idx).mean()), model)
    losses[0].backward()
    assert model.trunk[0].attn.q.branch.B.grad.count_nonzero()


# -- seconds ----------------------------------------------------------------------------------------------------------


def test_times_take_turns():
    """One after the other in every round, the warm-up not counted."""
    order: list[str] = []
    seconds = times(lambda: (order.append("a"), time.sleep(0.004)), lambda: order.append("b"), rounds=5, warmup=2)
    assert order == ["a", "b"] * 7
    assert seconds.shape == (2, 5)
    assert seconds[0].min() >= 0.004 > seconds[1].median()


def test_a_training_step_lowers_the_loss_and_moves_only_what_trains():
    torch.manual_seed(0)
    model = LoRA(rank=2).attach(GPT(Config(layers=2)))
    x, y = torch.randint(model.c.vocab, (2, 4, 8))
    loss = lambda model: LoRA(rank=2).loss(model, x, y)  # noqa: E731
    step, before = training_step(lambda: loss(model), model), copy.deepcopy(model)
    for _ in range(30):
        step()
    assert loss(model) < loss(before)
    moved = {name for name, p in model.named_parameters() if (p != before.get_parameter(name)).any()}
    assert moved == set(trainable(model))
    assert all(p.grad is None for p in model.parameters())
