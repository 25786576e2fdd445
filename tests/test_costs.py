"""The lessons' table of costs: its numbers are those of the library's own measurements."""

import copy

import torch

from minipeft import GPT, Adapters, DiffPruning, LoRA, counts, delta
from minipeft.course.costs import TEXTS, costs
from minipeft.measure import kept_bytes
from minipeft.method import FullFineTuning


def test_a_row_says_what_the_method_trains_keeps_and_stores(tmp_path):
    base = GPT.from_pretrained("mini-gpt2")
    before, method = copy.deepcopy(base.state_dict()), LoRA(rank=4)
    _, row = costs(base, {"all": FullFineTuning(), "low": method}, rounds=1)
    assert row.pop("a step").endswith(" ms")
    assert row.pop("forward").endswith(" ms (merged)")
    model = method.attach(copy.deepcopy(base))
    x, y = (torch.randint(base.c.vocab, TEXTS) for _ in range(2))  # what is kept of a tensor is all of its storage
    delta.save(model, tmp_path)
    assert row == {
        "": "low",
        "trains": f"{counts(model).trainable:,}",
        "gradients and Adam": f"{12 * counts(model).trainable / 1e6:.2f} MB",
        "activations kept": f"{kept_bytes(lambda: method.loss(model, x, y), model) / 1e6:.2f} MB",
        "a file": f"{(tmp_path / delta.TENSORS).stat().st_size / 1e3:,.0f} kB",
    }
    assert all(torch.equal(p, before[name]) for name, p in base.state_dict().items())


def test_what_stays_in_the_way_is_timed_as_it_stays():
    (row,) = costs(GPT.from_pretrained("mini-gpt2"), {"adapters": Adapters()}, rounds=1)
    assert "merged" not in row["forward"]


def test_each_stage_of_a_recipe_has_a_row():
    base = GPT.from_pretrained("mini-gpt2")
    first, second = costs(base, {"diff": DiffPruning(structured=False)}, rounds=1)
    assert (first[""], second[""]) == ("diff: find the mask", "diff: train what is left")
    kept = [float(row["activations kept"].split()[0]) for row in (first, second)]
    assert int(first["trains"].replace(",", "")) > 100 * int(second["trains"].replace(",", ""))
    assert kept[0] > kept[1]
    assert first["a file"] == second["a file"]


def test_a_method_of_ones_own_has_costs_too():
    class Mine(LoRA):
        pass

    (mine,), (lora,) = (costs(GPT.from_pretrained("mini-gpt2"), {"": m}, rounds=1) for m in (Mine(), LoRA()))
    assert all(mine[key] == lora[key] for key in ("trains", "activations kept", "a file"))
