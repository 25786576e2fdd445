"""The command line as its users meet it: what it prints, what it leaves on the disk, its exit codes."""

import json
import os
import subprocess
import sys

import pytest

from minipeft import cli
from minipeft.catalog import CATALOG


def run(capsys, *words) -> tuple[int, str, str]:
    try:
        code = cli.main([str(w) for w in words])
    except SystemExit as end:
        code = end.code
    out, err = capsys.readouterr()
    return code, out, err


def files(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*"))


def test_finetune_then_generate(tmp_path, capsys):
    out = tmp_path / "lora"
    common = ("finetune", "--model", "mini-llama", "--task", "where", "--examples", 64, "--batch", 4)
    code, text, err = run(capsys, *common, "--method", "lora", "--set", "rank=2", "--steps", 3, "--out", out)
    assert code == 0, err
    assert files(out) == ["delta.json", "delta.safetensors"]
    assert json.loads((out / "delta.json").read_text())["methods"][0]["numbers"]["rank"] == 2
    for word in ("before", "after", "loss", "accuracy", "trainable", "changed", "rank 2", "kB saved", "3 steps"):
        assert word in text, word

    written = (out / "delta.safetensors").read_bytes()
    code, _, err = run(capsys, *common, "--method", "lora", "--steps", 3, "--out", out)
    assert code == 2 and "--overwrite" in err and (out / "delta.safetensors").read_bytes() == written

    said = run(capsys, "generate", "--model", "mini-llama", "--delta", out, "--prompt", "anna is", "--max", 5)
    assert said[0] == 0 and said[1].startswith("anna is")
    code, _, err = run(capsys, "generate", "--model", "mini-gpt2", "--delta", out, "--prompt", "anna is")
    assert code == 2 and "another base" in err


@pytest.mark.parametrize("row", CATALOG, ids=lambda row: row.name)
def test_every_method_can_be_asked_for(row, tmp_path, capsys):
    words = ("finetune", "--task", "colour", "--examples", 32, "--steps", 2, "--batch", 4)
    code, text, err = run(capsys, *words, "--method", row.name, "--out", tmp_path / "it")
    assert code == 0 and "trainable" in text, err


def test_own_data(tmp_path, capsys):
    mine = tmp_path / "mine.jsonl"
    mine.write_text(
        "\n".join(json.dumps({"prompt": f"{w} {n}:", "completion": w}) for w in "abcdefg" for n in range(9))
    )
    code, text, err = run(
        capsys, "finetune", "--data", mine, "--method", "bitfit", "--steps", 2, "--batch", 4, "--out", tmp_path / "it"
    )
    assert code == 0 and "accuracy" in text, err

    mine.write_text('{"prompt": "a", "completion": "b"}\n{"prompt": "a"}\n')
    code, _, err = run(capsys, "finetune", "--data", mine, "--method", "lora", "--out", tmp_path / "not")
    assert code == 2 and "line 2" in err and not (tmp_path / "not").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["finetune", "--task", "where", "--method", "lorra"], "no method is called 'lorra'"),
        (["finetune", "--task", "were", "--method", "lora"], "no task is called 'were'"),
        (["finetune", "--task", "where", "--method", "lora", "--set", "rnk=3"], "rank=..."),
        (["finetune", "--task", "where", "--method", "lora", "--set", "rank=0"], "rank"),
        (["finetune", "--task", "where", "--method", "lora", "--set", "to=attn.qq"], "attn.qq"),
        (["finetune", "--task", "where", "--method", "bitfit", "--model", "mini-llama"], "no biases"),
        (["finetune", "--task", "where", "--method", "lora", "--batch", "6", "--accumulate", "4"], "multiple"),
        (["finetune", "--data", "nowhere.jsonl", "--method", "lora"], "nowhere.jsonl"),
        (["finetune", "--model", "mini-gtp2", "--task", "where", "--method", "lora"], "mini-gpt2"),
    ],
    ids=lambda x: x[-1] if isinstance(x, list) else None,
)
def test_a_mistake_is_one_sentence_and_nothing_is_written(words, sentence, tmp_path, capsys):
    code, _, err = run(capsys, *words, "--out", tmp_path / "out", "--steps", 1)
    assert code == 2 and sentence in err and err.count("\n") == 1 and "Traceback" not in err
    assert not files(tmp_path)


def test_lists_and_descriptions(capsys):
    code, text, _ = run(capsys, "methods")
    assert code == 0 and all(row.name in text for row in CATALOG) and "rank=8" in text
    code, text, _ = run(capsys, "tasks")
    assert code == 0 and text.count("→") >= 12
    code, text, _ = run(capsys, "model", "--model", "mini-llama")
    assert code == 0 and "llama style" in text and "kv_heads" in text


def test_tokens_says_what_was_spelt(tmp_path, capsys):
    text = tmp_path / "text"
    text.write_text("anna has a zebra")
    code, out, _ = run(capsys, "tokens", text)
    assert code == 0 and "anna" in out and "25.0%" in out


def test_help_is_complete(capsys):
    code, text, _ = run(capsys, "--help")
    assert code == 0
    for name in "finetune compare generate methods tasks lab check hint reset watch progress".split():
        assert name in text
    code, text, _ = run(capsys, "finetune", "--help")
    assert code == 0 and "examples:" in text and "--recompute" in text


def test_from_another_directory_and_into_a_closed_pipe(tmp_path):
    env = os.environ | {"PYTHONPATH": os.pathsep.join([os.getcwd(), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        f"{sys.executable} -m minipeft.cli methods | head -n 1", shell=True, cwd=tmp_path, env=env, capture_output=True
    )
    assert done.stdout.count(b"\n") == 1 and done.stderr == b""
