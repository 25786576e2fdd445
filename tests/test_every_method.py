"""What is true of every method.  A row in `minipeft/catalog.py` is all it takes to be tested here.

All but the tests of the start run after every new number has been given a random value: a method that starts as its
base hides most mistakes until then.
"""

import copy
from dataclasses import fields
from itertools import permutations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from minipeft import delta
from minipeft.catalog import CATALOG
from minipeft.generate import cached, generate
from minipeft.gpt import Trunk
from minipeft.measure import counts
from minipeft.method import FullFineTuning, Method
from minipeft.surgery import added, attached, base_state, detach, merge, trainable

KINDS = {"full": FullFineTuning, **{row.name: row.method for row in CATALOG}}
SETTINGS = {  # what a method needs to be told on that style, or for such a small model; else its defaults
    ("bitfit", "llama"): {"add": True},
    **{("prompt-tuning", style): {"length": 4} for style in ("gpt2", "llama")},
    **{("ipt", style): {"length": 4, "size": 3, "sources": ()} for style in ("gpt2", "llama")},
    ("ladder-side", "gpt2"): {"reduction": 2},
    **{("prefix-tuning", style): {"length": 5, "hidden": 7} for style in ("gpt2", "llama")},
    **{("intrinsic-said", style): {"dims": 100} for style in ("gpt2", "llama")},
    **{("s4", style): {"plan": ("AL", "APB", "PBL"), "share": 0.15} for style in ("gpt2", "llama")},
    **{("unipelt", style): {"length": 3, "rank": 3, "size": 5, "hidden": 7} for style in ("gpt2", "llama")},
}
# every two of these stack, in both orders; any other pair stacks or refuses with a sentence
STACK = {"lora", "krona", "adapters", "compacter", "ia3", "bitfit", "prompt-tuning", "prefix-tuning"}

each = pytest.mark.parametrize("name", KINDS)
pairs = pytest.mark.parametrize(
    "pair",
    [
        pytest.param(pair, id="+".join(pair), marks=[] if STACK.issuperset(pair) else pytest.mark.slow)
        for pair in permutations((row.name for row in CATALOG), 2)
    ],
)


def method_of(name: str, style: str) -> Method:
    return KINDS[name](**SETTINGS.get((name, style), {}))


@pytest.fixture
def method(name, style) -> Method:
    return method_of(name, style)


@pytest.fixture
def carrying(method, make, shake):
    """A model that carries the method, every new number random."""
    return shake(method.attach(make()), std=0.2)


def loss_of(logits, idx):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), idx[:, 1:].flatten())


def near(given, expected):
    """Equal but for the rounding of fp32: to 1e-5 of the scale."""
    assert (given - expected).abs().max() <= 1e-5 * max(1, expected.abs().max())


def labels(idx):
    return idx.roll(-1, 1)


def gradients(model, method, idx) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)  # of what the loss draws
    grads = torch.autograd.grad(
        method.loss(model, idx, labels(idx)), list(trainable(model).values()), allow_unused=True
    )
    return dict(zip(trainable(model), grads, strict=True))


# -- the start --------------------------------------------------------------------------------------------------------


@each
def test_start(method, make, idx):
    """The method's start is its base exactly, or says that it isn't."""
    model = method.attach(make())
    assert torch.equal(model(idx), make()(idx)) == method.exact_start
    assert attached(model) == (method,)


