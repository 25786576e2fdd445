"""The loss over a large vocabulary: the same number and gradients as the plain one, without its logits."""

import pytest
import torch
import torch.nn.functional as F

from minipeft import LoRA
from minipeft.cross_entropy import cross_entropy
from minipeft.gpt import GPT, Config
from minipeft.measure import kept_bytes
from minipeft.method import FullFineTuning

VOCAB, ROWS = 500, 32


@pytest.fixture(autouse=True)
def few(monkeypatch):
    monkeypatch.setattr("minipeft.cross_entropy.LOGITS", ROWS * VOCAB)


@pytest.fixture(params=["gpt2", "llama"])
def model(request):
    torch.manual_seed(0)
    return GPT(Config(style=request.param, vocab=VOCAB, context=64, layers=1, heads=2, width=8))


@pytest.fixture
def xy():
    draws = torch.Generator().manual_seed(1)
    return torch.randn(77, 8, generator=draws), torch.randint(VOCAB, (77,), generator=draws)


def plain(model, x, y):
    return F.cross_entropy(model.logits(x).float(), y)


def test_equals_the_plain_one(model, xy):
    """Loss and gradient, over two whole pieces and a rest, whatever the loss is multiplied with afterwards."""
    x, y = xy
    LoRA().attach(model)
    x = x.requires_grad_()
    loss, expected = cross_entropy(model, x, y), plain(model, x, y)
    torch.testing.assert_close(loss, expected, rtol=1e-6, atol=0)
    grad, right = (torch.autograd.grad(3 * z, x)[0] for z in (loss, expected))
    assert (grad - right).abs().max() < 1e-5 * right.abs().max()


def test_keeps_no_logits(model, xy):
    x, y = xy
    LoRA().attach(model)
    x = x.requires_grad_()
    assert kept_bytes(lambda: plain(model, x, y), model) >= x.shape[0] * VOCAB * 4
    assert kept_bytes(lambda: cross_entropy(model, x, y), model) == x.numel() * 4


def test_a_head_that_trains_gets_its_gradient(model, xy):
    FullFineTuning().attach(model)
    head = model.tokens.weight if model.head is None else model.head.weight
    got, right = (torch.autograd.grad(f(model, *xy), head)[0] for f in (cross_entropy, plain))
    assert right.abs().max() > 0 and torch.equal(got, right)


def test_without_gradients(model, xy):
    """Scoring asks for none: then none is computed, and in bf16 autocast the loss is fp32 all the same."""
    LoRA().attach(model)
    with torch.no_grad():
        torch.testing.assert_close(cross_entropy(model, *xy), plain(model, *xy), rtol=1e-6, atol=0)
        with torch.autocast("cpu", torch.bfloat16):
            loss = cross_entropy(model, *xy)
            assert loss.dtype == torch.float32
            torch.testing.assert_close(loss, plain(model, *xy), rtol=1e-6, atol=0)


def test_autocast(model, xy):
    """The gradient arrives in the dtype of the features."""
    x, y = xy
    LoRA().attach(model)
    x = x.bfloat16().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        grad, right = (torch.autograd.grad(f(model, x, y), x)[0] for f in (cross_entropy, plain))
    assert grad.dtype == torch.bfloat16
    assert (grad - right).abs().max() < 0.02 * right.abs().max()
