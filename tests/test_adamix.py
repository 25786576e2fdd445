"""AdaMix: what is drawn, what is averaged, and the loss between two draws."""

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from minipeft import delta
from minipeft.additive.adamix import AdaMix, Mixture, average, disagreement
from minipeft.additive.adapters import Adapters, Bottleneck
from minipeft.measure import counts
from minipeft.surgery import added, trainable


def mixtures(model) -> list[Mixture]:
    return [m for m in model.modules() if isinstance(m, Mixture)]


def labels(idx):
    y = idx.roll(-1, 1)
    y[:, :4] = -100
    return y


def drawn(mixture: Mixture) -> list[int]:
    """The experts whose down-projection has a gradient."""
    return mixture.downs.grad.flatten(1).any(1).nonzero().flatten().tolist()


def random_mixture(experts=3, share_up=False) -> Mixture:
    torch.manual_seed(0)
    mixture = Mixture(6, 4, experts, share_up, "gelu")
    for p in mixture.parameters():
        torch.nn.init.normal_(p)
    return mixture


def test_train_is_one_expert(shake):
    """While training the output is U_j gelu(D_i x + c_i) + b_j for one pair i, j, and not always the same."""
    mixture, x = random_mixture(), torch.randn(2, 5, 6)
    pairs = {}
    for i in range(3):
        low = F.gelu(x @ mixture.downs[i].T + mixture.down_biases[i])
        for j in range(3):
            pairs[i, j] = low @ mixture.ups[j].T + mixture.up_biases[j]
    seen = set()
    for _ in range(60):
        out = mixture(x)
        which = {pair for pair, expected in pairs.items() if torch.allclose(out, expected, atol=1e-6)}
        assert len(which) == 1
        seen |= which
    assert len(seen) == 9


def test_draws_are_uniform_and_independent():
    """Both of a layer's draws, and those of two layers: chi-square over the cells, below its 0.1 % point."""
    torch.manual_seed(0)
    layers = [Mixture(2, 1, 4, False, "relu") for _ in range(2)]
    for mixture in layers:  # an output that says which were drawn: (i, j)
        with torch.no_grad():
            mixture.downs.zero_()
            mixture.down_biases.copy_(torch.arange(4.0)[:, None])
            mixture.ups.copy_(torch.tensor([[1.0], [0.0]]).expand(4, 2, 1))
            mixture.up_biases.copy_(torch.stack([torch.zeros(4), torch.arange(4.0)], 1))
    draws = torch.stack([torch.cat([m(torch.zeros(1, 2))[0] for m in layers]) for _ in range(800)]).long()
    for a, b in ((0, 1), (0, 2), (1, 3)):
        cells = (4 * draws[:, a] + draws[:, b]).bincount(minlength=16)
        assert ((cells - 50) ** 2 / 50).sum() < 37.7  # 15 degrees of freedom


def test_one_draw_for_a_layer_and_a_pass(make, idx, shake):
    """All tokens of a batch meet the same expert; other layers and the next pass may meet others."""
    model = shake(AdaMix(size=5).attach(make())).train()
    torch.manual_seed(0)
    seen = []
    for _ in range(12):
        model.zero_grad()
        model(idx).square().mean().backward()
        seen.append([drawn(m) for m in mixtures(model)])
    assert all(len(layer) == 1 for one_pass in seen for layer in one_pass)
    assert any(a != b for a, b, _ in seen)
    assert len({str(one_pass) for one_pass in seen}) > 3


def test_eval_is_the_mean_of_the_weights(make, idx, shake):
    """Of the weights and biases, not of the outputs; no chance in it."""
    mixture, x = random_mixture().eval(), torch.randn(2, 5, 6)
    D, c, U, b = (p.mean(0) for p in (mixture.downs, mixture.down_biases, mixture.ups, mixture.up_biases))
    assert_close(mixture(x), F.gelu(x @ D.T + c) @ U.T + b)
    outputs = (
        torch.stack([F.gelu(x @ d.T + c) for d, c in zip(mixture.downs, mixture.down_biases, strict=True)]).mean(0)
        @ U.T
        + b
    )
    assert (mixture(x) - outputs).abs().max() > 0.1
    model = shake(AdaMix(size=5).attach(make()))
    assert torch.equal(model(idx), model(idx))
    model.train()
    assert not torch.equal(model(idx), model(idx))


def test_one_expert_is_an_adapter(make, idx, shake):
    """M = 1: the same as Houlsby's adapter after the MLP, training or not, and no disagreement."""
    model = shake(AdaMix(size=5, experts=1).attach(make()))
    plain = Adapters(size=5, norms=False).attach(make())
    with torch.no_grad():
        for mixture, block in zip(mixtures(model), plain.trunk, strict=True):
            block.attn = block.attn.base
            for p, q in zip(block.mlp.branch.parameters(), mixture.parameters(), strict=True):
                p.copy_(q[0])
    for mode in (True, False):
        assert_close(model.train(mode)(idx), plain(idx), rtol=0, atol=1e-5)
    x, y = idx, labels(idx)
    alone = AdaMix(size=5, experts=1, consistency=0)
    assert_close(AdaMix(size=5, experts=1).loss(model.train(), x, y), alone.loss(model, x, y))


