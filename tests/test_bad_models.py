"""What a directory of weights can have wrong with it: one sentence that names it, and no half a model."""

import json
from fnmatch import fnmatch

import pytest
import torch
from safetensors.torch import load_file, save_file

from minipeft.gpt import GPT, Config

SIZES = dict(vocab=41, context=32, layers=2, heads=4, width=16)


@pytest.fixture(params=["gpt2", "llama"])
def folder(request, tmp_path):
    """A good one."""
    torch.manual_seed(0)
    c = Config(style=request.param, **SIZES, hidden=20, kv_heads=2 if request.param == "llama" else None, tied=False)
    GPT(c).save_pretrained(tmp_path)
    return tmp_path


@pytest.fixture
def gpt2(tmp_path):
    GPT(Config(**SIZES)).save_pretrained(tmp_path)
    return tmp_path


@pytest.fixture
def llama(tmp_path):
    GPT(Config(style="llama", kv_heads=2, **SIZES)).save_pretrained(tmp_path)
    return tmp_path


def files(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


def refused(folder, says, kind=ValueError, **how):
    """Loading raises one sentence, which names the directory, and leaves the files as they are."""
    before = files(folder)
    with pytest.raises(kind, match=says) as caught:
        GPT.from_pretrained(folder, **how)
    assert "\n" not in str(caught.value) and str(folder) in str(caught.value)
    assert files(folder) == before


def edit(folder, **changes):
    """Change config.json; None takes a key out."""
    raw = json.loads((folder / "config.json").read_text()) | changes
    (folder / "config.json").write_text(json.dumps({k: v for k, v in raw.items() if v is not None}))


def weights(folder, change):
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


# -- config.json ------------------------------------------------------------------------------------------------------


def test_no_config(folder):
    (folder / "config.json").unlink()
    refused(folder, r"holds no config\.json", FileNotFoundError)


@pytest.mark.parametrize(
    "text, says",
    [
        ("", r"config\.json is not JSON"),
        ('{"model_type": "gpt2"', r"config\.json is not JSON"),
        ("[1, 2]", r"config\.json must hold a JSON object, not list"),
        ("{}", r"config\.json: model_type is None, and this model is gpt2 or llama"),
    ],
)
def test_a_config_that_is_none(folder, text, says):
    (folder / "config.json").write_text(text)
    refused(folder, says)


def test_a_config_of_bytes(folder):
    (folder / "config.json").write_bytes(b"\xff\xfe\x00")
    refused(folder, r"config\.json is not JSON")


@pytest.mark.parametrize("kind", ["mistral", "gpt_neox", "bert", 3])
def test_another_model_type(folder, kind):
    edit(folder, model_type=kind)
    refused(folder, rf"config\.json: model_type is {kind!r}")


@pytest.mark.parametrize(
    "option, value",
    [
        ("activation_function", "relu"),
        ("activation_function", "gelu"),
        ("scale_attn_weights", False),
        ("scale_attn_by_inverse_layer_idx", True),
        ("reorder_and_upcast_attn", True),
        ("add_cross_attention", True),
        ("quantization_config", {"bits": 4}),
    ],
)
def test_options_of_gpt2_that_we_do_not_do(gpt2, option, value):
    edit(gpt2, **{option: value})
    refused(gpt2, f"config.json: {option} = .* is not implemented")


@pytest.mark.parametrize(
    "option, value",
    [
        ("hidden_act", "gelu"),
        ("partial_rotary_factor", 0.5),
        ("sliding_window", 128),
        ("quantization_config", {"quant_method": "gptq"}),
    ],
)
def test_options_of_llama_that_we_do_not_do(llama, option, value):
    edit(llama, **{option: value})
    refused(llama, f"config.json: {option} = .* is not implemented")


@pytest.mark.parametrize(
    "rope, says",
    [
        ({"rope_type": "yarn", "factor": 4.0}, "rope type 'yarn' is not implemented, only 'default' and 'llama3' are"),
        ({"type": "linear", "factor": 2.0}, "rope type 'linear' is not implemented"),
        ({"rope_type": "llama3", "factor": 8.0}, "rope_scaling must hold the numbers .*low_freq_factor"),
        ({"rope_type": "llama3"}, "rope_scaling must hold the numbers .*factor"),
        ({"rope_type": "default", "partial_rotary_factor": 0.5}, "partial_rotary_factor with rope type 'default'"),
        ("linear", "rope_scaling must be an object, not 'linear'"),
    ],
)
@pytest.mark.parametrize("key", ["rope_scaling", "rope_parameters"])
def test_rotary_positions_that_we_do_not_do(llama, key, rope, says):
    edit(llama, rope_scaling=None)
    edit(llama, **{key: rope})
    refused(llama, f"config.json: {says}")


@pytest.mark.parametrize(
    "key, value, says",
    [
        ("num_hidden_layers", None, "num_hidden_layers is missing"),
        ("intermediate_size", None, "intermediate_size is missing"),
        ("hidden_size", "16", "hidden_size must be of type int, not '16'"),
        ("num_attention_heads", 0, "heads must be at least 1, not 0"),
        ("num_attention_heads", 3, r"heads \(3\) must be a multiple of kv_heads \(2\)"),
        ("num_attention_heads", True, "num_attention_heads must be of type int, not True"),
        ("head_dim", 3, "rotary positions .* head_width must be even, not 3"),
        ("tie_word_embeddings", "no", "tie_word_embeddings must be of type bool, not 'no'"),
        ("rms_norm_eps", "small", "rms_norm_eps must be of type float, not 'small'"),
        ("rope_theta", "10k", "rope_theta must be a number, not '10k'"),
    ],
)
def test_numbers_that_cannot_be(llama, key, value, says):
    edit(llama, **{key: value})
    refused(llama, rf"config\.json: {says}")


# -- weights ----------------------------------------------------------------------------------------------------------


def test_no_weights(folder):
    (folder / "model.safetensors").unlink()
    refused(folder, r"holds no model\.safetensors and no model\.safetensors\.index\.json", FileNotFoundError)


def test_a_pickle_is_not_opened(folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    refused(folder, r"only as pytorch_model\.bin, a pickle.*save_pretrained")


@pytest.mark.parametrize("keep", [0, 5, 200, 0.5, 0.999])
def test_a_truncated_file(folder, keep):
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[: keep if isinstance(keep, int) else int(keep * len(content))])
    refused(folder, r"model\.safetensors is not a whole safetensors file")


@pytest.mark.parametrize(
    "content", [b"PK\x03\x04 a zip file", b"version https://git-lfs.github.com/spec/v1\n", b"\xff" * 99]
)
def test_a_file_of_another_kind(folder, content):
    (folder / "model.safetensors").write_bytes(content)
    refused(folder, r"model\.safetensors is not a whole safetensors file")


def test_a_missing_tensor(gpt2):
    weights(gpt2, lambda t: t.pop("transformer.h.1.mlp.c_fc.bias"))
    refused(gpt2, r"the files have no h\.1\.mlp\.c_fc\.bias")


def test_many_missing_tensors(llama):
    edit(llama, num_hidden_layers=3)
    refused(
        llama,
        r"the files have no layers\.2\.input_layernorm\.weight, layers\.2\..* and 6 more, which config\.json asks",
    )


def test_an_extra_tensor(llama):
    weights(llama, lambda t: t.update({"model.layers.0.self_attn.q_norm.weight": torch.ones(4)}))
    refused(
        llama, r"the files have layers\.0\.self_attn\.q_norm\.weight, which the model of config\.json has no place for"
    )


def test_masks_of_old_files_are_passed_over_and_nothing_like_them(gpt2):
    weights(gpt2, lambda t: t.update({"transformer.h.0.attn.bias": torch.ones(1, 1, 32, 32)}))
    assert GPT.from_pretrained(gpt2).c.layers == 2
    weights(gpt2, lambda t: t.update({"transformer.h.0.mlp.bias": torch.ones(3)}))
    refused(gpt2, r"the files have h\.0\.mlp\.bias")


def test_a_tensor_of_another_shape(gpt2):
    weights(gpt2, lambda t: t.update({"transformer.h.0.attn.c_attn.weight": torch.ones(48, 16)}))
    refused(
        gpt2, r"transformer\.h\.0\.attn\.c_attn\.weight has the shape \[48, 16\], and config\.json asks for \[16, 48\]"
    )


def test_a_config_of_other_sizes(llama):
    edit(llama, vocab_size=50)
    refused(llama, r"model\.embed_tokens\.weight has the shape \[41, 16\], and config\.json asks for \[50, 16\]")


@pytest.mark.parametrize("dtype", [torch.int8, torch.float64, torch.float8_e4m3fn])
def test_a_tensor_of_another_dtype(gpt2, dtype):
    weights(gpt2, lambda t: t.update({"transformer.wte.weight": t["transformer.wte.weight"].to(dtype)}))
    refused(gpt2, r"transformer\.wte\.weight is stored as (I8|F64|F8_E4M3), not as F32, F16 or BF16")


def test_a_tied_head_that_is_another(gpt2):
    weights(gpt2, lambda t: t.update({"lm_head.weight": t["transformer.wte.weight"] + 1}))
    refused(gpt2, r"lm_head\.weight differs from transformer\.wte\.weight, but tie_word_embeddings says they are one")


def test_a_tensor_twice(gpt2):
    weights(gpt2, lambda t: t.update({"wte.weight": t["transformer.wte.weight"].clone()}))
    refused(gpt2, r"wte\.weight is there twice")


def shard(folder):
    tensors = sorted(load_file(folder / "model.safetensors").items())
    (folder / "model.safetensors").unlink()
    where = {}
    for i, part in enumerate((tensors[:5], tensors[5:])):
        save_file(dict(part), folder / f"model-0000{i + 1}-of-00002.safetensors")
        where |= {name: f"model-0000{i + 1}-of-00002.safetensors" for name, _ in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    return folder


def test_a_missing_shard(folder):
    (shard(folder) / "model-00002-of-00002.safetensors").unlink()
    refused(
        folder,
        r"holds no model-00002-of-00002\.safetensors, which model\.safetensors\.index\.json names",
        FileNotFoundError,
    )


def test_a_truncated_shard(folder):
    path = shard(folder) / "model-00001-of-00002.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    refused(folder, r"model-00001-of-00002\.safetensors is not a whole safetensors file")


@pytest.mark.parametrize("content", ["{}", '{"weight_map": 3}', "["])
def test_a_broken_index(folder, content):
    (shard(folder) / "model.safetensors.index.json").write_text(content)
    refused(folder, r"model\.safetensors\.index\.json (has no weight_map|is not JSON)")


# -- the call ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["fp8", "int8", "double", torch.float64, 32])
def test_another_dtype(folder, dtype):
    with pytest.raises(ValueError, match=f"dtype is fp32, fp16, bf16 or auto, not {dtype!r}"):
        GPT.from_pretrained(folder, dtype=dtype)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_a_device_that_is_not_there(folder):
    with pytest.raises(ValueError, match="torch finds no cuda device here: 'auto' takes what there is"):
        GPT.from_pretrained(folder, device="cuda")


def test_a_device_that_is_none(folder):
    with pytest.raises(ValueError, match="'gpu' is no device"):
        GPT.from_pretrained(folder, device="gpu")


def test_a_file_in_place_of_a_directory(folder):
    with pytest.raises(ValueError, match="is a file: give the directory that holds it and its config.json"):
        GPT.from_pretrained(folder / "model.safetensors")


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """No network and an empty cache, wherever the tests run."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


def test_a_hub_id_without_network(offline):
    with pytest.raises(FileNotFoundError) as caught:
        GPT.from_pretrained("nobody/no-such-model")
    says = str(caught.value)
    assert "'nobody/no-such-model'" in says and "\n" not in says
    assert "put its config.json, model.safetensors and tokenizer.json in a directory" in says


def cached(folder, tmp_path, name):
    """Move a directory to where the hub's library keeps what it has fetched."""
    home = tmp_path / "cache" / ("models--" + name.replace("/", "--"))
    (home / "refs").mkdir(parents=True)
    (home / "refs" / "main").write_text("c0ffee")
    (home / "snapshots" / "c0ffee").mkdir(parents=True)
    for file in [p for p in folder.iterdir() if p.is_file()]:
        file.rename(home / "snapshots" / "c0ffee" / file.name)
    return home / "snapshots" / "c0ffee"


def test_a_hub_id_in_the_cache_needs_no_network(offline, folder, tmp_path):
    cached(folder, tmp_path, "somebody/some-model")
    assert GPT.from_pretrained("somebody/some-model").c.layers == 2


def test_a_half_cached_hub_id_says_what_is_missing(offline, folder, tmp_path):
    (shard(folder) / "model-00002-of-00002.safetensors").unlink()
    refused_at = cached(folder, tmp_path, "somebody/some-model")
    with pytest.raises(FileNotFoundError, match=r"holds no model-00002-of-00002\.safetensors") as caught:
        GPT.from_pretrained("somebody/some-model")
    assert str(refused_at) in str(caught.value)


def test_no_pickle_is_fetched(folder, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    asked = []
    monkeypatch.setattr(hub, "snapshot_download", lambda name, allow_patterns: asked.append(allow_patterns) or folder)
    GPT.from_pretrained("somebody/some-model")
    names = ("config.json", "model.safetensors", "model-00001-of-00002.safetensors", "tokenizer.json", "merges.txt")
    assert all(any(fnmatch(name, pattern) for pattern in asked[0]) for name in names)
    for name in ("pytorch_model.bin", "tf_model.h5", "onnx/model.onnx", "original/consolidated.00.pth", "modeling.py"):
        assert not any(fnmatch(name, pattern) for pattern in asked[0])


def test_what_cannot_be_a_hub_id(offline, tmp_path):
    for source in (tmp_path / "nowhere", "./nowhere", "a/b/c", "two words"):
        with pytest.raises(FileNotFoundError, match="not a directory, and it cannot be a hub id"):
            GPT.from_pretrained(source)


def test_a_misspelt_bundled_name(offline, monkeypatch, folder, tmp_path):
    from minipeft import checkpoint

    (tmp_path / "models" / "mini-gpt2").mkdir(parents=True)
    (tmp_path / "models" / "mini-gpt2" / "config.json").write_text("{}")
    monkeypatch.setattr(checkpoint, "BUNDLED", tmp_path / "models")
    for source in ("minigpt2", "mini-gpt", "Mini-GPT2"):
        with pytest.raises(FileNotFoundError, match=f"no model is called '{source}': did you mean 'mini-gpt2'?"):
            GPT.from_pretrained(source)