@each
def test_recipe(method, make, idx):
    """The whole recipe, AdamW with weight decay over all parameters: the frozen ones keep every bit, all others move.

    The gradients are what tells that a tensor takes part: weight decay would move it without one.
    """
    model, x, y = make().train(), idx, labels(idx)
    before = {name: t.clone() for name, t in base_state(model).items()}
    batches = [(x, y), (x.flip(0), y.flip(0))]
    for stage in method.stages(model, batches):
        state = model.state_dict(keep_vars=True)  # names what is shared once for each place it is used in
        frozen = {name: t.detach().clone() for name, t in state.items() if not t.requires_grad}
        start = {name: p.detach().clone() for name, p in trainable(model).items()}
        alive: set[str] = set()
        optimizer = torch.optim.AdamW(model.parameters(), method.lr, weight_decay=0.1)
        first = None
        for step in range(30):
            optimizer.zero_grad()
            loss = method.loss(model, *batches[step % 2])
            first = loss.item() if first is None else first
            loss.backward()
            alive |= {name for name, p in trainable(model).items() if p.grad is not None and p.grad.count_nonzero()}
            optimizer.step()
        assert alive == start.keys(), f"{stage.name}: never a gradient for {sorted(start.keys() - alive)[:3]}"
        still = [name for name, p in trainable(model).items() if torch.equal(p, start[name])]
        assert not still, f"{stage.name}: never moved: {still[:3]}"
        moved = [name for name, t in frozen.items() if not torch.equal(model.state_dict()[name], t)]
        assert not moved, f"{stage.name}: frozen, but moved: {moved[:3]}"
        assert loss < first
    assert all(torch.equal(t, before[name]) for name, t in base_state(model).items())


# -- a decoder stays one ----------------------------------------------------------------------------------------------


@each
def test_causal(carrying, idx):
    """Other tokens from position 6 on: nothing before changes, all from there on does."""
    other = idx.clone()
    other[:, 6:] = (idx[:, 6:] + 1) % 41
    out, new = carrying(idx), carrying(other)
    near(new[:, :6], out[:, :6])
    assert (new[:, 6:] - out[:, 6:]).abs().amax(-1).min() > 1e-3


@each
def test_cache(carrying, idx):
    """Token by token with a cache is the whole at once, and so are the texts that come of it."""
    full = carrying(idx)
    with cached(carrying), torch.no_grad():
        pieces = [carrying(idx[:, :4])] + [carrying(idx[:, t : t + 1], start=t) for t in range(4, 11)]
    near(torch.cat(pieces, 1), full)
    prompts = [idx[0, :5].tolist(), idx[1, :8].tolist()]
    assert generate(carrying, prompts, 12) == generate(carrying, prompts, 12, cache=False)


@each
def test_padding(carrying, idx):
    """What stands in the padding on the left is nobody's business."""
    mask = torch.ones(2, 14, dtype=torch.bool)
    mask[:, :3] = False
    for filler in (0, 17):
        padded = F.pad(idx, (3, 0), value=filler)
        near(carrying(padded, mask=mask)[:, 3:], carrying(idx))


# -- on and off -------------------------------------------------------------------------------------------------------


@each
def test_merge(method, carrying, make, idx):
    """What folds leaves a plain model of equal logits; what doesn't refuses with its reason, and stays as it is."""
    out = carrying(idx)
    if method.why_not_merge:
        with pytest.raises(ValueError, match=method.why_not_merge):
            merge(carrying, whole=True)
        assert torch.equal(carrying(idx), out)
        merge(carrying)
        assert attached(carrying) == (method,)
    else:
        merge(carrying, whole=True)
        assert attached(carrying) == ()
        assert {n: type(m) for n, m in carrying.named_modules()} == {n: type(m) for n, m in make().named_modules()}
        assert not any(name.endswith("_before") for name, _ in carrying.named_buffers())
        assert all(p.requires_grad for p in carrying.parameters())
    near(carrying(idx), out)


@each
def test_detach(carrying, make, idx):
    """The base bit for bit, plain and free to train, whatever the method did meanwhile."""
    before = make()
    assert not torch.equal(carrying(idx), before(idx))
    assert base_state(carrying).keys() == before.state_dict().keys()
    detach(carrying)
    state = before.state_dict()
    assert carrying.state_dict().keys() == state.keys()
    assert all(torch.equal(t, state[name]) for name, t in carrying.state_dict().items())
    assert {n: type(m) for n, m in carrying.named_modules()} == {n: type(m) for n, m in before.named_modules()}
    assert attached(carrying) == () and all(p.requires_grad for p in carrying.parameters())
    assert not list(carrying.buffers())


