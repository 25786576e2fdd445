"""Prompt Tuning: against peft, and against the text it can stand for."""

from types import SimpleNamespace

import peft
import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from minipeft.additive.prompt_tuning import Prompted, PromptTuning
from minipeft.generate import cached
from minipeft.gpt import GPT, Config
from minipeft.measure import counts
from minipeft.surgery import attached, find, trainable

TEXT = "3 1 4 1 5"
WORDS = SimpleNamespace(encode=lambda text: [int(word) for word in text.split()], end=0, start=[0])


def loss_of(logits, idx):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), idx[:, 1:].flatten())


def vectors(model) -> torch.nn.Parameter:
    (p,) = trainable(model).values()
    return p


def speaking(model):
    model.tokenizer = WORDS
    return model


def tokens_in(model) -> torch.Tensor:
    """The prompt without GPT-2's positions: (n, d)."""
    P = vectors(model).detach()
    return P if model.c.style == "llama" else P - model.positions.base.weight[: len(P)]


def test_equals_peft(style, make, idx, tmp_path):
    """Outputs and gradients of their prompt on transformers; theirs gets GPT-2's positions added, ours holds them."""
    from transformers import AutoModelForCausalLM

    plain = make(heads=4, kv_heads=4) if style == "gpt2" else make()
    plain.save_pretrained(tmp_path)
    config = peft.PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=5, num_layers=3, token_dim=plain.c.width)
    base = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32)
    theirs = peft.get_peft_model(base, config).eval()
    P = theirs.prompt_encoder["default"].embedding.weight
    ours = PromptTuning(length=5).attach(plain)
    vectors(ours).data.copy_(P if style == "llama" else P + plain.positions.base.weight[:5])
    out, expected = ours(idx), theirs(input_ids=idx).logits
    assert out.shape == (2, 11, 41) and expected.shape == (2, 16, 41)
    assert_close(out, expected[:, 5:], rtol=0, atol=1e-5)
    loss_of(out, idx).backward()
    loss_of(expected[:, 5:], idx).backward()
    assert vectors(ours).grad.abs().amax(1).min() > 1e-4  # every vector takes part
    assert_close(vectors(ours).grad, P.grad, rtol=0, atol=1e-5)


# -- what a prompt is --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("padded", [False, True])
def test_text_is_that_text(make, idx, padded):
    """Started from a text, the prompt is that text; with padding on the left as well, which comes after it."""
    model, ids = speaking(make()), torch.tensor(WORDS.encode(TEXT))
    PromptTuning(length=5, text=TEXT).attach(model)
    behind = make()(torch.cat([ids.expand(2, -1), idx], 1))[:, 5:]
    if padded:
        mask = torch.ones(2, 14, dtype=torch.bool)
        mask[:, :3] = False
        out = model(F.pad(idx, (3, 0), value=7), mask=mask)[:, 3:]
    else:
        out = model(idx)
    assert_close(out, behind, rtol=0, atol=1e-5)
    assert (behind - make()(idx)).abs().max() > 0.1


def test_written_out(make, idx, shake):
    """The same vectors by hand: in front of what is embedded, through the blocks, and off again."""
    model = shake(PromptTuning(length=5).attach(make()))
    plain = make()
    text = plain.tokens(idx)
    if plain.positions is not None:
        text = text + plain.positions.weight[5:16]
    whole = torch.cat([torch.stack([vectors(model)] * 2), text], 1)
    expected = plain.logits(plain.norm(plain.trunk(whole)))[:, 5:]
    assert_close(model(idx), expected, rtol=0, atol=1e-5)


def test_one_prompt_for_the_batch(make, idx, shake):
    """All rows share it: its gradient is the sum of what each row alone gives."""
    model = shake(PromptTuning(length=5).attach(make()))
    model(idx).square().sum().backward()
    both = vectors(model).grad.clone()
    apart = torch.zeros_like(both)
    for row in idx:
        vectors(model).grad = None
        model(row[None]).square().sum().backward()
        apart += vectors(model).grad
    assert_close(both, apart, rtol=1e-4, atol=1e-5 * both.abs().max().item())


