"""FISH Mask: the Fisher information against one gradient per example, the mask, and what may move."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.testing import assert_close

from minipeft import delta
from minipeft.measure import counts
from minipeft.method import IGNORE, Method
from minipeft.selective.fishmask import FishMask, fisher
from minipeft.sparse import budget
from minipeft.surgery import detach, merge, trainable


@pytest.fixture
def batches(idx):
    """Two batches of texts of which 1, 4, 6 and 10 tokens are answers."""
    y = idx.roll(-1, 1)
    answers = torch.arange(11) >= torch.tensor([[10], [7], [5], [1]])
    ys = torch.cat([y, y.flip(0)]).masked_fill(~answers, IGNORE)
    return [(idx, ys[:2]), (idx.flip(0), ys[2:])]


def per_example(model, batches) -> dict[str, torch.Tensor]:
    """The same by torch.func: one gradient of log p(answer) for each example."""
    params = {n: p.detach() for n, p in model.named_parameters()}

    def log_p(params, x, y):
        logits = torch.func.functional_call(model, params, x[None])[0]
        return -F.cross_entropy(logits, y, ignore_index=IGNORE, reduction="sum")

    grads = [torch.func.grad(log_p)(params, x, y) for xs, ys in batches for x, y in zip(xs, ys, strict=True)]
    return {n: torch.stack([g[n] for g in grads]).square().mean(0) for n in params}


def test_fisher(make, batches):
    """Squares of each example's gradient of log p, summed over its tokens, not of a batch's and not of a mean's."""
    expected = per_example(make(), batches)
    given = fisher(FishMask(), make(), batches, 99)
    assert given.keys() == expected.keys()
    for name, f in given.items():  # the keys' biases of a GPT-2 have none: nothing but rounding, 1e-13
        assert_close(f, expected[name], rtol=1e-4, atol=1e-10)
        assert f.max() > 1e-6 or name.endswith("attn.k.bias")


def test_fisher_by_hand():
    """Logistic regression at w = 0: the squares' mean orders the two weights otherwise than the mean's square."""

    class Logistic(Method):
        def loss(self, model, x, y):
            return F.binary_cross_entropy_with_logits(model.w(x.float())[..., 0], y.float())

    model = nn.Module()
    model.w = nn.Linear(2, 1, bias=False)
    nn.init.zeros_(model.w.weight)
    x, y = torch.tensor([[1, 2], [3, -1]]), torch.tensor([1, 0])
    assert fisher(Logistic(), model, [(x, y)], 2)["w.weight"].tolist() == [[1.25, 0.625]]


def test_fisher_is_a_mean(make, batches):
    """Each example twice changes nothing; other labels do; no more examples are read than asked for."""
    method = FishMask()
    once, twice = (fisher(method, make(), b, 99) for b in (batches, batches * 2))
    first = fisher(method, make(), batches, 2)
    only = fisher(method, make(), batches[:1], 99)
    other = fisher(method, make(), [(x, torch.where(y == IGNORE, y, (y + 1) % 41)) for x, y in batches], 99)
    for name, f in once.items():
        assert_close(twice[name], f)
        assert_close(first[name], only[name])
        assert not torch.allclose(other[name], f, rtol=0.01, atol=0)


def test_fisher_leaves_the_model_as_it_is(make, batches):
    model = make()
    model.tokens.requires_grad_(False)
    flags = {n: p.requires_grad for n, p in model.named_parameters()}
    fisher(FishMask(), model, batches, 3)
    assert {n: p.requires_grad for n, p in model.named_parameters()} == flags
    assert all(p.grad is None for p in model.parameters())
    assert all(torch.equal(p, make().state_dict()[n]) for n, p in model.named_parameters())


def mask_of(method, make, batches) -> dict[str, torch.Tensor]:
    """{plain name: bool of its shape}, from what the recipe lets train: put 1 into all of it and see what changes."""
    model = make()
    next(method.stages(model, batches))
    for p in trainable(model).values():
        p.data.fill_(1.0)
    return {n: p != make().state_dict()[n] for n, p in merge(model).named_parameters()}


def test_mask_is_the_largest_of_all(make, batches):
    """Exactly floor(rho P), over all tensors together: none left out is above one chosen."""
    method = FishMask(density=0.05)
    mask, f = mask_of(method, make, batches), fisher(method, make(), batches, 99)
    total = sum(p.numel() for p in make().parameters())
    assert sum(m.sum().item() for m in mask.values()) == int(0.05 * total) == budget(make(), 0.05)
    chosen = torch.cat([f[n][m] for n, m in mask.items()])
    others = torch.cat([f[n][~m] for n, m in mask.items()])
    assert chosen.min() >= others.max()
    shares = {m.float().mean().item() for m in mask.values()}
    assert min(shares) == 0 and max(shares) > 0.3  # not the same share of each


