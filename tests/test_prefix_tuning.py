"""Prefix-Tuning: against peft, against the text it can stand for, and against attention written out."""

from types import SimpleNamespace

import peft
import pytest
import torch
import torch.nn.functional as F
from einops import rearrange
from torch.testing import assert_close

from minipeft import delta
from minipeft.additive.prefix_tuning import Prefix, PrefixTuning, Written, drop
from minipeft.gpt import GPT, Config, rotate, turns
from minipeft.measure import counts
from minipeft.surgery import attached, detach, trainable

TEXT = "3 1 4 1 5"
WORDS = SimpleNamespace(encode=lambda text: [int(word) for word in text.split()], end=0, start=[0])


def loss_of(logits, idx):
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), idx[:, 1:].flatten())


def links(model) -> list[Prefix]:
    return [m for m in model.modules() if isinstance(m, Prefix)]


# -- peft ------------------------------------------------------------------------------------------------------------


def on_transformers(model, path, prefix: PrefixTuning):
    """peft's prefix on transformers' GPT-2 or LLaMA with the same weights."""
    from transformers import AutoModelForCausalLM

    c = model.c
    model.save_pretrained(path)
    config = peft.PrefixTuningConfig(
        task_type="CAUSAL_LM", num_virtual_tokens=prefix.length, num_layers=c.layers,
        num_attention_heads=c.kv_heads, token_dim=c.kv_heads * c.head_width,
        prefix_projection=prefix.hidden is not None, encoder_hidden_size=prefix.hidden,
    )  # fmt: skip
    return peft.get_peft_model(AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32), config).eval()


def turned(c: Config, k: torch.Tensor, n: int) -> torch.Tensor:
    """Keys (..., e) moved n positions back: theirs stand at 0 before a text from n on, ours at -n before one from 0."""
    return k if c.style == "gpt2" else rotate(k, *turns(c, torch.tensor([-n]), k.dtype))


