"""FAR: the choice against a sort, the split against two Linears, and what moves when."""

import copy

import pytest
import safetensors.torch
import torch
from torch.testing import assert_close

from minipeft import delta
from minipeft.gpt import GPT, Config
from minipeft.measure import counts
from minipeft.method import FullFineTuning, Stage
from minipeft.selective.far import FAR, Rows
from minipeft.surgery import base_state, detach, merge, trainable


@pytest.fixture
def batches(idx):
    return [(idx, idx.roll(-1, 1)), (idx.flip(0), idx.flip(0).roll(-1, 1))]


def steps(model, method, batches, n=4, rate=0.02):
    for step in range(n):
        model.zero_grad()
        method.loss(model, *batches[step % 2]).backward()
        with torch.no_grad():
            for p in trainable(model).values():
                p -= rate * p.grad


@pytest.fixture
def primed(make, batches):
    """primed(method): (a model after priming, the same reconfigured, its recipe just before the second training)."""

    def primed(method):
        model = make()
        recipe = method.stages(model, batches)
        stage = next(recipe)
        assert (stage.name, stage.share) == ("prime", method.priming)
        steps(model, method, batches)
        before = merge(copy.deepcopy(model))
        assert next(recipe) == Stage("train", 1 - method.priming)
        return before, model

    return primed


def rows_of(model) -> dict[str, torch.Tensor]:
    """{plain name: the rows that train}"""
    return {
        n.replace(".parametrizations", "").removesuffix(".0.rows"): b
        for n, b in model.named_buffers()
        if n.endswith(".rows")
    }


def learners(make, before, share) -> dict[str, set[int]]:
    """By hand: the nodes of each MLP Linear, sorted by the sum of what each of their weights has moved."""
    chosen = {}
    for name, old in make().named_parameters():
        if ".mlp." in name and name.endswith("weight"):
            moved = [sum(abs(x) for x in row) for row in (before.get_parameter(name) - old).tolist()]
            order = sorted(range(len(moved)), key=lambda o: moved[o], reverse=True)
            chosen[name] = set(order[: round(share * len(moved))])
    return chosen


def test_nodes_that_moved_most(make, primed):
    """Of each Linear the same share, by the sum of absolute differences from its start; biases follow their rows."""
    before, model = primed(FAR(share=0.3))
    rows, expected = rows_of(model), learners(make, before, 0.3)
    assert rows.keys() == {n for n, _ in make().named_parameters() if ".mlp." in n}
    for name, r in rows.items():
        assert set(r.tolist()) == expected[name.replace("bias", "weight")], name
        assert len(r) == round(0.3 * len(model.get_submodule(name.rpartition(".")[0]).weight))


def test_reconfigured_is_primed(primed, idx):
    """Nothing is lost: learners, frozen rows and all outside the MLPs stand where priming left them."""
    before, model = primed(FAR(share=0.3))
    assert torch.equal(model(idx), before(idx))
    for name, p in merge(model).state_dict().items():
        assert torch.equal(p, before.state_dict()[name]), name


def test_rewind(make, primed):
    """Then the frozen rows are the base's, and the learners' still the primed ones."""
    before, model = primed(FAR(share=0.3, rewind=True))
    rows = rows_of(model)
    for name, p in merge(model).named_parameters():
        learns = torch.ones(len(p), dtype=torch.bool)
        if name in rows:
            learns = torch.zeros(len(p), dtype=torch.bool).index_fill(0, rows[name], True)
            assert torch.equal(p[~learns], make().get_parameter(name)[~learns])
            assert not torch.equal(p[~learns], before.get_parameter(name)[~learns])
        assert torch.equal(p[learns], before.get_parameter(name)[learns])


def test_two_linears(primed):
    """concat(x W_t + b_t, x W_f + b_f) with the outputs put back in order, and not as the survey has it."""
    _, model = primed(FAR(share=0.3))
    up, x = model.trunk[1].mlp.up, torch.randn(2, 5, model.c.width)
    rows = up.parametrizations.weight[0].rows
    others = torch.tensor([o for o in range(len(up.weight)) if o not in rows])
    b = torch.zeros(len(up.weight)) if up.bias is None else up.bias
    halves = torch.cat([x @ up.weight[part].T + b[part] for part in (rows, others)], -1)
    order = torch.cat([rows, others])
    assert_close(halves[..., order.argsort()], up(x))
    assert (halves - up(x)).abs().max() > 0.1


@pytest.mark.parametrize("rewind", [False, True])
def test_frozen_rows_keep_every_bit(primed, batches, rewind):
    """AdamW with weight decay over all parameters, after priming: learners move, and all that isn't an MLP."""
    method = FAR(share=0.3, rewind=rewind)
    _, model = primed(method)
    start, rows = merge(copy.deepcopy(model)), rows_of(model)
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2, weight_decay=0.5)
    for step in range(4):
        optimizer.zero_grad()
        method.loss(model, *batches[step % 2]).backward()
        optimizer.step()
    for name, p in merge(model).named_parameters():
        moved = (p != start.get_parameter(name)).flatten(1 if p.ndim > 1 else 0)
        moved = moved.any(1) if p.ndim > 1 else moved
        if name in rows:
            assert moved.nonzero().squeeze(1).tolist() == rows[name].tolist(), name
        elif name != "positions.weight":  # the last positions aren't used
            assert moved.any(), name