@pytest.mark.parametrize("style", ["llama"], indirect=True)
def test_unseen_words_are_never_chosen(make, batches):
    """With a head of its own, the embedding of a word that isn't read has no information."""
    mask, seen = mask_of(FishMask(density=0.6), make, batches), batches[0][0].unique()
    unseen = [i for i in range(41) if i not in seen]
    assert mask["tokens.weight"][seen].any() and not mask["tokens.weight"][unseen].any()


@pytest.mark.parametrize("kind", ["sgd", "adam"])
def test_equals_a_mask_on_the_gradient(make, batches, kind):
    """The paper's way, on a plain model: the gradient of everything, times the mask, before each step."""
    method = FishMask(density=0.05)
    ours, dense, mask = make(), make(), mask_of(method, make, batches)
    next(method.stages(ours, batches))
    optimizers = [
        torch.optim.Adam(ps, 1e-2) if kind == "adam" else torch.optim.SGD(ps, 1e-3, momentum=0.9)
        for ps in (trainable(ours).values(), dense.parameters())
    ]
    for step in range(6):
        for model, optimizer in zip((ours, dense), optimizers, strict=True):
            optimizer.zero_grad()
            method.loss(model, *batches[step % 2]).backward()
        for n, p in dense.named_parameters():
            p.grad *= mask[n]
        for optimizer in optimizers:
            optimizer.step()
    for n, p in merge(copy.deepcopy(ours)).named_parameters():
        assert_close(p, dense.state_dict()[n], rtol=0, atol=1e-5)
    moved = [(p - make().state_dict()[n]).abs().max() for n, p in dense.named_parameters() if mask[n].any()]
    assert min(moved) > 1e-4


def test_nothing_else_moves(make, batches):
    """Weight decay and momentum over all parameters: outside the mask every bit stays, and k numbers' state is kept."""
    method = FishMask(density=0.05)
    model, mask = make(), mask_of(method, make, batches)
    next(method.stages(model, batches))
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2, weight_decay=0.5)
    for step in range(5):
        optimizer.zero_grad()
        method.loss(model, *batches[step % 2]).backward()
        optimizer.step()
    k = budget(model, 0.05)
    assert counts(model).trainable == counts(model).changed == k
    assert sum(t.numel() for s in optimizer.state.values() for t in s.values() if t.ndim) == 2 * k  # Adam's two
    for n, p in merge(model).named_parameters():
        before = make().state_dict()[n]
        assert torch.equal(p[~mask[n]], before[~mask[n]]), n
        assert not torch.equal(p[mask[n]], before[mask[n]]) or not mask[n].any(), n


def test_delta_of_a_recipe(make, batches, idx, shake, tmp_path):
    """What the data chose is in the file: 8 bytes a number, its place and its value."""
    method, model = FishMask(density=0.05), make()
    next(method.stages(model, batches))
    shake(model)
    size = delta.save(model, tmp_path)
    assert 8 * budget(model, 0.05) < size < 8 * budget(model, 0.05) + 240 * len(trainable(model)) + 1500
    again = delta.load(make(), tmp_path)
    assert torch.equal(again(idx), model(idx))
    state = detach(again).state_dict()
    assert all(torch.equal(t, make().state_dict()[n]) for n, t in state.items())


def test_random_mask(make, shake):
    """Without data: as many numbers, spread over all, the same ones each time."""
    method = FishMask(density=0.05)
    one, two = (method.attach(make(seed)) for seed in (0, 1))
    assert counts(one).trainable == budget(make(), 0.05)
    assert {n: t.tolist() for n, t in one.named_buffers()} == {n: t.tolist() for n, t in two.named_buffers()}
    shares = [
        len(p) / make().get_parameter(n.replace(".parametrizations", "").removesuffix(".0.values")).numel()
        for n, p in trainable(one).items()
        if len(p) > 10
    ]
    assert len(shares) > 10 and max(abs(s - 0.05) for s in shares) < 0.04


def test_count():
    """The size the paper's share leaves of GPT-2 small: 0.5% of 124,439,808."""
    model = nn.Module()
    model.part = nn.Module()
    model.part.weight = nn.Parameter(torch.empty(124_439_808, device="meta"))
    assert budget(model, FishMask().density) == 622_199


@pytest.mark.parametrize("settings", [{"density": 0.0}, {"density": 1.5}, {"examples": 0}, {"examples": 2.5}])
def test_refuses(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        FishMask(**settings)


def test_refuses_to_choose_none(make, batches):
    for use in (lambda model, method: method.attach(model), lambda model, method: next(method.stages(model, batches))):
        model = make()
        with pytest.raises(ValueError, match="leaves none of .* numbers: it must be higher"):
            use(model, FishMask(density=1e-7))
        assert all(p.requires_grad for p in model.parameters())
