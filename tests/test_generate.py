"""Generation: cache and padding change nothing, also beside learned links and wrappers; draws follow the numbers."""

import pytest
import torch
from torch import nn

from minipeft.generate import generate, pick
from minipeft.gpt import Past
from minipeft.surgery import Wrapper

PROMPTS = [[3, 1, 4], [1, 5, 9, 2, 6, 5, 3, 5], [8]]


class Prefix(nn.Module):
    """The least that a prefix is: learned keys and values in front, the same for all texts."""

    def __init__(self, p, kv_heads, head_width):
        super().__init__()
        self.k, self.v = (nn.Parameter(2 * torch.randn(1, kv_heads, p, head_width)) for _ in "kv")

    def forward(self, x, k, v):
        b = len(x)
        return torch.cat([self.k.expand(b, -1, -1, -1), k], 2), torch.cat([self.v.expand(b, -1, -1, -1), v], 2)


class Soft(Wrapper):
    """The least that a soft prompt is: p vectors enter the trunk before the text; what becomes of them is dropped."""

    def __init__(self, base, p, width):
        super().__init__(base)
        self.prompt = nn.Parameter(2 * torch.randn(p, width))

    def forward(self, x, start=0, mask=None):
        b, p = len(x), len(self.prompt)
        if mask is not None:
            mask = torch.cat([mask.new_ones(b, p), mask], 1)
        if start:
            return self.base(x, start + p, mask)
        return self.base(torch.cat([self.prompt.expand(b, -1, -1), x], 1), 0, mask)[:, p:]


def plain(model):
    pass


def prefix(model):
    for block in model.trunk:
        block.attn.past.append(Prefix(4, model.c.kv_heads, model.c.head_width))


def soft(model):
    model.trunk = Soft(model.trunk, 3, model.c.width)


def both(model):
    prefix(model)
    soft(model)


@pytest.fixture(params=[plain, prefix, soft, both])
def dressed(request, model):
    torch.manual_seed(2)
    request.param(model)
    return model.double()  # so that nothing is decided by rounding


def test_cache_and_padding_change_nothing(dressed):
    text = generate(dressed, PROMPTS, 16)
    assert generate(dressed, PROMPTS, 16, cache=False) == text
    assert [generate(dressed, [prompt], 16)[0] for prompt in PROMPTS] == text
    with torch.no_grad():  # and greedy is greedy
        for prompt, new in zip(PROMPTS, text, strict=True):
            likeliest = dressed(torch.tensor([prompt + new]))[0].argmax(-1).tolist()
            assert likeliest[len(prompt) - 1 : -1] == new
    assert len({tuple(new) for new in text}) == 3 and any(len(set(new)) > 3 for new in text)


def test_draws_are_the_same_with_and_without_a_cache(dressed):
    def draw(cache):
        chance = torch.Generator().manual_seed(5)
        return generate(dressed, PROMPTS, 16, temperature=0.9, top_k=20, top_p=0.95, cache=cache, generator=chance)

    assert draw(True) == draw(True) == draw(False) != generate(dressed, PROMPTS, 16)


def test_learned_parts_matter_here(make):
    """Else the tests above would say little."""
    torch.manual_seed(2)
    models = [make() for _ in range(4)]
    for model, dress in zip(models, (plain, prefix, soft, both), strict=True):
        dress(model)
    assert len({str(generate(model, PROMPTS, 16)) for model in models}) == 4


def test_stop_tokens(model):
    text = generate(model, PROMPTS, 16)
    stop = text[0][5]
    expected = [row[: row.index(stop)] if stop in row else row for row in text]
    assert generate(model, PROMPTS, 16, stop=stop) == expected and len(expected[0]) <= 5
    two = {stop, text[1][2]}
    cut = [next((i for i, token in enumerate(row) if token in two), 16) for row in text]
    assert generate(model, PROMPTS, 16, stop=two) == [row[:n] for row, n in zip(text, cut, strict=True)]
    assert generate(model, [PROMPTS[0]], 16, stop=text[0][0]) == [[]]


def test_no_prompts_no_text(model):
    assert generate(model, []) == []


def test_prompts_may_be_tensors(model):
    x = torch.tensor([[3, 1, 4], [1, 5, 9]])
    assert generate(model, x, 8) == generate(model, x.tolist(), 8)


def test_the_context_can_be_filled_to_the_last_token(model):
    assert len(generate(model, [[1] * 20], 12)[0]) == 12


def test_the_model_is_left_as_it_was(model):
    model.train()
    model.trunk[1].eval()
    modes = [m.training for m in model.modules()]
    state = {name: p.clone() for name, p in model.state_dict().items()}
    generate(model, PROMPTS, 4)
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(p, state[name]) for name, p in model.state_dict().items())
    assert all(len(m) == 0 for m in model.modules() if isinstance(m, Past))


