"""Writing a model down and reading it again: weights, numbers, tokenizer; whole or not at all."""

import json
import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from minipeft import families
from minipeft.gpt import GPT, Config
from minipeft.reparametrization.lora import LoRA
from minipeft.selective.bitfit import BitFit
from minipeft.surgery import merge
from minipeft.tokenizer import Tokenizer, vocabulary

LLAMA3 = dict(factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=16)


@pytest.fixture
def model(make):
    """As transformers can have it: its GPT-2's heads make up the width."""
    model = make()
    if model.c.style == "gpt2":
        torch.manual_seed(0)
        model = GPT(replace(model.c, head_width=8)).eval()
    return model


def same(a, b):
    state, other = a.state_dict(), b.state_dict()
    return a.c == b.c and state.keys() == other.keys() and all(torch.equal(state[n], other[n]) for n in state)


def files(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def test_there_and_back(model, tmp_path):
    model.save_pretrained(tmp_path / "a" / "model")
    assert sorted(files(tmp_path / "a" / "model")) == ["config.json", "model.safetensors"]
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["model"]  # nothing else is left behind
    assert same(GPT.from_pretrained(tmp_path / "a" / "model"), model)
    with safe_open(tmp_path / "a" / "model" / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}


def test_what_comes_back_is_ready_to_train_and_to_run(model, tmp_path, idx):
    model.save_pretrained(tmp_path)
    back = GPT.from_pretrained(str(tmp_path))
    assert (
        all(p.requires_grad and p.is_leaf and p.device.type == "cpu" for p in back.parameters()) and not back.training
    )
    back(idx).sum().backward()


@pytest.mark.parametrize("option", [dict(tied=True), dict(tied=False), dict(eps=1e-3), dict(context=17)])
def test_options_come_back(model, tmp_path, option):
    other = GPT(replace(model.c, **option))
    other.save_pretrained(tmp_path)
    assert same(GPT.from_pretrained(tmp_path), other)


def test_rope_comes_back(tmp_path):
    for given in (dict(rope_base=77.0), dict(rope_base=500_000.0, rope_scaling=LLAMA3)):
        model = GPT(replace(families.read(llama_json()), **given))
        model.save_pretrained(tmp_path)
        assert same(GPT.from_pretrained(tmp_path), model)


def llama_json(**more):
    sizes = dict(vocab_size=41, max_position_embeddings=32, num_hidden_layers=1, num_attention_heads=4)
    return dict(model_type="llama", hidden_size=16, intermediate_size=20) | sizes | more


@pytest.mark.parametrize(
    "written, base, scaling",
    [
        ({}, 10_000.0, None),
        ({"rope_theta": 500.0}, 500.0, None),
        ({"rope_theta": 500.0, "rope_scaling": None}, 500.0, None),
        ({"rope_theta": 500.0, "rope_scaling": {"type": "llama3", **LLAMA3}}, 500.0, LLAMA3),
        ({"rope_theta": 500.0, "rope_scaling": {"rope_type": "llama3", **LLAMA3}}, 500.0, LLAMA3),
        ({"rope_parameters": {"rope_theta": 500.0, "rope_type": "default"}}, 500.0, None),
        ({"rope_parameters": {"rope_theta": 500.0, "rope_type": "llama3", **LLAMA3}}, 500.0, LLAMA3),
        ({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 1.0}}, 10_000.0, None),
    ],
)
def test_every_spelling_of_rope(written, base, scaling):
    c = families.read(llama_json(**written))
    assert (c.rope_base, c.rope_scaling) == (base, scaling)


def test_what_a_config_leaves_out_is_transformers_default():
    transformers = pytest.importorskip("transformers")
    theirs = transformers.LlamaConfig(**{k: v for k, v in llama_json().items() if k != "model_type"})
    c = families.read(llama_json())
    assert (c.eps, c.kv_heads, c.head_width, c.tied) == (theirs.rms_norm_eps, 4, 4, theirs.tie_word_embeddings)
    assert (c.attn_bias, c.mlp_bias) == (theirs.attention_bias, theirs.mlp_bias)
    sizes = dict(vocab_size=41, n_positions=32, n_layer=1, n_head=4, n_embd=16)
    theirs, c = transformers.GPT2Config(**sizes), families.read({"model_type": "gpt2"} | sizes)
    assert (c.eps, c.hidden, c.tied) == (theirs.layer_norm_epsilon, 64, theirs.tie_word_embeddings)


# -- dtypes and devices -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("written", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("wished", [None, "auto", "fp32", "fp16", "bf16", "float16", torch.bfloat16])
def test_dtypes(model, tmp_path, written, wished):
    model.to(written).save_pretrained(tmp_path)
    names = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16, "float16": torch.float16}
    expected = written if wished in (None, "auto") else names.get(wished, wished)
    back = GPT.from_pretrained(tmp_path, dtype=wished)
    assert {p.dtype for p in back.parameters()} == {expected}
    assert same(back, model.to(expected))


