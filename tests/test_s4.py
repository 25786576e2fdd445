"""S4: which numbers train in which layer, and how many."""

import pytest
import torch
from torch.testing import assert_close

from minipeft import delta
from minipeft.additive.prefix_tuning import Prefix
from minipeft.gpt import GPT, Config
from minipeft.hybrid.s4 import S4, spindle
from minipeft.measure import counts
from minipeft.reparametrization.lora import LowRank
from minipeft.surgery import detach, merge, trainable

PLAN = ("AL", "AP", "APB", "PBL")


def kind(name: str) -> str:
    """The letter of a trainable tensor's method."""
    if ".past." in name:
        return "P"
    if name.endswith((".branch.A", ".branch.B")):
        return "L"
    return "A" if ".branch." in name else "B"


def by_layer(model) -> list[dict[str, int]]:
    """{letter: how many numbers} of each layer."""
    layers = [{} for _ in model.trunk]
    for name, p in trainable(model).items():
        here = layers[int(name.split(".")[1])]
        here[kind(name)] = here.get(kind(name), 0) + p.numel()
    return layers


@pytest.mark.parametrize(
    ("layers", "groups", "sizes"),
    [
        (12, 4, [2, 4, 4, 2]),
        (24, 4, [4, 8, 8, 4]),
        (4, 4, [1, 1, 1, 1]),
        (8, 3, [2, 4, 2]),
        (5, 1, [5]),
        (7, 2, [4, 3]),
    ],
)
def test_spindle(layers, groups, sizes):
    """Consecutive, all layers, from the input up; the middle ones about twice as long as the ends."""
    runs = spindle(layers, groups)
    assert [len(run) for run in runs] == sizes
    assert [i for run in runs for i in run] == list(range(layers))


def test_each_layer_has_what_the_plan_says(make):
    """The kinds by the published table; nothing outside the blocks; B is every bias of its layers and of no other."""
    model = S4(share=0.15).attach(make(layers=12))
    assert all(name.startswith("trunk.") for name in trainable(model))
    expected = [set(letters) for letters, n in zip(PLAN, (2, 4, 4, 2), strict=True) for _ in range(n)]
    assert [set(layer) for layer in by_layer(model)] == expected
    biases = {name for name in trainable(model) if kind(name) == "B"}
    in_blocks = {n for n, _ in model.named_parameters() if n.startswith("trunk.") and n.endswith("bias")}
    assert biases == {n for n in in_blocks if ".branch." not in n and int(n.split(".")[1]) >= 6}


def test_every_layer_gets_the_same(make):
    """Uniform over layers, not over groups; each method's count is the closed form of the number it was given."""
    model, c = make(layers=12), make().c
    method = S4(share=0.15)
    total = sum(p.numel() for p in model.parameters())
    d, d_q, d_kv = c.width, c.heads * c.head_width, c.kv_heads * c.head_width
    parts = {}
    for part in method.parts(model):
        parts.update({(type(part).__name__, i): part for i in part.layers})
    method.attach(model)
    unit = {"A": 2 * d + 1, "L": 2 * d + d_q + d_kv, "P": 2 * d_kv}
    budget = method.share * total / 12
    for i, layer in enumerate(by_layer(model)):
        assert 0 <= budget - sum(layer.values()) < sum(unit.get(letter, 0) for letter in layer)
        for name, letter, count in (
            ("Adapters", "A", lambda part: 2 * d * part.size + part.size + d),
            ("LoRA", "L", lambda part: part.rank * unit["L"]),
            ("PrefixTuning", "P", lambda part: 2 * d_kv * part.length),
        ):
            assert layer.get(letter) == (count(parts[name, i]) if (name, i) in parts else None)
        if "B" in layer and c.style == "gpt2":
            assert layer["B"] == d_q + 2 * d_kv + d + c.hidden + d + 2 * d
        elif "B" in layer:
            assert layer["B"] == d_q + 2 * d_kv + d + 2 * c.hidden + d
    assert counts(model).trainable <= method.share * total


def test_published_budget():
    """GPT-2 small, without memory: 0.005 of it is 622,199 numbers, 51,850 a layer."""
    with torch.device("meta"):
        model = GPT(Config("gpt2", vocab=50257, context=1024, layers=12, heads=12, width=768))
        layers = by_layer(S4(share=0.005).attach(model))
    assert sum(sum(layer.values()) for layer in layers) <= 622_199
    assert all(51_850 - 4_000 < sum(layer.values()) <= 51_850 for layer in layers)
    assert layers[8]["B"] == 11 * 768


def test_prefixes_stand_in_their_layers_alone(make, idx, shake):
    """Longer keys where the plan says P; the text keeps its positions; the layers before the first prefix see none."""
    model = shake(S4(plan=("AL", "APB", "PBL"), share=0.15).attach(make()))
    lengths = [sum(m.k.shape[1] for m in block.modules() if isinstance(m, Prefix)) for block in model.trunk]
    assert lengths[0] == 0 < min(lengths[1:])
    assert model.room == model.c.context
    assert model(torch.zeros(1, model.c.context, dtype=torch.long)).shape[1] == model.c.context


def test_group_one_starts_as_the_base(make, idx):
    """A and L alone change nothing much at first; LoRA alone nothing at all."""
    assert torch.equal(S4(plan=("L",)).attach(make())(idx), make()(idx))
    assert (S4(plan=("AL",), share=0.1).attach(make())(idx) - make()(idx)).abs().max() < 0.05


def test_lora_folds_and_the_rest_stays(make, idx, shake, tmp_path):
    """Merged in part, it does what it did, and is saved for the base that it has now."""
    model = shake(S4(plan=("AL", "APB", "PBL"), share=0.15).attach(make()))
    out = model(idx)
    merge(model)
    assert not any(isinstance(m, LowRank) for m in model.modules())
    assert_close(model(idx), out, rtol=0, atol=1e-5)
    delta.save(model, tmp_path)
    base = detach(model)
    assert not torch.equal(base.trunk[0].attn.q.weight, make().trunk[0].attn.q.weight)
    assert_close(delta.load(base, tmp_path)(idx), out, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"plan": ()}, "plan"),
        ({"plan": ("AX",)}, "letters A, P, B and L"),
        ({"plan": ("AA",)}, "letters A, P, B and L"),
        ({"share": 0.0}, "share"),
        ({}, "too long for a model of 3 layers"),
        ({"plan": ("PB",), "share": 0.001}, "must be at least"),
    ],
)
def test_refuses(make, settings, reason):
    model = make()
    with pytest.raises(ValueError, match=reason):
        S4(**settings).attach(model)
    assert model.state_dict().keys() == make().state_dict().keys()
    assert all(p.requires_grad for p in model.parameters())


def test_the_least_share_is_enough(make):
    """What the refusal says works."""
    with pytest.raises(ValueError) as refusal:
        S4(plan=("APBL",), share=0.001).attach(make())
    least = float(str(refusal.value).rsplit(" ", 1)[1])
    with pytest.raises(ValueError, match="must be"):
        S4(plan=("APBL",), share=least - 2e-4).attach(make())
    S4(plan=("APBL",), share=least + 1e-4).attach(make())
