"""The tools of surgery: find, wrap, re-express, thaw, and back again."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils import parametrize
from torch.testing import assert_close

from minipeft.additive.adapters import Adapters
from minipeft.method import FullFineTuning, Method
from minipeft.reparametrization.lora import LoRA, LowRank
from minipeft.selective.bitfit import BitFit
from minipeft.surgery import (
    Parallel,
    Serial,
    Wrapper,
    added,
    attached,
    attempt,
    base_state,
    detach,
    find,
    freeze,
    inner,
    inside,
    layer,
    merge,
    reparametrize,
    shape,
    thaw,
    thawed,
    trainable,
    walk,
    wrap,
)


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(t, b[name]) for name, t in a.items())


# -- names ------------------------------------------------------------------------------------------------------------


def test_names():
    assert (layer("trunk.3.attn.q"), layer("trunk"), layer("norm")) == (3, None, None)
    assert (inside("trunk.3.attn.q"), inside("trunk.3"), inside("norm")) == ("attn.q", "block", "norm")


def test_find(model):
    assert list(find(model, "attn.q")) == [f"trunk.{i}.attn.q" for i in range(3)]
    assert list(find(model, ["mlp.up", "attn.q"], layers=[2])) == ["trunk.2.attn.q", "trunk.2.mlp.up"]
    assert list(find(model, "trunk")) == ["trunk"] and list(find(model, "norm")) == ["norm"]
    assert list(find(model, "block", layers=(0,))) == ["trunk.0"]


def test_names_are_exact(model):
    """`q` isn't the end of `attn.q`: a suffix would find the parts of a side network too."""
    for name in ("q", "attn", "rm1"):
        if name != "attn":
            with pytest.raises(ValueError, match=f"no part called {name}; it has attn, attn.k"):
                find(model, [name])
    with pytest.raises(ValueError, match="no part called x, y"):
        find(model, ["y", "attn.q", "x"])
    for outside in ([3], [-1]):
        with pytest.raises(ValueError, match=f"layers 0 to 2, no layer {outside[0]}"):
            find(model, "attn.q", layers=outside)


def test_plain_names_survive_wrapping(make, shake):
    """Whatever is around a part, its name, its base and the base's state stay those of the plain model."""
    model, plain = make(), make()
    names = [name for name, _, _ in walk(plain)]
    for method in (LoRA(to=["attn.q", "mlp.down"]), Adapters(placement="pfeiffer", norms=True), BitFit(add=True)):
        method.attach(model)
        assert [name for name, _, _ in walk(model)] == names
        for name, path, part in walk(model):
            assert model.get_submodule(path) is part
            assert type(inner(part)) is type(plain.get_submodule(name))
    shake(model)
    assert same(base_state(model), plain.state_dict())
    assert list(find(model, "attn.q")) == [f"trunk.{i}.base.attn.q" for i in range(3)]
    assert all(isinstance(part, Parallel) for part in find(model, "attn.q").values())


def test_shape(model):
    linear = model.trunk[0].mlp.up
    expected = (model.c.hidden, model.c.width)
    low = [LowRank(model.c.width, model.c.hidden, 2) for _ in range(2)]
    assert shape(linear) == shape(Parallel(Parallel(linear, low[0]), low[1])) == expected
    with pytest.raises(ValueError, match="Identity branch that can't be folded"):  # what goes around it couldn't either
        shape(Parallel(Parallel(linear, nn.Identity()), low[0]))
    for part in (model.norm, model.trunk[0].attn, model.tokens):
        with pytest.raises(ValueError, match="around a Linear"):
            shape(part)


# -- wrappers ---------------------------------------------------------------------------------------------------------


def test_wrappers_by_formula():
    """Parallel adds what the branch makes of the input, Serial what it makes of the result."""
    torch.manual_seed(0)
    base, beside, after, x = nn.Linear(5, 3), nn.Linear(5, 3), nn.Linear(3, 3), torch.randn(2, 4, 5)
    assert_close(Parallel(base, beside)(x), base(x) + beside(x))
    assert_close(Parallel(base, beside, 0.7)(x), base(x) + 0.7 * beside(x))
    assert_close(Serial(base, after)(x), base(x) + after(base(x)))


def test_nested_merge():
    """Two low-rank branches around one Linear fold one after the other; a branch without a matrix stays."""
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(5, 3)), torch.randn(4, 5)
    branches = [LowRank(5, 3, 2), LowRank(5, 3, 1)]
    for branch, scale in zip(branches, (0.5, 2.0), strict=True):
        nn.init.normal_(branch.B)
        model[0] = Parallel(model[0], branch, scale)
    weight = inner(model[0]).weight.clone()
    out = model(x)
    merge(model)
    assert type(model[0]) is nn.Linear
    assert_close(model[0].weight, weight + 0.5 * branches[0].matrix() + 2 * branches[1].matrix())
    assert_close(model(x), out)
    model[0] = Parallel(Serial(model[0], nn.Tanh()), branches[0])
    out = model(x)
    merge(model)
    assert torch.equal(model(x), out)
    assert isinstance(model[0], Parallel) and isinstance(model[0].base, Serial)