@each
def test_save_and_load(method, carrying, make, idx, tmp_path):
    """A fresh base with the delta gives equal logits; the file is of the size of what was added, and holds no more."""
    size = delta.save(carrying, tmp_path)
    numbers = sum(t.numel() * t.element_size() for t in added(carrying).values())
    assert size == sum(file.stat().st_size for file in tmp_path.iterdir())
    assert numbers < size < numbers + 120 * len(added(carrying)) + 1500  # names and JSON
    base = make()
    again = delta.load(base, tmp_path)
    assert again is base and attached(again) == (method,)
    assert torch.equal(again(idx), carrying(idx))
    assert trainable(again).keys() == trainable(carrying).keys()
    assert str(counts(again)) == str(counts(carrying))
    detach(again)
    assert all(torch.equal(t, make().state_dict()[name]) for name, t in again.state_dict().items())


@each
def test_counts(carrying):
    """`trainable` is what an optimizer gets; `changed` and `rank` are what a merge in fp64 shows."""
    given = counts(carrying)
    assert given.trainable == sum(p.numel() for p in trainable(carrying).values()) > 0
    before = base_state(carrying)
    after = dict(merge(copy.deepcopy(carrying).double()).named_parameters())
    plain = {n.replace(".base.", "."): p for n, p in after.items() if ".branch." not in n}
    changes = {n: plain[n] - before[n].double() for n in before}
    beside = sum(p.numel() for p in after.values()) - sum(plain[n].numel() for n in before)
    assert given.changed == beside + sum((d != 0).sum().item() for d in changes.values())
    ranks = [torch.linalg.matrix_rank(d, rtol=1e-9).item() for d in changes.values() if d.ndim == 2 and d.any()]
    assert given.rank == max(ranks, default=None)


@each
def test_twice_refuses(name, method, carrying, idx):
    """The second attach says so, and leaves the model as it was."""
    out, names = carrying(idx), trainable(carrying).keys()
    with pytest.raises(ValueError, match=f"already carries {type(method).__name__}"):
        method.attach(carrying)
    assert torch.equal(carrying(idx), out) and trainable(carrying).keys() == names


# -- with the rest of torch -------------------------------------------------------------------------------------------


@each
def test_deepcopy(carrying, idx):
    """The copy is the same and apart: to change one doesn't change the other."""
    out, twin = carrying(idx), copy.deepcopy(carrying)
    assert attached(twin) == attached(carrying)
    assert torch.equal(twin(idx), out)
    detach(twin)
    assert torch.equal(carrying(idx), out)
    assert not torch.equal(twin(idx), out)


@each
def test_state_dict(method, carrying, make, idx):
    """All of it, into another base that carries the method."""
    other = method.attach(make(seed=5))
    assert not torch.allclose(other(idx), carrying(idx))
    other.load_state_dict(carrying.state_dict())
    assert torch.equal(other(idx), carrying(idx))


@each
def test_mixed_precision(method, carrying, idx):
    """A step in bf16 autocast: near the fp32 result, with fp32 gradients for all that trains."""
    exact = method.loss(carrying, idx, labels(idx))
    with torch.autocast("cpu", torch.bfloat16):
        loss = method.loss(carrying, idx, labels(idx))
    assert_close(loss, exact, rtol=0.05, atol=0.05)
    loss.backward()
    assert all(p.grad.dtype == torch.float32 and p.grad.isfinite().all() for p in trainable(carrying).values())


@each
def test_bf16_base(carrying, make, idx, tmp_path):
    """A delta trained on an fp32 base goes on the same base in bf16, all in bf16 then, but for integers."""
    delta.save(carrying, tmp_path)
    model = delta.load(make().bfloat16(), tmp_path)
    out = model(idx)
    assert {out.dtype} == {torch.bfloat16} == {t.dtype for t in model.state_dict().values() if t.is_floating_point()}
    assert (out.float() - carrying(idx)).square().mean().sqrt() < 0.05 * carrying(idx).std()
    loss_of(out, idx).backward()
    assert all(p.grad.isfinite().all() for p in trainable(model).values())
    assert {t.dtype for t in detach(model).state_dict().values()} == {torch.bfloat16}


