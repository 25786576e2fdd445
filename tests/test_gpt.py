"""Laws of the model alone: who sees whom, what padding and a cache may not change, and what it refuses."""

import math

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minipeft import IA3, LoRA, gpt
from minipeft.generate import cached
from minipeft.gpt import GPT, MANY, Config, attend, frequencies, rotate, turns
from minipeft.measure import kept_bytes
from minipeft.surgery import trainable

texts = st.lists(st.integers(0, 40), min_size=1, max_size=12)
law = settings(
    deadline=None, max_examples=20, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture
def exact(model):
    """In double precision a law holds to 1e-12 or not at all."""
    return model.double()


def logits(model, ids, **more):
    with torch.no_grad():
        return model(torch.tensor([ids]), **more)[0]


def far(a, b):
    return (a - b).abs().max().item()


@law
@given(texts, texts, texts)
def test_no_token_sees_the_future(exact, past, future, other):
    t = len(past)
    assert far(logits(exact, past + future)[:t], logits(exact, past + other)[:t]) < 1e-12


@law
@given(texts)
def test_every_token_sees_all_of_the_past(exact, past):
    other = [(past[0] + 1) % 41, *past[1:]]
    assert far(logits(exact, past)[-1], logits(exact, other)[-1]) > 1e-6


@law
@given(texts, st.lists(st.integers(0, 40), max_size=6), st.integers(0, 5))
def test_padding_on_either_side_moves_nothing(exact, text, left, right):
    mask = torch.tensor([[False] * len(left) + [True] * len(text) + [False] * right])
    padded = logits(exact, left + text + [7] * right, mask=mask)
    assert far(padded[len(left) : len(left) + len(text)], logits(exact, text)) < 1e-12
    assert padded.isfinite().all()


@law
@given(texts, st.lists(st.integers(1, 5), min_size=1, max_size=12))
def test_a_cache_changes_nothing_however_the_text_is_cut(exact, text, cuts):
    parts, start = [], 0
    with cached(exact):
        for n in [*cuts, len(text)]:
            if chunk := text[start : start + n]:
                parts.append(logits(exact, chunk, start=start))
                start += n
    assert far(torch.cat(parts), logits(exact, text)) < 1e-12


@law
@given(texts, texts)
def test_rows_of_a_batch_do_not_meet(exact, one, two):
    t = min(len(one), len(two))
    with torch.no_grad():
        both = exact(torch.tensor([one[:t], two[:t]]))
    assert far(both[0], logits(exact, one[:t])) < 1e-12 and far(both[1], logits(exact, two[:t])) < 1e-12


@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize(
    "b, h, kv, t, s, e", [(2, 3, 3, 4, 4, 5), (2, 6, 2, 3, 7, 4), (1, 4, 1, 1, 5, 2), (3, 4, 2, 5, 5, 3)]
)
def test_attend_is_the_sum_it_stands_for(b, h, kv, t, s, e, padded):
    g = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(b, n, m, e, generator=g).double() for n, m in ((h, t), (kv, s), (kv, s)))
    real = s - 1 if s > t else s  # with a learned key in front, the mask speaks of the others only
    mask = torch.arange(real) >= torch.arange(b)[:, None] if padded else None
    out = attend(q, k, v, mask)
    for i in range(b):
        for j in range(h):
            for at in range(t):
                own = s - t + at
                seen = [
                    n for n in range(own + 1) if mask is None or n < s - real or mask[i, n - (s - real)] or n == own
                ]
                of = j // (h // kv)
                weight = torch.stack([q[i, j, at] @ k[i, of, n] / math.sqrt(e) for n in seen]).softmax(0)
                assert far(out[i, j, at], sum(w * v[i, of, n] for w, n in zip(weight, seen, strict=True))) < 1e-12


def test_rotated_products_depend_on_distance_alone():
    c = Config(style="llama", heads=2, width=16, rope_base=50.0)
    q, k = torch.randn(2, 8, generator=torch.Generator().manual_seed(0)).double()
    cos, sin = turns(c, torch.arange(30), torch.float64)
    product = rotate(q, cos, sin)[:, 0] @ rotate(k, cos, sin)[:, 0].T  # (t, t): by the positions of q and k
    assert far(product[3:, 3:], product[:-3, :-3]) < 1e-5 and far(product[0], product[5]) > 0.1
    assert far(product[0, 0], q @ k) < 1e-12


def test_rope_scaling_slows_what_turns_seldom():
    scaling = dict(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=64)
    sizes = dict(style="llama", heads=1, width=32)
    plain, scaled = (frequencies(Config(**sizes, rope_scaling=s), torch.device("cpu")) for s in (None, scaling))
    turned = 64 * plain / (2 * math.pi)  # turns in the original context
    assert torch.equal(scaled[turned > 4], plain[turned > 4]) and (turned > 4).any()
    assert torch.allclose(scaled[turned < 1], plain[turned < 1] / 8) and (turned < 1).any()
    between = (turned >= 1) & (turned <= 4)
    assert between.any() and (scaled[between] <= plain[between]).all() and (scaled[between] >= plain[between] / 8).all()