def test_without_a_word_in_config_the_files_dtype_counts(model, tmp_path):
    model.half().save_pretrained(tmp_path)
    raw = json.loads((tmp_path / "config.json").read_text())
    del raw["torch_dtype"]
    (tmp_path / "config.json").write_text(json.dumps(raw))
    assert {p.dtype for p in GPT.from_pretrained(tmp_path).parameters()} == {torch.float16}


def test_device_auto(model, tmp_path):
    model.save_pretrained(tmp_path)
    best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    assert {p.device.type for p in GPT.from_pretrained(tmp_path, device="auto").parameters()} == {best}


# -- files of other makes ---------------------------------------------------------------------------------------------


def test_a_tied_head_may_be_written_out(model, tmp_path):
    model = GPT(replace(model.c, tied=True))
    model.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["lm_head.weight"] = model.tokens.weight.detach().clone()
    save_file(tensors, tmp_path / "model.safetensors")
    assert same(GPT.from_pretrained(tmp_path), model)


def test_a_method_that_is_merged_can_be_saved(model, tmp_path, idx, shake):
    LoRA(rank=2).attach(model)
    merge(shake(model))
    model.save_pretrained(tmp_path)
    assert torch.equal(GPT.from_pretrained(tmp_path)(idx), model(idx))


def test_biases_that_a_method_added_are_saved_in_all_linears_of_the_sublayer(tmp_path, idx, shake):
    transformers = pytest.importorskip("transformers")
    model = GPT(families.read(llama_json()))
    BitFit(add=True).attach(model)
    merge(shake(model))
    for block in model.trunk:
        block.attn.o.bias = None  # transformers has them in q, k, v and o, or in none
    assert model.trunk[0].attn.q.bias.abs().max() > 0.1
    model.save_pretrained(tmp_path)
    assert GPT.from_pretrained(tmp_path).trunk[0].attn.o.bias.abs().max() == 0
    for back in (GPT.from_pretrained(tmp_path), transformers.AutoModelForCausalLM.from_pretrained(tmp_path)):
        logits = back(idx) if isinstance(back, GPT) else back(idx).logits
        assert torch.allclose(logits, model(idx), atol=1e-5 * model(idx).abs().max().item())


def test_a_bias_that_transformers_has_no_place_for(tmp_path):
    model = GPT(families.read(llama_json()))
    model.head.bias = torch.nn.Parameter(torch.ones(41))
    with pytest.raises(ValueError, match=r"transformers' llama has no place for head\.bias"):
        model.save_pretrained(tmp_path / "model")
    assert not list(tmp_path.iterdir())


# -- whole or not at all ----------------------------------------------------------------------------------------------


def test_a_model_with_a_method_is_not_saved(model, tmp_path):
    LoRA(rank=2).attach(model)
    with pytest.raises(ValueError, match="carries LoRA: merge or detach it first"):
        model.save_pretrained(tmp_path / "model")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("there", [False, True])
def test_an_accident_leaves_everything_as_it_was(model, tmp_path, monkeypatch, there):
    folder = tmp_path / "model"
    if there:
        model.save_pretrained(folder)
    before = files(folder) if there else None

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(families, "write", full)
    with pytest.raises(OSError, match="no space"):
        model.save_pretrained(folder)
    assert [p.name for p in tmp_path.iterdir()] == (["model"] if there else [])
    assert not there or files(folder) == before