def test_disagreement():
    """Half of both KLs, symmetric, nothing where the two agree; its gradient at the logits is (p - q) / 2n."""
    torch.manual_seed(0)
    a, b = (torch.randn(5, 7, dtype=torch.float64).requires_grad_() for _ in range(2))
    p, q = a.softmax(-1), b.softmax(-1)
    by_hand = ((p * (p / q).log()).sum() + (q * (q / p).log()).sum()) / 2 / 5
    given = disagreement(a.log_softmax(-1), b.log_softmax(-1))
    assert_close(given, by_hand)
    assert_close(given, disagreement(b.log_softmax(-1), a.log_softmax(-1)))
    assert disagreement(a.log_softmax(-1), a.log_softmax(-1)) == 0 < given
    grads = torch.autograd.grad(given, (a, b))
    assert_close(grads[0], ((p - q) / 10).detach())
    assert_close(grads[1], ((q - p) / 10).detach())


def test_loss(make, idx, shake):
    """Cross-entropy of the first pass alone, of labelled positions alone, and w times how far the second is from it."""
    method = AdaMix(size=5, consistency=3.0)
    model = shake(method.attach(make())).train()
    x, y = idx, labels(idx)
    torch.manual_seed(7)
    given = method.loss(model, x, y)
    torch.manual_seed(7)
    first, second = (model(x)[:, 4:].flatten(0, 1).log_softmax(-1) for _ in range(2))
    p, q = first.exp(), second.exp()
    kl = ((p * (first - second)).sum(-1).mean() + (q * (second - first)).sum(-1).mean()) / 2
    assert kl > 1e-3
    assert_close(given, F.nll_loss(first, y[:, 4:].flatten()) + 3 * kl, rtol=1e-5, atol=1e-6)
    model.eval()
    assert_close(method.loss(model, x, y), F.cross_entropy(model(x)[:, 4:].flatten(0, 1), y[:, 4:].flatten()))


def test_equal_experts_agree(make, idx, shake):
    """If all experts are the same, training is as evaluating, and the passes agree."""
    method = AdaMix(size=5, share_up=False)
    model = shake(method.attach(make()))
    with torch.no_grad():
        for mixture in mixtures(model):
            for p in mixture.parameters():
                p.copy_(p[:1].expand_as(p).clone())
    out = model(idx)
    assert_close(model.train()(idx), out, rtol=0, atol=1e-5)
    alone = AdaMix(size=5, share_up=False, consistency=0)
    assert_close(method.loss(model, idx, labels(idx)), alone.loss(model, idx, labels(idx)))


def test_averaged_after_training(make, idx, shake, tmp_path):
    """The recipe ends with one plain adapter a block, which does what the mixture did; that is what is saved."""
    method = AdaMix(size=5, share_up=False)
    model, x, y = make(), idx, labels(idx)
    for _ in method.stages(model, [(x, y)]):
        shake(model)
        out = model(idx)
    assert not mixtures(model)
    assert all(type(m.branch) is Bottleneck for m in (block.mlp for block in model.trunk))
    assert_close(model(idx), out, rtol=0, atol=1e-5)
    delta.save(model, tmp_path)
    again = delta.load(make(), tmp_path)
    assert torch.equal(again(idx), model(idx)) and not mixtures(again)


@pytest.mark.parametrize("share_up", [True, False])
def test_counts(make, shake, share_up):
    """M (d m + m) + (m d + d) a block train with one U, M (2 d m + m + d) without; 2 d m + m + d stay."""
    (d, layers), m, M = (make().c.width, make().c.layers), 5, 3
    model = AdaMix(size=m, experts=M, share_up=share_up).attach(make())
    ups = 1 if share_up else M
    assert sum(p.numel() for p in trainable(model).values()) == layers * (M * (d * m + m) + ups * (m * d + d))
    average(shake(model))
    n = layers * (2 * d * m + m + d)
    assert sum(t.numel() for t in added(model).values()) == n
    assert (counts(model).trainable, counts(model).changed, counts(model).rank) == (n, n, None)


def test_published_counts():
    """4 experts: BERT-base trains 2.2 M and keeps the 0.9 M that the paper counts, RoBERTa-large keeps its 0.8 M."""
    for layers, d, m, trained, kept in ((12, 768, 48, 2_223_360, 894_528), (24, 1024, 16, 1_992_192, 811_392)):
        mixture = Mixture(d, m, 4, True, "gelu")
        assert layers * sum(p.numel() for p in mixture.parameters()) == trained
        assert layers * sum(p.numel() for p in mixture.averaged().parameters()) == kept


def test_start(make, idx):
    """Independent draws of deviation 0.02, biases zero: near the base, not on it."""
    model = AdaMix(size=16).attach(make())
    for mixture in mixtures(model):
        for w in (mixture.downs, mixture.ups):
            assert abs(w.std() - 0.02) < 0.002
        assert not torch.equal(mixture.downs[0], mixture.downs[1])
        assert mixture.down_biases.count_nonzero() == mixture.up_biases.count_nonzero() == 0
    assert 0 < (model(idx) - make()(idx)).abs().max() < 0.1


@pytest.mark.parametrize(
    "settings", [{"size": 0}, {"experts": 0}, {"experts": 2.0}, {"consistency": -1.0}, {"activation": "tanh"}]
)
def test_refuses(settings):
    with pytest.raises(ValueError, match=next(iter(settings))):
        AdaMix(**settings)