def test_a_wrapped_block_runs(make, idx):
    """A wrapper passes on all that a part is called with: positions, mask, and the recomputation's checkpoints."""
    model = make()
    wrap(model, ["block", "attn", "mlp"], lambda part: Serial(part, nn.Linear(model.c.width, model.c.width)))
    for p in [p for m in model.modules() if isinstance(m, Serial) for p in m.branch.parameters()]:
        nn.init.zeros_(p)
    mask = torch.ones_like(idx).bool()
    mask[0, :2] = False
    assert torch.equal(model(idx, mask=mask), make()(idx, mask=mask))


def test_wrap_follows_dtype(make):
    """New parts are of the type of what they are around."""
    model = LoRA().attach(make().bfloat16())
    assert {t.dtype for t in model.state_dict().values()} == {torch.bfloat16}


# -- re-expressed weights ---------------------------------------------------------------------------------------------


class Plus(nn.Module):
    """W -> W + d."""

    def __init__(self, like: torch.Tensor):
        super().__init__()
        self.d = nn.Parameter(torch.zeros_like(like))

    def forward(self, w: torch.Tensor) -> torch.Tensor:
        return w + self.d


class Shift(Method):
    """Every parameter of the base re-expressed: what DiffPruning and SAID do, in one line."""

    def insert(self, model: nn.Module) -> None:
        reparametrize(model, lambda name, p: Plus(p) if not name.startswith("norm") else None)


def test_reparametrize(make, idx, shake):
    model, plain = Shift().attach(make()), make()
    assert torch.equal(model(idx), plain(idx))
    names = {name for name in plain.state_dict() if not name.startswith("norm")}
    assert len(trainable(model)) == len(names)
    assert same(base_state(model), plain.state_dict())
    shake(model, std=0.1)
    assert same(base_state(model), plain.state_dict())
    assert added(model).keys() == trainable(model).keys()
    out, deltas = model(idx), {n: p.detach().clone() for n, p in trainable(model).items()}
    merge(model)
    assert not any(parametrize.is_parametrized(m) for m in model.modules())
    assert_close(model(idx), out)
    for name, p in model.named_parameters():
        delta = deltas.get(f"{name.rsplit('.', 1)[0]}.parametrizations.{name.rsplit('.', 1)[1]}.0.d", 0)
        assert_close(p, plain.state_dict()[name] + delta)


def test_reparametrize_and_back(make, shake):
    model = shake(Shift().attach(make()))
    assert same(detach(model).state_dict(), make().state_dict())
    assert not any(parametrize.is_parametrized(m) for m in model.modules())


def test_reparametrize_inside_wrappers(make, idx, shake):
    """A weight that is re-expressed inside a LoRA: both fold, in either order of attaching."""
    for first, second in ((LoRA(), Shift()), (Shift(), LoRA())):
        model = shake(second.attach(shake(first.attach(make()), std=0.1)), std=0.1)
        assert same(base_state(model), make().state_dict())
        out = model(idx)
        assert_close(merge(model)(idx), out, rtol=0, atol=1e-5 * out.abs().max().item())
        assert not any(isinstance(m, Wrapper) or parametrize.is_parametrized(m) for m in model.modules())


@pytest.mark.parametrize("first", [Adapters(), BitFit(add=True), FullFineTuning()], ids=lambda m: type(m).__name__)
def test_in_place_or_re_expressed(make, idx, shake, first):
    """A number is one or the other: the second who wants it is refused with a sentence."""

    class All(Shift):
        def insert(self, model: nn.Module) -> None:
            reparametrize(model, lambda name, p: Plus(p))

    model = shake(first.attach(make()), std=0.1)
    out = model(idx)
    with pytest.raises(ValueError, match="trains .* in place"):
        All().attach(model)
    assert torch.equal(model(idx), out) and attached(model) == (first,)
    model = All().attach(make())
    with pytest.raises(ValueError, match="re-expresses the weight of an? Embedding"):
        thaw(model.tokens, "weight")


# -- thawed numbers ---------------------------------------------------------------------------------------------------


def test_thaw():
    part = nn.Linear(4, 3)
    freeze(part)
    weight = part.weight.clone()
    thaw(part, "weight")
    assert (part.weight.requires_grad, part.bias.requires_grad) == (True, False)
    with torch.no_grad():
        part.weight += 1
    assert torch.equal(thawed(part)["weight"], weight)
    thaw(part, "weight")  # a second method: what it was before the first still counts
    assert torch.equal(thawed(part)["weight"], weight)
    assert part.state_dict().keys() == {"weight", "bias"}


def test_thaw_what_is_not_there():
    part = nn.Linear(4, 3, bias=False)
    thaw(part, "bias", torch.ones(3))
    assert thawed(part) == {"bias": None}
    assert part.bias.requires_grad and part.state_dict().keys() == {"weight", "bias"}