@pytest.mark.parametrize("hidden", [None, 7])
def test_equals_peft(style, make, idx, hidden, tmp_path):
    """Outputs and gradients of their prefix, whose weights are copied in; the direct one with grouped queries too."""
    plain = make(heads=4, kv_heads=4) if style == "gpt2" else make() if hidden is None else make(width=32, kv_heads=4)
    n, c, prefix = 5, plain.c, PrefixTuning(length=5, hidden=hidden)
    theirs = on_transformers(plain, tmp_path, prefix)
    encoder = theirs.prompt_encoder["default"]
    for p in encoder.parameters():
        torch.nn.init.normal_(p, std=0.5)
    ours = prefix.attach(plain)

    def copied(values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Their tensors, or their gradients, under our names: they hold all layers in one table or one Linear."""
        cut = {"two": 2, "h": c.kv_heads, "e": c.head_width}
        mine, past = {}, "trunk.{}.attn.past.0."
        if hidden is None:
            for i, (k, v) in enumerate(rearrange(values["embedding.weight"], "n (l two h e) -> l two h n e", **cut)):
                mine[past.format(i) + "k"], mine[past.format(i) + "v"] = turned(c, k, n), v
            return mine
        mine[past.format(0) + "source.p"] = values["embedding.weight"]
        for kind in ("weight", "bias"):
            mine[past.format(0) + f"source.up.{kind}"] = values[f"transform.0.{kind}"]
            last = values[f"transform.2.{kind}"]
            for i, (k, v) in enumerate(rearrange(last.view(len(last), -1), "(l two h e) m -> l two h m e", **cut)):
                both = rearrange(torch.stack([turned(c, k, n), v]), "two h m e -> (two h e) m")
                mine[past.format(i) + f"out.{kind}"] = both.reshape(-1, *last.shape[1:])
        return mine

    values = copied({name: p.detach() for name, p in encoder.named_parameters()})
    assert values.keys() == trainable(ours).keys()
    for name, p in trainable(ours).items():
        assert p.shape == values[name].shape
        p.data.copy_(values[name])
    out, expected = ours(idx), theirs(input_ids=idx).logits
    assert_close(out, expected, rtol=0, atol=1e-5)
    loss_of(out, idx).backward()
    loss_of(expected, idx).backward()
    grads = copied({name: p.grad for name, p in encoder.named_parameters()})
    for name, p in trainable(ours).items():
        assert p.grad.abs().max() > 1e-5
        assert_close(p.grad, grads[name], rtol=0, atol=1e-5)


# -- what a prefix is --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", [None, 9])
def test_text_is_that_context(make, idx, hidden):
    """Started from a text's keys and values, the model does what it does behind that text."""
    model, ids = make(), torch.tensor(WORDS.encode(TEXT))
    model.tokenizer = WORDS
    PrefixTuning(length=5, hidden=hidden, text=TEXT).attach(model)
    behind = make()(torch.cat([ids.expand(2, -1), idx], 1))[:, 5:]
    assert_close(model(idx), behind, rtol=0, atol=2e-5)
    assert (behind - make()(idx)).abs().max() > 0.1


def test_more_text_than_the_network_can_say(make):
    """With more rows than it has freedom for, the network comes as near as it can, and nearer than it was."""
    model = make()
    model.tokenizer = WORDS
    PrefixTuning(length=20, hidden=4, text=TEXT).attach(model)
    exact = make()
    exact.tokenizer = WORDS
    PrefixTuning(length=20, hidden=None, text=TEXT).attach(exact)
    for link, goal in zip(links(model), links(exact), strict=True):
        wanted = torch.stack(goal.rows()).permute(2, 0, 1, 3).flatten(1)
        seen = torch.cat([link.source(), torch.ones(20, 1)], 1)
        best = wanted - seen @ torch.linalg.lstsq(seen, wanted).solution
        ours = wanted - link.out(link.source())
        assert 0 < ours.norm() <= best.norm() * (1 + 1e-4) < wanted.norm()


def parts_of(attn, x):
    """Queries, keys and values of the tokens, on GPT-2: (h, t, e) each."""
    return (rearrange(m(x), "1 t (h e) -> h t e", e=attn.head_width) for m in (attn.q, attn.k, attn.v))


@pytest.mark.parametrize("style", ["gpt2"], indirect=True)
def test_is_a_gate_between_text_and_prefix(model, shake):
    """head(x) = (1 - g) attention(x) + g attention to the prefix, g the prefix's share of the softmax (MAM's paper)."""
    shake(PrefixTuning(length=5, hidden=None).attach(model))
    attn = model.trunk[1].attn
    x = torch.randn(1, 7, 24)
    q, k, v = parts_of(attn, x)
    pk, pv = attn.past[0].rows()
    text = (q @ k.mT / 6**0.5).masked_fill(torch.ones(7, 7).triu(1).bool(), -torch.inf)
    learned = q @ pk.mT / 6**0.5  # no causal mask: all queries see all of the prefix
    g = learned.exp().sum(-1, keepdim=True) / (learned.exp().sum(-1, keepdim=True) + text.exp().sum(-1, keepdim=True))
    heads = (1 - g) * (text.softmax(-1) @ v) + g * (learned.softmax(-1) @ pv)
    assert_close(attn(x), attn.o(rearrange(heads, "h t e -> 1 t (h e)")), rtol=0, atol=1e-5)


@pytest.mark.parametrize("style", ["gpt2"], indirect=True)
def test_zeros_are_not_nothing(model):
    """Zero keys and values shrink each head's result to Z / (n + Z) of what it was, Z its own sum of exponentials."""
    attn, n = model.trunk[1].attn, 5
    x = torch.randn(1, 7, 24)
    q, k, v = parts_of(attn, x)
    score = (q @ k.mT / 6**0.5).masked_fill(torch.ones(7, 7).triu(1).bool(), -torch.inf)
    z = score.exp().sum(-1, keepdim=True)
    expected = attn.o(rearrange(z / (n + z) * (score.softmax(-1) @ v), "h t e -> 1 t (h e)"))
    PrefixTuning(length=n, hidden=None).attach(model)
    for p in attn.past.parameters():
        torch.nn.init.zeros_(p)
    assert_close(attn(x), expected, rtol=0, atol=1e-5)


def test_slots_have_no_order(model, idx, shake):
    """The same permutation of a layer's keys and values changes nothing; of its keys alone, it does."""
    shake(PrefixTuning(length=5, hidden=None).attach(model))
    out, order, link = model(idx), torch.tensor([3, 0, 4, 1, 2]), links(model)[1]
    link.k.data = link.k.data[:, order]
    assert (model(idx) - out).abs().max() > 1e-3
    link.v.data = link.v.data[:, order]
    assert_close(model(idx), out, rtol=0, atol=1e-5)


# -- the network is scaffolding ----------------------------------------------------------------------------------------


def test_drop(make, idx, shake, tmp_path):
    """The recipe ends without the network: the same function, 2 L n d_kv numbers, in memory and in the file."""
    model, method = make(), PrefixTuning(length=5, hidden=7)
    for _ in method.stages(model, []):
        shake(model)
        c, kv = model.c, model.c.kv_heads * model.c.head_width
        network = 5 * c.width + (c.width * 7 + 7) + c.layers * (7 + 1) * 2 * kv
        assert counts(model).trainable == network
        out = model(idx)
        delta.save(model, tmp_path / "before")
    assert not any(isinstance(m, Written) for m in model.modules())
    assert_close(model(idx), out, rtol=0, atol=1e-5)
    stored = 2 * c.layers * 5 * kv
    assert (counts(model).trainable, counts(model).changed, counts(model).rank) == (stored, stored, None)
    names = {f"trunk.{i}.attn.past.0.{key}" for i in range(c.layers) for key in "kv"}
    assert trainable(model).keys() == names
    size = delta.save(model, tmp_path / "after")
    assert 4 * stored < size < 4 * stored + 120 * len(names) + 1500
    for path in ("before", "after"):  # with the network one can train on
        again = delta.load(make(), tmp_path / path)
        assert any(isinstance(m, Written) for m in again.modules()) == (path == "before")
        assert_close(again(idx), out, rtol=0, atol=1e-5)


@pytest.mark.parametrize("recompute", [False, True])
def test_the_network_runs_once_a_step(make, idx, shake, recompute):
    """In a loss, for all layers together; with the gradients of a network that runs in each layer, as elsewhere."""
    method = PrefixTuning(length=5, hidden=7)
    model = shake(method.attach(make()))
    model.trunk.recompute = recompute
    (source,) = {link.source for link in links(model)}
    runs, layers = [], len(links(model))
    source.up.register_forward_hook(lambda *_: runs.append(1))
    loss_of(model(idx), idx).backward()
    grads = {n: p.grad.clone() for n, p in trainable(model).items()}
    assert len(runs) == layers * (1 + recompute)
    runs.clear(), model.zero_grad()
    method.loss(model, idx[:, :-1], idx[:, 1:]).backward()
    assert len(runs) == (2 * layers if recompute else 1)
    for n, p in trainable(model).items():
        assert_close(p.grad, grads[n], rtol=1e-4, atol=1e-6)
    with torch.no_grad():
        source.p.add_(1)
    assert_close(method.loss(model, idx[:, :-1], idx[:, 1:]), loss_of(model(idx), idx))
    with pytest.raises(ValueError, match="outside the vocabulary"):
        method.loss(model, idx + 1000, idx)
    assert source.said is None


def test_drop_under_another_method(make, idx, shake, tmp_path):
    """A dropped network stays dropped in a file, whatever has been wrapped around its attention since."""
    from minipeft.additive.adapters import Adapters

    model = shake(PrefixTuning(length=5, hidden=7).attach(make()))
    drop(model)
    shake(Adapters(size=3).attach(model))
    delta.save(model, tmp_path)
    assert torch.equal(delta.load(make(), tmp_path)(idx), model(idx))


def test_sizes_in_the_paper():
    """GPT-2 medium, 10 slots, 512 hidden numbers: 491,520 stored, and 25,750,016 trained to get there."""
    with torch.device("meta"):
        model = GPT(Config(vocab=50257, context=1024, layers=24, heads=16, width=1024))
        PrefixTuning(length=10, hidden=512).attach(model)
        assert sum(p.numel() for p in trainable(model).values()) == 25_750_016
        drop(model)
    assert sum(p.numel() for p in trainable(model).values()) == 491_520


def test_some_layers(make, idx, shake):
    model = shake(PrefixTuning(length=5, layers=[0, 2]).attach(make()))
    assert [len(block.attn.past) for block in model.trunk] == [1, 0, 1]
    other = shake(PrefixTuning(length=5).attach(make()))
    assert not torch.allclose(model(idx), other(idx))


# -- room --------------------------------------------------------------------------------------------------------------


def test_room(make, idx):
    """A prefix takes its length from the context, and gives it back."""
    model = PrefixTuning(length=5).attach(make())
    assert model.room == 27 and model(torch.zeros(1, 27, dtype=torch.long)).isfinite().all()
    with pytest.raises(ValueError, match="28 tokens are too many: this model's context is 27"):
        model(torch.zeros(1, 28, dtype=torch.long))
    assert detach(model).room == 32
    with pytest.raises(ValueError, match="32 learned positions leave no room"):
        PrefixTuning(length=32).attach(model)
    assert attached(model) == () and not links(model) and model.room == 32
    assert torch.equal(model(idx), make()(idx))


@pytest.mark.parametrize("settings", [{"length": 0}, {"hidden": 0}, {"length": 2.5}, {"text": 3}])
def test_refuses(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        PrefixTuning(**settings)


def test_refuses_texts(make):
    model = make()
    with pytest.raises(ValueError, match="needs the model's tokenizer"):
        PrefixTuning(text=TEXT).attach(model)
    model.tokenizer = WORDS
    with pytest.raises(ValueError, match="has no tokens"):
        PrefixTuning(text=" ").attach(model)
    with pytest.raises(ValueError, match="the text has 5 tokens, more than the prefix's length of 4"):
        PrefixTuning(length=4, text=TEXT).attach(model)
    assert attached(model) == () and not links(model)