def test_gradient_of_the_rows(primed, batches):
    """A learner's gradient is its row of the dense one."""
    before, model = primed(FAR(share=0.3))
    for m in (before, model):
        m.zero_grad()
        FAR().loss(m, *batches[0]).backward()
    for name, r in rows_of(model).items():
        part, _, key = name.rpartition(".")
        values = getattr(model.get_submodule(part).parametrizations, key)[0].values
        assert_close(values.grad, before.get_parameter(name).grad[r])
    assert_close(model.tokens.weight.grad, before.tokens.weight.grad)


def test_all_rows_is_full_fine_tuning(make, primed, batches, idx):
    """share = 1, step for step."""
    method, full = FAR(share=1.0), FullFineTuning().attach(make())
    _, model = primed(method)
    steps(full, method, batches)
    assert_close(model(idx), full(idx))
    for m in (model, full):
        steps(m, method, batches)
    assert_close(model(idx), full(idx))


def test_count(make, primed):
    """All that isn't an MLP, and rho d_out (d_in + 1) of each of its Linears."""
    _, model = primed(FAR(share=0.3))
    c, total = model.c, sum(p.numel() for p in make().parameters())
    bias = c.style == "gpt2"
    linears = [(c.hidden, c.width)] * (1 if bias else 2) + [(c.width, c.hidden)]
    mlp = sum(out * (size + bias) for out, size in linears) * c.layers
    rows = sum(round(0.3 * out) * (size + bias) for out, size in linears) * c.layers
    assert counts(model).trainable == total - mlp + rows


def test_published_count():
    """41.4 M of DistilBERT's 66.9 M at 10%, on a model of its sizes, without memory; its two last layers are a head."""
    with torch.device("meta"):
        model = GPT(Config("gpt2", vocab=30522, context=512, layers=6, heads=12, width=768))
        head = (768 * 768 + 768) + (768 * 2 + 2)
        assert sum(p.numel() for p in model.parameters()) + head == 66_955_010
        recipe = FAR(share=0.1).stages(model, [])
        next(recipe)
        next(recipe)
    assert 41.4e6 < counts(model).trainable + head < 41.5e6


def test_formula():
    weight, rows = torch.arange(12.0).view(4, 3), torch.tensor([1, 3])
    values, others = -torch.ones(2, 3), 100 + weight
    assert Rows(rows, values)(weight).tolist() == [[0, 1, 2], [-1] * 3, [6, 7, 8], [-1] * 3]
    assert Rows(rows, values, others)(weight).tolist() == [[100, 101, 102], [-1] * 3, [106, 107, 108], [-1] * 3]


@pytest.mark.parametrize("rewind", [False, True])
def test_delta_of_a_recipe(make, primed, idx, shake, tmp_path, rewind):
    """Rows, values and what isn't an MLP go into the file; the frozen rows only if they aren't the base's."""
    _, model = primed(FAR(share=0.3, rewind=rewind))
    shake(model, std=0.05)
    delta.save(model, tmp_path)
    state = safetensors.torch.load_file(tmp_path / "delta.safetensors")
    mlps = sum(p.numel() for n, p in make().named_parameters() if ".mlp." in n)
    assert sum(t.numel() for n, t in state.items() if n.endswith(".others")) == (0 if rewind else mlps)
    rest = {n: t for n, t in state.items() if not n.endswith((".others", ".rows"))}
    assert sum(t.numel() for t in rest.values()) == counts(model).trainable
    again = delta.load(make(), tmp_path)
    assert torch.equal(again(idx), model(idx))
    assert str(counts(again)) == str(counts(model))
    assert all(torch.equal(t, make().state_dict()[n]) for n, t in base_state(again).items())
    assert all(torch.equal(t, make().state_dict()[n]) for n, t in detach(again).state_dict().items())


def test_rows_outside_the_weight(make, primed):
    method = FAR(share=0.3)
    _, model = primed(method)
    state = model.state_dict()
    name, n = "trunk.1.mlp.up.parametrizations.weight.0.rows", len(model.trunk[1].mlp.up.weight)
    for bad in ([-1], [n], [], [[1]]):
        with pytest.raises(ValueError, match=f"rows of trunk.1.mlp.up.weight should be numbers from 0 to {n - 1}"):
            method.restore(make(), state | {name: torch.tensor(bad, dtype=torch.int64)})


@pytest.mark.parametrize("settings", [{"share": 0.0}, {"share": 1.1}, {"priming": 0.0}, {"priming": 1.0}])
def test_refuses(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        FAR(**settings)