def test_recompute_gives_the_same_gradients(make, idx):
    kept, again = make(), make()
    again.trunk.recompute = True
    for model in (kept, again):
        model(idx).square().mean().backward()
    for p, q in zip(kept.parameters(), again.parameters(), strict=True):
        assert torch.allclose(p.grad, q.grad, atol=1e-6)


def test_tied_and_untied_heads():
    tied, untied = GPT(Config(tied=True)), GPT(Config(tied=False))
    assert tied.head is None and untied.head.weight.shape == untied.tokens.weight.shape
    assert "head.weight" not in tied.state_dict()
    tied(torch.tensor([[1, 2]])).sum().backward()
    assert tied.tokens.weight.grad[7].abs().max() > 0  # token 7 isn't read, only predicted


@pytest.mark.parametrize(
    "sizes, says",
    [
        (dict(style="bert"), "style is 'gpt2' or 'llama', not 'bert'"),
        (dict(width=65), r"width \(65\) must be a multiple of heads \(4\)"),
        (dict(heads=0), "heads must be at least 1, not 0"),
        (dict(layers=-1), "layers must be at least 1, not -1"),
        (dict(kv_heads=3), r"heads \(4\) must be a multiple of kv_heads \(3\)"),
        (dict(style="llama", head_width=5), "head_width must be even, not 5"),
        (dict(style="llama", rope_scaling={"factor": 8.0}), "rope_scaling must hold the numbers .*low_freq_factor"),
        (
            dict(
                style="llama",
                rope_scaling=dict(factor=2, low_freq_factor=4, high_freq_factor=4, original_max_position_embeddings=9),
            ),
            "low_freq_factor must be below high_freq_factor",
        ),
    ],
)
def test_impossible_sizes_are_refused(sizes, says):
    with pytest.raises(ValueError, match=says):
        Config(**sizes)


def test_a_width_that_heads_do_not_divide_needs_a_head_width():
    assert GPT(Config(width=65, head_width=16))(torch.tensor([[1]])).shape == (1, 1, 256)


@pytest.mark.parametrize(
    "ids, more, says",
    [
        (torch.zeros(1, 33, dtype=torch.long), {}, "33 tokens are too many: this model's context is 32"),
        (torch.zeros(1, 3, dtype=torch.long), {"start": 30}, "33 tokens are too many"),
        (torch.tensor([[1, 41]]), {}, r"token id 41 is outside the vocabulary 0\.\.40"),
        (torch.tensor([[1, -1]]), {}, r"token id -1 is outside the vocabulary 0\.\.40"),
        (
            torch.tensor([[1, 2]]),
            {"mask": torch.ones(1, 3)},
            r"mask must be \(b, start \+ t\) = \(1, 2\), not \(1, 3\)",
        ),
    ],
)
def test_impossible_input_is_refused(model, ids, more, says):
    with pytest.raises(ValueError, match=says):
        model(ids, **more)


@pytest.mark.parametrize("method", [None, IA3(), LoRA(to=["mlp.down"], dropout=0.5)], ids=str)
def test_many_numbers_of_a_hidden_layer_are_computed_again(method):
    """Two tensors are kept where autograd keeps three, or four for a method that reads what goes into `down`.

    The gradients are those of a step that keeps all, to the bit, dropout included; so is a pass without them."""
    few, many = MANY // 256 - 1, MANY // 256
    torch.manual_seed(0)
    model = GPT(Config(style="llama", layers=1, width=8, heads=1, hidden=256)).requires_grad_(False)
    if method:
        method.attach(model)
        for p in trainable(model).values():
            torch.nn.init.normal_(p)
    mlp = model.trunk[0].mlp
    x = torch.randn(1, many, 8, requires_grad=True)
    mine = trainable(mlp)

    def step():
        torch.manual_seed(1)  # dropout's
        y = mlp(x)
        return y, *torch.autograd.grad(y.square().sum(), [x, *mine.values()])

    again = step()
    small = 4 * many * 8 * bool(mine)  # what comes before the hidden layers, or after
    assert kept_bytes(lambda: mlp(x), mlp) <= 2 * 4 * many * 256 + small
    assert kept_bytes(lambda: mlp(x[:, :few]), mlp) >= (3 + bool(method)) * 4 * few * 256
    with torch.no_grad():
        torch.manual_seed(1)
        assert torch.equal(mlp(x), again[0])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gpt, "MANY", math.inf)
        for a, b in zip(step(), again, strict=True):
            assert torch.equal(a, b)


def test_a_part_of_the_stack_is_a_list_of_blocks(model):
    first, *others = model.trunk
    assert model.trunk[:1] == [first]
    assert model.trunk[1:] == others
    assert model.trunk[-1] is others[-1]