def test_a_second_save_replaces_its_own_files_only(model, make, tmp_path):
    model.save_pretrained(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    other = GPT(replace(model.c, layers=1))
    other.save_pretrained(tmp_path)
    assert same(GPT.from_pretrained(tmp_path), other) and (tmp_path / "notes.txt").read_text() == "mine"


def test_a_loaded_model_can_be_saved_where_it_came_from(model, tmp_path):
    model.save_pretrained(tmp_path)
    back = GPT.from_pretrained(tmp_path)
    back.save_pretrained(tmp_path)
    assert same(back, model) and same(GPT.from_pretrained(tmp_path), model)


@pytest.mark.parametrize(
    "prepare, says",
    [
        (lambda path: path.write_text("x"), "is a file: give a directory"),
        (lambda path: (path.mkdir(), (path / "config.json").write_text('{"port": 8080}')), "isn't a model's"),
        (lambda path: (path.mkdir(), (path / "config.json").write_text("port: 8080")), "is not JSON"),
    ],
)
def test_what_is_not_ours_is_not_overwritten(model, tmp_path, prepare, says):
    prepare(tmp_path / "there")
    before = files(tmp_path / "there") if (tmp_path / "there").is_dir() else (tmp_path / "there").read_text()
    with pytest.raises(ValueError, match=says):
        model.save_pretrained(tmp_path / "there")
    assert (files(tmp_path / "there") if (tmp_path / "there").is_dir() else (tmp_path / "there").read_text()) == before


@pytest.mark.parametrize(
    "style, odd", [("gpt2", {"kv_heads": 2}), ("gpt2", {"head_width": 6}), ("llama", {"width": 18})]
)
def test_heads_that_transformers_cannot_have(style, odd, tmp_path):
    model = GPT(Config(style=style, heads=4, **{"width": 32, "head_width": 8} | odd))
    with pytest.raises(ValueError, match=f"transformers' {style} has no place for such heads"):
        model.save_pretrained(tmp_path / "model")
    assert not list(tmp_path.iterdir())


# -- tokenizers -------------------------------------------------------------------------------------------------------

WORDS = "the cat sat on a mat".split()


def test_our_tokenizer_comes_back_as_ours(model, tmp_path):
    model.tokenizer = Tokenizer(vocabulary(WORDS))
    model.save_pretrained(tmp_path)
    back = GPT.from_pretrained(tmp_path).tokenizer
    assert isinstance(back, Tokenizer) and back.vocabulary == model.tokenizer.vocabulary
    raw = json.loads((tmp_path / "config.json").read_text())
    assert raw["eos_token_id"] == raw["bos_token_id"] == model.tokenizer.end


def real_tokenizer(folder, bos):
    """A byte-level tokenizer as real models have it, with or without a token that begins each text."""
    tokenizers, transformers = pytest.importorskip("tokenizers"), pytest.importorskip("transformers")
    pieces = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    pieces = {piece: i for i, piece in enumerate([*pieces, "<s>", "</s>"])}
    theirs = tokenizers.Tokenizer(tokenizers.models.BPE(pieces, []))
    theirs.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    theirs.decoder = tokenizers.decoders.ByteLevel()
    if bos:
        theirs.post_processor = tokenizers.processors.TemplateProcessing(
            "<s> $A", special_tokens=[("<s>", pieces["<s>"])]
        )
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=theirs, bos_token="<s>", eos_token="</s>")
    fast.save_pretrained(folder)
    return pieces


@pytest.mark.parametrize("bos", [True, False])
def test_a_real_tokenizer_comes_with_the_model(model, tmp_path, bos):
    model.save_pretrained(tmp_path / "one")
    pieces = real_tokenizer(tmp_path / "one", bos)
    back = GPT.from_pretrained(tmp_path / "one")
    back.save_pretrained(tmp_path / "two")
    for tokenizer in (back.tokenizer, GPT.from_pretrained(tmp_path / "two").tokenizer):
        assert tokenizer.start == ([pieces["<s>"]] if bos else []) and tokenizer.end == pieces["</s>"]
        ids = tokenizer.encode(" the café , twice")
        assert pieces["<s>"] not in ids and tokenizer.decode(ids) == " the café , twice"


def test_the_ids_of_special_tokens_survive(model, tmp_path):
    model.save_pretrained(tmp_path / "one")
    raw = json.loads((tmp_path / "one" / "config.json").read_text())
    (tmp_path / "one" / "config.json").write_text(json.dumps(raw | {"eos_token_id": [7, 9], "bos_token_id": 3}))
    GPT.from_pretrained(tmp_path / "one").save_pretrained(tmp_path / "two")
    raw = json.loads((tmp_path / "two" / "config.json").read_text())
    assert raw["eos_token_id"] == [7, 9] and raw["bos_token_id"] == 3


def test_a_missing_tokenizer_is_named_when_it_is_needed(model, tmp_path, idx):
    model.save_pretrained(tmp_path)
    back = GPT.from_pretrained(tmp_path)
    assert back(idx).isfinite().all()
    for use in (lambda: back.tokenizer.encode("a"), lambda: back.tokenizer.start, lambda: back.tokenizer.end):
        with pytest.raises(FileNotFoundError, match=r"holds no tokenizer\.json"):
            use()


def test_a_tokenizer_without_an_end_is_named(model, tmp_path):
    model.save_pretrained(tmp_path)
    real_tokenizer(tmp_path, bos=False)
    raw = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({k: v for k, v in raw.items() if k != "eos_token"}))
    with pytest.raises(ValueError, match="names no eos_token"):
        GPT.from_pretrained(tmp_path).tokenizer.end  # noqa: B018


def test_a_broken_tokenizer_is_named(model, tmp_path):
    model.save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"model": ')
    with pytest.raises(ValueError, match=f"cannot read the tokenizer in {tmp_path}"):
        GPT.from_pretrained(tmp_path).tokenizer.encode("a")


def test_loading_weights_does_not_import_transformers(tmp_path):
    GPT(families.read(llama_json())).save_pretrained(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    code = (
        "import sys; from minipeft.gpt import GPT; GPT.from_pretrained(sys.argv[1]); "
        "sys.exit(any(name in sys.modules for name in ('transformers', 'huggingface_hub')))"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True)
