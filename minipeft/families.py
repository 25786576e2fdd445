"""What GPT-2's and LLaMA's files call the numbers and the parts of a GPT.

The two families say the same things in other words, and all there is to translate stands in these tables.  GPT-2 has
two habits besides: it keeps q, k and v in one tensor, one above the other, and the matrices of its blocks transposed.
What a file asks for and our model doesn't do is refused by name, never ignored.
"""

import re
from collections.abc import Mapping

import torch

from .gpt import GPT, LLAMA3, Config
from .surgery import inside, layer

STYLES = ("gpt2", "llama")  # the columns of the tables; `model_type` in config.json

# fmt: off
KEYS = {        # our number: its key in config.json
    "vocab":      ("vocab_size",          "vocab_size"),
    "context":    ("n_positions",         "max_position_embeddings"),
    "layers":     ("n_layer",             "num_hidden_layers"),
    "heads":      ("n_head",              "num_attention_heads"),
    "width":      ("n_embd",              "hidden_size"),
    "hidden":     ("n_inner",             "intermediate_size"),
    "kv_heads":   (None,                  "num_key_value_heads"),
    "head_width": (None,                  "head_dim"),
    "eps":        ("layer_norm_epsilon",  "rms_norm_eps"),
    "tied":       ("tie_word_embeddings", "tie_word_embeddings"),
    "attn_bias":  (None,                  "attention_bias"),
    "mlp_bias":   (None,                  "mlp_bias"),
}
PARTS = {       # our part: the one it lies in
    "tokens":     ("wte",                 "embed_tokens"),
    "positions":  ("wpe",                 None),
    "norm1":      ("ln_1",                "input_layernorm"),
    "attn.q":     ("attn.c_attn",         "self_attn.q_proj"),
    "attn.k":     ("attn.c_attn",         "self_attn.k_proj"),
    "attn.v":     ("attn.c_attn",         "self_attn.v_proj"),
    "attn.o":     ("attn.c_proj",         "self_attn.o_proj"),
    "norm2":      ("ln_2",                "post_attention_layernorm"),
    "mlp.gate":   (None,                  "mlp.gate_proj"),
    "mlp.up":     ("mlp.c_fc",            "mlp.up_proj"),
    "mlp.down":   ("mlp.c_proj",          "mlp.down_proj"),
    "norm":       ("ln_f",                "norm"),
    "head":       ("lm_head",             "lm_head"),
}
BLOCKS =          ("h.{}.",               "layers.{}.")     # goes before the parts of a block
PREFIX =          ("transformer.",        "model.")         # goes before all but the head; some files leave it out
CLASS =           ("GPT2LMHeadModel",     "LlamaForCausalLM")

EPS =             (1e-5,                  1e-6)             # the usual one, where config.json doesn't say
NEEDED = {      # what it must say
    "gpt2": ("vocab", "context", "layers", "heads", "width"),
    "llama": ("vocab", "context", "layers", "heads", "width", "hidden"),
}
KINDS = {"eps": (float, int), "tied": (bool,), "attn_bias": (bool,), "mlp_bias": (bool,)}  # all others: int

DONE = {        # what our model does of the options there are; the first value is the usual one
    "gpt2": {
        "activation_function": ("gelu_new", "gelu_pytorch_tanh"),
        "scale_attn_weights": (True,),
        "scale_attn_by_inverse_layer_idx": (False,),
        "reorder_and_upcast_attn": (False,),
        "add_cross_attention": (False,),
        "quantization_config": (None,),
    },
    "llama": {
        "hidden_act": ("silu",),
        "partial_rotary_factor": (None, 1),
        "sliding_window": (None,),
        "quantization_config": (None,),
    },
}
# fmt: on
HEAD = "lm_head.weight"
# what old files carry along, computed from config.json and no weight: causal masks, the speeds of rotary positions
COMPUTED = re.compile(r"h\.\d+\.attn\.(masked_)?bias|layers\.\d+\.self_attn\.rotary_emb\.inv_freq")


def layout(model: GPT) -> dict[str, list[str]]:
    """{a tensor's name in the file, without PREFIX: our parameters that lie in it, one above the other}"""
    column = STYLES.index(model.c.style)
    tensors: dict[str, list[str]] = {}
    for name, _ in model.named_parameters():
        part, key = name.rsplit(".", 1)
        block = "" if layer(part) is None else BLOCKS[column].format(layer(part))
        tensors.setdefault(f"{block}{PARTS[inside(part)][column]}.{key}", []).append(name)
    return tensors


def transposed(name: str) -> bool:
    """GPT-2's blocks compute x W where all others compute W x."""
    return ".c_" in name and name.endswith(".weight")


def read(raw: Mapping) -> Config:
    """What config.json says, as our Config.  Raises ValueError for what our model doesn't do and for bad values."""
    style = raw.get("model_type")
    if style not in STYLES:
        raise ValueError(f"model_type is {style!r}, and this model is {' or '.join(STYLES)}")
    for option, done in DONE[style].items():
        if (value := raw.get(option, done[0])) not in done:
            raise ValueError(f"{option} = {value!r} is not implemented, only {done[0]!r} is")
    column = STYLES.index(style)
    numbers = {"eps": EPS[column]}
    for ours, row in KEYS.items():
        theirs, value = row[column], raw.get(row[column])
        if value is None and ours in NEEDED[style]:
            raise ValueError(f"{theirs} is missing")
        if value is not None:
            kinds = KINDS.get(ours, (int,))
            if type(value) not in kinds:
                raise ValueError(f"{theirs} must be of type {kinds[0].__name__}, not {value!r}")
            numbers[ours] = value
    return Config(style=style, **numbers, **(_rope(raw) if style == "llama" else {}))


def _rope(raw: Mapping) -> dict:
    """Rotary positions, as transformers 5 writes them (rope_parameters) or as before (rope_theta, rope_scaling)."""
    given = raw.get("rope_scaling") or raw.get("rope_parameters") or {}
    if not isinstance(given, Mapping):
        raise ValueError(f"rope_scaling must be an object, not {given!r}")
    base = given.get("rope_theta") or raw.get("rope_theta") or 10_000.0
    if type(base) not in (float, int):
        raise ValueError(f"rope_theta must be a number, not {base!r}")
    kind = given.get("rope_type") or given.get("type") or "default"
    if kind not in ("default", "llama3"):
        raise ValueError(f"rope type {kind!r} is not implemented, only 'default' and 'llama3' are")
    numbers = {k: v for k, v in given.items() if k not in ("rope_theta", "rope_type", "type")}
    if numbers.get("partial_rotary_factor") == 1:
        del numbers["partial_rotary_factor"]
    if extra := sorted(numbers.keys() - set(LLAMA3 if kind == "llama3" else ())):
        raise ValueError(f"{', '.join(extra)} with rope type {kind!r} is not implemented")
    return {"rope_base": float(base), "rope_scaling": numbers if kind == "llama3" else None}


def write(c: Config, dtype: torch.dtype) -> dict:
    """The content of config.json, in words that all versions of transformers know."""
    column = STYLES.index(c.style)
    raw = {
        "architectures": [CLASS[column]],
        "model_type": c.style,
        **{row[column]: getattr(c, ours) for ours, row in KEYS.items() if row[column]},
        **{option: done[0] for option, done in DONE[c.style].items() if done[0] is not None},
        "torch_dtype": str(dtype).removeprefix("torch."),
    }
    if c.style == "gpt2":
        return raw | dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), 0.0)
    scaling = {"rope_type": "llama3", **c.rope_scaling} if c.rope_scaling else None
    return raw | {"rope_theta": c.rope_base, "rope_scaling": scaling}
