"""minipeft: parameter-efficient fine-tuning, built from scratch.

    from minipeft import GPT, LoRA, counts, fit, merge, save, tasks

    model = GPT.from_pretrained("mini-gpt2")
    fit(model, LoRA(rank=8), tasks.load("sentiment"))
    print(counts(model))

Each name below is imported from its home when it is first asked for: `import minipeft` alone does not wait for torch.
"""

from importlib import import_module

__version__ = "0.1.0"

HOMES = {
    "GPT": "gpt",
    "Config": "gpt",
    "Method": "method",
    "FullFineTuning": "method",
    "fit": "train",
    "evaluate": "train",
    "counts": "measure",
    "save": "delta",
    "load": "delta",
    "merge": "surgery",
    "detach": "surgery",
}


def __getattr__(name: str):
    """One of the names above, or a method of the catalog by the name of its class."""
    if name in HOMES:
        return getattr(import_module(f".{HOMES[name]}", __name__), name)
    if name[0].isupper():
        for row in import_module(".catalog", __name__).CATALOG:
            if row.method.__name__ == name:
                return row.method
    raise AttributeError(f"minipeft has no {name!r}")


def __dir__() -> list[str]:
    methods = {row.method.__name__ for row in import_module(".catalog", __name__).CATALOG}
    return sorted({*globals(), *HOMES, *methods})