@each
def test_recompute(method, carrying, idx):
    """Activation checkpointing changes the memory and not the gradients."""
    carrying.train()
    kept = gradients(carrying, method, idx)
    for trunk in (m for m in carrying.modules() if isinstance(m, Trunk)):
        trunk.recompute = True
    again = gradients(carrying, method, idx)
    for name, grad in kept.items():
        near(again[name], grad)


@each
@pytest.mark.slow
@pytest.mark.parametrize("style", ["llama"], indirect=True)  # a second and more each; a method is alike in both
def test_compile(name, method, make, idx, shake):
    """torch.compile traces it without a break, forwards and backwards."""
    torch._dynamo.reset()
    layers = 3 if name == "s4" else 1  # it needs one for each of its groups
    model = shake(method.attach(make(layers=layers)), std=0.2)
    expected = model(idx)
    grads = torch.autograd.grad(loss_of(expected, idx), list(trainable(model).values()))
    out = torch.compile(model, backend="aot_eager", fullgraph=True)(idx)
    near(out, expected)
    again = torch.autograd.grad(loss_of(out, idx), list(trainable(model).values()))
    for grad, expected in zip(again, grads, strict=True):
        near(grad, expected)


# -- two at once ------------------------------------------------------------------------------------------------------


@pairs
def test_two(pair, make, style, idx, shake, tmp_path):
    """In either order they stack, and then all the above holds; or the second refuses, and nothing has changed."""
    first, second = (method_of(name, style) for name in pair)
    model = shake(first.attach(make()), std=0.2)
    alone, names = model(idx), trainable(model).keys()
    try:
        second.attach(model)
    except ValueError as refusal:
        assert not STACK.issuperset(pair), refusal
        assert torch.equal(model(idx), alone) and trainable(model).keys() == names
        assert attached(model) == (first,)
        return
    assert attached(model) == (first, second)
    if second.exact_start:
        near(model(idx), alone)
    shake(model, std=0.2, seed=1)
    loss_of(model(idx), idx).backward()
    assert all(p.grad is not None for p in trainable(model).values())
    test_causal(model, idx)
    test_cache(model, idx)
    test_padding(model, idx)
    out = model(idx)
    delta.save(model, tmp_path)
    assert torch.equal(delta.load(make(), tmp_path)(idx), out)

    free = copy.deepcopy(model)
    state = make().state_dict()
    assert all(torch.equal(t, state[name]) for name, t in detach(free).state_dict().items())

    merge(model)
    near(model(idx), out)
    stay = tuple(m for m in (first, second) if m.why_not_merge)
    assert set(attached(model)) == ({m for m in (first, second) if m in stay or m.in_place} if stay else set())
    if stay:  # what is left is a delta on the base with the rest folded in
        delta.save(model, tmp_path)
        merged_base = detach(copy.deepcopy(model))
        near(delta.load(merged_base, tmp_path)(idx), out)
    else:
        assert all(type(m).__module__.startswith(("torch.nn.modules", "minipeft.gpt")) for m in model.modules())


@pytest.mark.parametrize("kind", [kind for kind in KINDS.values() if "layers" in {f.name for f in fields(kind)}])
def test_no_layers(kind):
    """An empty list of layers is refused by all: some would train the last norm alone."""
    with pytest.raises(ValueError, match="layers should name at least one"):
        kind(layers=[])


def test_nothing_to_train():
    """A method that finds nothing is an error, not a training without effect."""

    class Idle(Method):
        def insert(self, model: nn.Module) -> None:
            pass

    with pytest.raises((ValueError, TypeError)):
        Idle().attach(nn.Linear(2, 2))