def test_the_cache_goes_even_if_something_breaks(model, monkeypatch):
    def broken(x):
        raise RuntimeError("broken on purpose")

    model.train()
    monkeypatch.setattr(model, "logits", broken)
    with pytest.raises(RuntimeError, match="on purpose"):
        generate(model, PROMPTS, 4)
    assert all(len(m) == 0 for m in model.modules() if isinstance(m, Past)) and model.trunk[0].training


def test_a_learned_prefix_stays_when_the_cache_goes(model):
    prefix(model)
    links = [block.attn.past[0] for block in model.trunk]
    generate(model, PROMPTS, 4)
    assert all(list(block.attn.past) == [link] for block, link in zip(model.trunk, links, strict=True))


def test_dropout_is_off(model):
    model.trunk[0].mlp.down = nn.Sequential(model.trunk[0].mlp.down, nn.Dropout(0.9))
    model.train()
    assert generate(model, PROMPTS, 8) == generate(model, PROMPTS, 8)


# -- drawing ----------------------------------------------------------------------------------------------------------

LOGITS = torch.tensor([0.0, 2.0, -1.0, 1.5, 0.5, -3.0])


def draws(n=20_000, **how):
    """How often each token is drawn."""
    how = dict(temperature=1.0, top_k=None, top_p=None) | how
    picked = pick(LOGITS.expand(n, -1), **how, generator=torch.Generator().manual_seed(0))
    return picked.bincount(minlength=6) / n


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0])
def test_frequencies_follow_the_temperature(temperature):
    expected = (LOGITS / temperature).softmax(0)
    assert torch.allclose(draws(temperature=temperature), expected, atol=0.015)  # 4 deviations of 20,000 draws


@pytest.mark.parametrize("k, kept", [(1, [1]), (2, [1, 3]), (4, [1, 3, 4, 0]), (6, range(6)), (99, range(6))])
def test_top_k_keeps_the_k_likeliest_in_proportion(k, kept):
    expected = torch.zeros(6)
    expected[list(kept)] = LOGITS[list(kept)].softmax(0)
    assert torch.allclose(draws(top_k=k), expected, atol=0.015) and (draws(top_k=k)[expected == 0] == 0).all()


@pytest.mark.parametrize("p, kept", [(1e-9, [1]), (0.45, [1]), (0.5, [1, 3]), (0.85, [1, 3, 4]), (1.0, range(6))])
def test_top_p_keeps_the_fewest_that_hold_p(p, kept):
    expected = torch.zeros(6)
    expected[list(kept)] = LOGITS[list(kept)].softmax(0)
    assert expected.count_nonzero() == 6 or LOGITS.softmax(0)[list(kept)].sum() >= p
    assert torch.allclose(draws(top_p=p), expected, atol=0.015) and (draws(top_p=p)[expected == 0] == 0).all()


def test_top_p_looks_at_what_top_k_left():
    """Of the two likeliest alone, the first holds 62 %: top_p 0.6 keeps it alone, though of all six it holds 49 %."""
    assert draws(top_k=2, top_p=0.6)[1] == 1


@pytest.mark.parametrize("how", [dict(temperature=0.0), dict(top_k=1), dict(top_p=1e-9), dict(temperature=1e-4)])
def test_ways_to_be_greedy(model, how):
    chance = torch.Generator().manual_seed(0)
    drawn = generate(model.double(), PROMPTS, 16, **dict(temperature=1.0) | how, generator=chance)
    assert drawn == generate(model, PROMPTS, 16)


# -- what is refused --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "prompts, how, says",
    [
        ("some text", {}, "prompts must be lists of token ids"),
        (["some", "texts"], {}, "prompts must be lists of token ids.*tokenizer.encode"),
        ([1, 2, 3], {}, "prompts must be lists of token ids"),
        ([[1.5]], {}, "prompts must be lists of token ids"),
        ([[1], []], {}, "prompt 1 is empty"),
        ([[1, 41]], {}, r"prompt 0: token id 41 is outside the vocabulary 0\.\.40"),
        ([[1], [-1]], {}, r"prompt 1: token id -1 is outside the vocabulary 0\.\.40"),
        ([[1], [1] * 5], {"max_new": 28}, "prompt 1 has 5 tokens.*max_new = 28 makes 33.*context is 32"),
        ([[1]], {"max_new": 0}, "max_new must be at least 1, not 0"),
        ([[1]], {"temperature": -0.5}, "temperature must be 0 .* not -0.5"),
        ([[1]], {"temperature": float("nan")}, "temperature must be 0 .* not nan"),
        ([[1]], {"top_k": 0}, "top_k must be at least 1, not 0"),
        ([[1]], {"top_p": 0}, "top_p must be above 0 and at most 1, not 0"),
        ([[1]], {"top_p": 1.1}, "top_p must be above 0 and at most 1, not 1.1"),
    ],
)
def test_impossible_wishes_are_refused(model, prompts, how, says):
    with pytest.raises(ValueError, match=says):
        generate(model, prompts, **dict(max_new=4) | how)