def test_cache_holds_the_prompt_once(make, idx, shake):
    """Its keys and values are kept with those of the first tokens, and not made again for later ones."""
    model = shake(PromptTuning(length=5).attach(make()))
    with cached(model), torch.no_grad():
        for start, end in ((0, 4), (4, 5), (5, 11)):
            model(idx[:, start:end], start=start)
            kept = {attn.past[-1].kept[0].shape[2] for attn in find(model, "attn").values()}
            assert kept == {5 + end}


def test_blocks_keep_their_names(make):
    model = PromptTuning(length=5).attach(make())
    assert isinstance(model.trunk, Prompted)
    assert list(find(model, "attn.q", [1])) == ["trunk.base.1.attn.q"]


# -- the start ---------------------------------------------------------------------------------------------------------


def test_start_from_vocabulary(make):
    """Rows of the embedding, each at most once while there are enough; more than that, and some come twice."""
    for n in (9, 20):
        model = make(vocab=16)
        rows = tokens_in(PromptTuning(length=n).attach(model))
        near = (rows[:, None] - model.tokens.weight).abs().amax(-1)
        assert near.amin(1).max() < 1e-6
        assert near.argmin(1).unique().numel() == n if n < 16 else near.argmin(1).unique().numel() < n


def test_start_from_frequent_words_alone():
    """The first 5,000 ids of a large vocabulary."""
    model = GPT(Config("llama", vocab=50_000, context=64, layers=1, heads=1, width=2))
    model.tokens.weight.data = torch.arange(50_000.0)[:, None].expand(-1, 2).clone()
    rows = tokens_in(PromptTuning(length=60).attach(model))
    assert rows.max() < 5000 and rows.max() > 3000


def test_start_at_random(make):
    model = make(context=600)
    rows = tokens_in(PromptTuning(length=500, start="random").attach(model))
    assert -0.5 <= rows.min() < -0.48 and 0.48 < rows.max() <= 0.5 + 1e-6
    assert abs(rows.mean()) < 0.02


def test_start_from_labels(make):
    """A vector for each label, the mean of its tokens; the vocabulary fills the rest."""
    model = speaking(make())
    rows = tokens_in(PromptTuning(length=5, text=["7", "3 1 4"]).attach(model))
    table = model.tokens.weight
    assert_close(rows[0], table[7], rtol=0, atol=1e-6)
    assert_close(rows[1], (table[3] + table[1] + table[4]) / 3, rtol=0, atol=1e-6)
    assert (rows[2:, None] - table).abs().amax(-1).amin(1).max() < 1e-6


# -- sizes and refusals ------------------------------------------------------------------------------------------------


def test_sizes(make):
    """n d numbers, no weight of the base touched: 20 vectors on T5-XL's width of 2048 are 40,960."""
    model = PromptTuning(length=5).attach(make())
    n = 5 * model.c.width
    assert (counts(model).trainable, counts(model).changed, counts(model).rank) == (n, n, None)
    with torch.device("meta"):
        wide = GPT(Config(vocab=100, context=64, layers=1, heads=1, width=2048))
        assert vectors(PromptTuning(length=20).attach(wide)).numel() == 40_960


@pytest.mark.parametrize("settings", [{"length": 0}, {"start": "zero"}, {"text": 3}, {"text": []}, {"length": 2.5}])
def test_refuses(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        PromptTuning(**settings)


def test_refuses_what_does_not_fit(make, idx):
    model = speaking(make())
    with pytest.raises(ValueError, match="the text makes 5 vectors, more than the prompt's length of 4"):
        PromptTuning(length=4, text=TEXT).attach(model)
    with pytest.raises(ValueError, match="32 learned positions leave no room"):
        PromptTuning(length=32).attach(model)
    assert attached(model) == () and model.room == 32 and torch.equal(model(idx), make()(idx))
    with pytest.raises(ValueError, match="28 tokens are too many: this model's context is 27"):
        PromptTuning(length=5).attach(model)(torch.zeros(1, 28, dtype=torch.long))
