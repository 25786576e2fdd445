"""The same weights give the same logits and the same text in transformers and here, whatever the options.

Each seed draws a model (sizes and options) and a way to write it down (shards, prefix, spelling of the config); one
test sees to it that together they draw every option.
"""

import json
import random
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from minipeft.generate import generate
from minipeft.gpt import GPT, Config, turns

transformers = pytest.importorskip("transformers")
SEEDS = range(12)
CONTEXT = 96


def draw(seed):
    """(transformers' config, how to write it down); even seeds are GPT-2, odd ones LLaMA."""
    r = random.Random(400 + seed)
    heads = r.choice([2, 4, 6])
    common = dict(vocab_size=r.randint(50, 90), tie_word_embeddings=r.random() < 0.5)
    common |= dict(bos_token_id=None, eos_token_id=None, pad_token_id=0)
    way = dict(shards=r.random() < 0.5, prefix=r.random() < 0.5, old=seed % 4 < 2)
    if seed % 2 == 0:
        sizes = dict(n_positions=CONTEXT, n_layer=r.randint(1, 3), n_head=heads, n_embd=heads * r.choice([5, 8]))
        inner = r.choice([None, 50])
        return transformers.GPT2Config(**sizes, **common, n_inner=inner, layer_norm_epsilon=r.choice([1e-5, 1e-3])), way
    llama3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0)
    rope = dict(r.choice([{"rope_type": "default"}, llama3 | {"original_max_position_embeddings": 32}]))
    return transformers.LlamaConfig(
        **common,
        max_position_embeddings=CONTEXT,
        num_hidden_layers=r.randint(1, 3),
        num_attention_heads=heads,
        num_key_value_heads=r.choice([1, heads // 2, heads]),
        hidden_size=heads * 8,
        intermediate_size=50,
        head_dim=r.choice([None, 6, 10]),
        attention_bias=r.random() < 0.5,
        mlp_bias=r.random() < 0.5,
        rms_norm_eps=r.choice([1e-6, 1e-3]),
        rope_parameters=rope | {"rope_theta": r.choice([100.0, 10_000.0, 500_000.0])},
    ), way


def make(config, seed):
    """transformers' model with weights that show any mistake: attention far from even, logits of deviation 2."""
    torch.manual_seed(seed)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    for name, p in model.named_parameters():
        if p.ndim == 1:
            torch.nn.init.normal_(p, mean=float("weight" in name), std=0.3)
        else:
            torch.nn.init.normal_(
                p, std=1 if "w" in name.split(".")[-2] or "embed" in name else 1.2 * p.shape[1] ** -0.5
            )
    x = torch.randint(config.vocab_size, (4, 50))
    last = model.transformer.ln_f if config.model_type == "gpt2" else model.model.norm
    with torch.no_grad():
        scale = 2 / model(x).logits.std()
        for p in last.parameters():
            p *= scale
    return model


def write(model, folder, shards, prefix, old):
    """save_pretrained, then what other files in the world look like."""
    model.save_pretrained(folder, max_shard_size="5KB" if shards else "5GB")
    assert (folder / "model.safetensors.index.json").exists() == shards
    raw = json.loads((folder / "config.json").read_text())
    if old:  # the spelling of before version 5, and the tensors that old files carry along
        rope = raw.pop("rope_parameters", None)
        if rope:
            raw["rope_theta"] = rope.pop("rope_theta")
            raw["rope_scaling"] = None if rope["rope_type"] == "default" else {"type": rope.pop("rope_type"), **rope}
        raw["torch_dtype"] = raw.pop("dtype")
        (folder / "config.json").write_text(json.dumps(raw))
    for file in folder.glob("*.safetensors"):
        tensors = load_file(file)
        if old and raw["model_type"] == "gpt2" and "transformer.h.0.attn.c_attn.bias" in tensors:
            tensors["transformer.h.0.attn.bias"] = torch.ones(1, 1, CONTEXT, CONTEXT, dtype=torch.uint8)
            tensors["transformer.h.0.attn.masked_bias"] = torch.tensor(-1e4)
        if old and "model.layers.0.self_attn.q_proj.weight" in tensors:
            tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(3)
        if not prefix:
            tensors = {n.removeprefix("transformer.").removeprefix("model."): t for n, t in tensors.items()}
        save_file(tensors, file, metadata={"format": "pt"})
    index = folder / "model.safetensors.index.json"
    if shards and not prefix:
        content = json.loads(index.read_text())
        names = content["weight_map"].items()
        content["weight_map"] = {n.removeprefix("transformer.").removeprefix("model."): f for n, f in names}
        index.write_text(json.dumps(content))


@pytest.fixture(scope="module", params=SEEDS)
def case(request, tmp_path_factory):
    config, way = draw(request.param)
    folder = tmp_path_factory.mktemp(f"model{request.param}")
    theirs = make(config, request.param)
    write(theirs, folder, **way)
    generator = torch.Generator().manual_seed(request.param)
    return SimpleNamespace(
        folder=folder,
        theirs=theirs,
        ours=GPT.from_pretrained(folder),
        x=torch.randint(config.vocab_size, (3, 21), generator=generator),
        prompts=[torch.randint(config.vocab_size, (n,), generator=generator).tolist() for n in (7, 1, 18)],
    )


def test_the_seeds_draw_every_option():
    configs, ways = zip(*map(draw, SEEDS), strict=True)
    for option in ("shards", "prefix", "old"):
        assert {way[option] for way in ways} == {True, False}
    gpt2 = [c for c in configs if c.model_type == "gpt2"]
    llama = [c for c in configs if c.model_type == "llama"]
    assert {c.tie_word_embeddings for c in gpt2} == {c.tie_word_embeddings for c in llama} == {True, False}
    assert {c.n_inner for c in gpt2} == {None, 50}
    assert {c.attention_bias for c in llama} == {c.mlp_bias for c in llama} == {True, False}
    assert {c.rope_parameters["rope_type"] for c in llama} == {"default", "llama3"}
    assert len({c.rope_parameters["rope_theta"] for c in llama}) == 3
    assert {c.head_dim * c.num_attention_heads == c.hidden_size for c in llama} == {True, False}
    assert {c.num_key_value_heads < c.num_attention_heads for c in llama} == {True, False}
    scaled = [way["old"] for c, way in zip(configs, ways, strict=True) if c in llama and "factor" in c.rope_parameters]
    assert set(scaled) == {True, False}


@torch.no_grad()
def test_logits_in_fp32(case):
    expected = case.theirs(case.x).logits
    assert expected.std() > 1
    assert (case.ours(case.x) - expected).abs().max() <= 1e-5 * expected.std()


@pytest.mark.parametrize("kind", ["default", "llama3"])
def test_angles_far_out_in_a_long_context(kind):
    """An angle is position times speed: the last bit of a speed is 0.005 radians at position 131,071."""
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

    numbers = dict(factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=8192)
    scaling = numbers if kind == "llama3" else None
    sizes = dict(hidden_size=128, num_attention_heads=2, max_position_embeddings=131_072)
    rope = dict(rope_type=kind, rope_theta=500_000.0, **scaling or {})
    where = torch.tensor([0, 1, 1_000, 131_071])
    theirs = LlamaRotaryEmbedding(transformers.LlamaConfig(**sizes, rope_parameters=rope))(torch.zeros(1), where[None])
    cos, sin = turns(
        Config(style="llama", width=128, heads=2, rope_base=5e5, rope_scaling=scaling), where, torch.float32
    )
    sin[..., :32] *= -1  # ours has the signs of the turn in it
    for a, b in zip((cos, sin), theirs, strict=True):
        assert (a[:, 0] - b[0]).abs().max() < 1e-5


@torch.no_grad()
def test_logits_of_a_batch_with_left_padding(case):
    longest = max(map(len, case.prompts))
    pads = torch.tensor([longest - len(p) for p in case.prompts])
    x = torch.tensor([[0] * (longest - len(p)) + p for p in case.prompts])
    mask = torch.arange(longest) >= pads[:, None]
    where = (mask.long().cumsum(1) - 1).clamp(min=0)
    expected = case.theirs(x, attention_mask=mask.long(), position_ids=where).logits[mask]
    assert (case.ours(x, mask=mask)[mask] - expected).abs().max() <= 1e-5 * expected.std()


@torch.no_grad()
def test_bf16_is_as_near_to_fp32_as_transformers_is(case):
    exact = case.theirs(case.x).logits
    theirs = transformers.AutoModelForCausalLM.from_pretrained(case.folder, dtype=torch.bfloat16)(case.x).logits
    ours = GPT.from_pretrained(case.folder, dtype="bf16")(case.x)
    assert ours.dtype == torch.bfloat16
    far, allowed = ((y.float() - exact).square().mean().sqrt() for y in (ours, theirs))  # the largest alone is luck
    assert far <= 1.5 * allowed


def test_greedy_text_is_the_same(case):
    config = case.theirs.config
    greedy = dict(max_new_tokens=64, do_sample=False, pad_token_id=0)
    longest = max(map(len, case.prompts))
    x = torch.tensor([[0] * (longest - len(p)) + p for p in case.prompts])
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in case.prompts])
    expected = case.theirs.generate(x, attention_mask=mask, **greedy)[:, longest:].tolist()
    assert all(len(row) == 64 for row in expected) and longest + 64 <= CONTEXT and config.eos_token_id is None
    alone = [generate(case.ours, [p])[0] for p in case.prompts]
    for ours in (generate(case.ours, case.prompts), generate(case.ours, case.prompts, cache=False), alone):
        for prompt, a, b in zip(case.prompts, ours, expected, strict=True):
            assert len(a) == 64
            if a != b:  # allowed where transformers itself can hardly tell the first two apart
                same = next(i for i in range(64) if a[i] != b[i])
                first, second = case.theirs(torch.tensor([prompt + b[:same]])).logits[0, -1].topk(2).values
                assert first - second < 1e-4, f"token {same}: {a[same]}, not {b[same]}"


@torch.no_grad()
def test_transformers_reads_what_we_write(case, tmp_path):
    case.ours.save_pretrained(tmp_path / "again")
    back, info = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "again", output_loading_info=True)
    assert not any(info.values())
    expected = case.theirs(case.x).logits
    assert (back(case.x).logits - expected).abs().max() <= 1e-6 * expected.std()
    assert (GPT.from_pretrained(tmp_path / "again")(case.x) - case.ours(case.x)).abs().max() == 0