def test_two_methods_thaw_one_number(make, shake):
    """Adapters train the norms, BitFit their biases too: the base is what it was before either."""
    model = shake(BitFit(add=True).attach(shake(Adapters().attach(make()))))
    assert same(base_state(model), make().state_dict())
    assert same(detach(model).state_dict(), make().state_dict())


# -- all or nothing ---------------------------------------------------------------------------------------------------


class Half(Method):
    """Changes the model in every way there is, then fails."""

    def insert(self, model: nn.Module) -> None:
        wrap(model, ["attn.q", "mlp"], lambda part: Serial(part, nn.Identity()))
        thaw(model.norm, "weight")
        (v,) = find(model, "attn.v", layers=[2]).values()
        thaw(inner(v), "bias", torch.zeros(shape(v)[0]))
        reparametrize(model, lambda name, p: Plus(p) if name.startswith("tokens") else None)
        inner(model.trunk[0].mlp).gate = nn.Linear(2, 2)
        raise RuntimeError("half way")


@pytest.mark.parametrize("first", [None, LoRA(), Adapters(), BitFit(add=True)], ids=lambda m: type(m).__name__)
def test_a_failed_attach_leaves_no_trace(make, idx, shake, first):
    model = shake(first.attach(make())) if first else make()
    model.tokens.requires_grad_(False)
    state = {name: t.clone() for name, t in model.state_dict().items()}
    modules, flags = [type(m) for m in model.modules()], [p.requires_grad for p in model.parameters()]
    parameters, out = list(map(id, model.parameters())), model(idx)
    with pytest.raises(RuntimeError, match="half way"):
        Half().attach(model)
    assert [type(m) for m in model.modules()] == modules and list(map(id, model.parameters())) == parameters
    assert [p.requires_grad for p in model.parameters()] == flags
    assert same(model.state_dict(), state)
    assert attached(model) == ((first,) if first else ())
    assert torch.equal(model(idx), out)


def test_attempt_keeps_what_succeeds(model):
    with attempt(model):
        wrap(model, "mlp", lambda part: Serial(part, nn.Identity()))
    assert isinstance(model.trunk[1].mlp, Serial)


def test_nothing_new_to_train(make):
    """A method that adds nothing to train is an error, also beside one that does."""

    class Idle(Method):
        def insert(self, model: nn.Module) -> None:
            pass

    model = make()
    with pytest.raises(ValueError, match="nothing to train"):
        Idle().attach(model)
    LoRA().attach(model)
    with pytest.raises(ValueError, match="nothing to train"):
        Idle().attach(model)
    assert attached(model) == (LoRA(),)


def test_merge_refuses_to_drop_what_a_method_forgot_to_say(make, idx):
    """A method of one's own with a prefix, whose author hasn't thought of merging."""

    class Link(nn.Module):
        def __init__(self, heads, width):
            super().__init__()
            self.k = nn.Parameter(torch.randn(heads, 2, width))

        def forward(self, x, k, v):
            front = self.k.expand(len(k), -1, -1, -1)
            return torch.cat([front, k], 2), torch.cat([front, v], 2)

    class Careless(Method):
        def insert(self, model):
            for block in model.trunk:
                block.attn.past.append(Link(model.c.kv_heads, model.c.head_width))

    model = Careless().attach(make())
    before = model(idx)
    with pytest.raises(ValueError, match="Careless: .* say so in `why_not_merge`"):
        merge(model)
    assert torch.equal(model(idx), before)
    Careless.why_not_merge = "a prefix"
    assert torch.equal(merge(model)(idx), before)


def test_merge_in_part(make, idx, shake):
    """What folds goes, what stays stays and says why it can't; what trains in place stays with it."""
    model = make()
    for method in (LoRA(), Adapters(), BitFit(add=True)):
        method.attach(model)
    out = shake(model)(idx)
    with pytest.raises(ValueError, match="Adapters cannot be merged: a nonlinearity"):
        merge(model, whole=True)
    assert torch.equal(model(idx), out)
    merge(model)
    assert [type(m).__name__ for m in attached(model)] == ["Adapters", "BitFit"]
    assert not any(isinstance(m, LowRank) for m in model.modules())
    assert_close(model(idx), out, rtol=0, atol=1e-5 * out.abs().max().item())


def test_plain_again(make, idx):
    """After a merge or a detach the model is as good as new: another method attaches, everything may train."""
    for end in (merge, detach):
        model = end(FullFineTuning().attach(make()))
        assert all(p.requires_grad for p in model.parameters()) and attached(model) == ()
        assert not list(model.buffers())
        LoRA().attach(model)
        F.cross_entropy(model(idx)[:, :-1].flatten(0, 1), idx[:, 1:].flatten()).backward()
        assert {n for n, p in model.named_parameters() if p.grad is not None} == trainable(model).keys()
