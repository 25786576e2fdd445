"""The comparison on a small scale: what it writes, what it does again, what it chooses and counts."""

import csv
import math
from pathlib import Path

import pytest

from minipeft import cli, compare, delta, report, tasks, train
from minipeft.additive import ipt
from minipeft.catalog import CATALOG
from minipeft.gpt import GPT
from minipeft.runs import read

SMALL = ("--models", "mini-llama", "--methods", "lora", "--tasks", "kind", "--seeds", "0", "--workers", "1")


def run(capsys, out, *words):
    code = cli.main(["compare", "--out", str(out), *SMALL, "--steps", "2", "--batch", "4", *words])
    return code, *capsys.readouterr()


def write(path, fields, lines):
    with path.open("w", newline="") as file:
        rows = csv.DictWriter(file, fields)
        rows.writeheader()
        rows.writerows(lines)


def fake(plan, accuracy, few=False):
    """runs.csv and costs.csv as they would be: accuracy(model, method, task, seed) in per cent."""
    lines = []
    for job in plan.runs() + (plan.runs(few=True) if few else []):
        line = dict(zip(compare.RUN, job, strict=True)) | {"perplexity": 2.0 * 10 ** job[3], "loss": 1, "seconds": 3}
        line["accuracy"] = line["ood"] = accuracy(*job[:4]) / 100
        if job[1] != "base":
            line |= {"trainable": 100 * 2 ** (len(job[1]) / 2), "changed": 100, "rank": 8, "saved_bytes": 1000}
            line |= {"steps_done": plan.steps, "fit_seconds": 2}
        lines.append(line)
    write(plan.out / "runs.csv", (*compare.RUN, *compare.FOUND, "fit_seconds", "seconds", "note"), lines)
    spent = [
        dict(zip(compare.COST, job, strict=True))
        | {"kept_bytes": 1e6 * (5 + len(job[1]) % 4), "step": 0.6 + 0.05 * len(job[1]), "inference": 1.0}
        for job in plan.costs()
    ]
    write(plan.out / "costs.csv", (*compare.COST, *compare.SPENT, "note"), spent)


def test_what_is_there_is_kept_and_what_is_missing_is_done(tmp_path, capsys):
    code, text, err = run(capsys, tmp_path)
    assert code == 0, err
    assert "comparison.md" in text
    lines = list(csv.DictReader((tmp_path / "runs.csv").open()))
    assert [line["method"] for line in lines] == ["base", "full", "lora"]
    assert {line["rank"] for line in lines} == {"", "96", "8"} and lines[2]["trainable"] == "10752"
    assert lines[2]["lr"] == "0.01" and lines[2]["steps_done"] == "2" and not any(line["note"] for line in lines)
    assert len(list(csv.DictReader((tmp_path / "costs.csv").open()))) == 2
    page = (tmp_path / "comparison.md").read_text()
    assert "3 of 3 are done" in page and str(tmp_path) not in page
    for file in report.PLOTS:
        assert file in page and (tmp_path / file).read_bytes().startswith(b"\x89PNG")

    runs, costs = ((tmp_path / name).read_bytes() for name in ("runs.csv", "costs.csv"))
    (tmp_path / "runs.csv").write_bytes(runs[:-5])  # as if it had been killed while writing
    assert run(capsys, tmp_path)[0] == 0
    again = (tmp_path / "runs.csv").read_bytes()
    kept = runs[:-2].rfind(b"\n")
    assert again[:kept] == runs[:kept] and (tmp_path / "costs.csv").read_bytes() == costs
    timed = ("seconds", "fit_seconds")
    assert [line | dict.fromkeys(timed) for line in csv.DictReader(again.decode().splitlines())] == [
        line | dict.fromkeys(timed) for line in lines
    ]  # and a run gives the same numbers every time


def test_a_run_that_is_interrupted_leaves_no_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(compare, "fit", lambda *_, **__: train.Fit(interrupted=True))
    code, _, err = run(capsys, tmp_path)
    assert code == 130 and err == "interrupted\n"
    assert [job[1] for job in read(tmp_path / "runs.csv", len(compare.RUN))] == ["base"]


def test_trials_look_at_validation_data_alone_and_runs_take_what_they_found(tmp_path, capsys, monkeypatch):
    splits = []

    def evaluate(model, task, split="test"):
        splits.append(split)
        return train.evaluate(model, task, split)

    monkeypatch.setattr(compare, "evaluate", evaluate)
    monkeypatch.setattr(compare, "RATES", (1e-3, 3e-2))
    assert run(capsys, tmp_path, "--search")[0] == 0
    assert splits == ["valid"] * 4 and not (tmp_path / "runs.csv").exists()
    plan = compare.Plan(tmp_path, ["mini-llama"], ["lora"], ["kind"], [0], steps=2, batch=4)
    trials = read(tmp_path / "search.csv", len(compare.TRIAL))
    losses = {job[5]: float(line["loss"]) for job, line in trials.items() if job[1] == "lora"}
    assert str(plan.rates()["mini-llama", "lora", "kind"]) == min(losses, key=losses.get)


def test_the_rate_of_the_lowest_loss_once_all_are_tried(tmp_path):
    plan = compare.Plan(tmp_path, ["mini-llama"], ["lora", "bitfit"], ["kind", "who"])
    losses = dict(zip(compare.RATES, [2.0, 1.5, math.inf, 0.5, 0.7, math.inf], strict=True))
    lines = [dict(zip(compare.TRIAL, job, strict=True)) | {"loss": losses[job[-1]]} for job in plan.trials()]
    where = {("lora", "kind"): 1e-2, ("lora", "who"): 1e-2, ("bitfit", "kind"): 1e-2, ("bitfit", "who"): 1e-2}
    fields = (*compare.TRIAL, "loss", "seconds")
    write(tmp_path / "search.csv", fields, lines)
    assert {job[1:]: rate for job, rate in plan.rates().items() if job[1] != "full"} == where
    assert plan.rates()["mini-llama", "full", "who"] == 1e-2
    assert {job[-1] for job in plan.runs()} == {0, 1e-2}

    write(tmp_path / "search.csv", fields, lines[1:])  # a trial of full fine-tuning on kind is missing
    assert plan.rates()["mini-llama", "full", "kind"] == compare.FullFineTuning.lr
    write(tmp_path / "search.csv", fields, [line | {"steps": 7} for line in lines])  # trials of another training
    assert plan.rates()["mini-llama", "full", "who"] == compare.FullFineTuning.lr
    write(tmp_path / "search.csv", fields, [line | {"loss": math.inf} for line in lines])
    assert plan.rates()["mini-llama", "full", "who"] == compare.FullFineTuning.lr


def test_every_method_gets_the_same_trials_and_a_run_each():
    plan = compare.Plan(Path("nowhere"))
    assert len(compare.RATES) >= 6 and compare.TRIAL_SEED not in plan.seeds
    names = ["full", *(row.name for row in CATALOG)]
    for jobs, each in ((plan.trials(), 2 * 5 * 6), (plan.runs(), 2 * 5 * 3), (plan.runs(few=True), 2 * 5 * 3 * 2)):
        assert {name: sum(job[1] == name for job in jobs) for name in names} == dict.fromkeys(names, each)
        assert len(set(jobs)) == len(jobs)
    assert {job[4] for job in plan.runs(few=True)} == {16, 64} == set(compare.FEW)


def test_a_method_that_refuses_gives_its_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(compare, "OPTIONS", {})
    plan = compare.Plan(tmp_path, ["mini-llama"], ["bitfit"], ["kind"], [0], steps=1, batch=4)
    compare.compare(plan, workers=1)
    line = next(line for line in csv.DictReader((tmp_path / "runs.csv").open()) if line["method"] == "bitfit")
    assert "no biases" in line["note"] and line["accuracy"] == ""
    page = report.write(plan).read_text()
    assert "- `bitfit`: this model has no biases" in page and "0 of 0 methods gain" in page


def test_a_subspace_that_was_taken_away_is_missed(tmp_path):
    """The committed results name subspaces, and don't hold them."""
    plan = compare.Plan(tmp_path, ["mini-llama"], ["ipt"], ["kind"], [1], steps=1, batch=4)
    (job,) = plan.spaces()
    write(
        tmp_path / "subspaces.csv",
        (*compare.SPACE, "steps_done", "seconds"),
        [dict(zip(compare.SPACE, job, strict=True))],
    )
    with pytest.raises(ValueError, match="delete the file, and the subspaces are learnt again"):
        compare.compare(plan)
    assert [file.name for file in tmp_path.iterdir()] == ["subspaces.csv"]


def test_ipt_finds_its_numbers_in_the_subspace_of_the_other_tasks(tmp_path, monkeypatch):
    monkeypatch.setattr(ipt, "NAMES", ("kind", "who"))
    fitted = []

    def fit(model, method, *args, **numbers):
        fitted.append((model, method))
        return real(model, method, *args, **numbers)

    real = compare.fit
    monkeypatch.setattr(compare, "fit", fit)
    plan = compare.Plan(tmp_path, ["mini-llama"], ["ipt"], ["kind"], [1], steps=1, batch=4)
    compare.compare(plan, workers=1)
    (line,) = csv.DictReader((tmp_path / "subspaces.csv").open())
    assert line["steps_done"] == "3"  # a prompt for who, the subspace, z
    (model,) = (model for model, method in fitted if isinstance(method, ipt.IPT) and method.subspace)
    before = delta.load(GPT.from_pretrained("mini-llama"), compare.space(tmp_path, plan.spaces()[0]))
    mine, theirs = model.trunk.prompt.state_dict(), before.trunk.prompt.state_dict()
    assert all(mine[name].equal(theirs[name]) for name in mine if name != "z") and not mine["z"].equal(theirs["z"])


def test_a_gain_is_more_than_ten_points_and_two_spreads(tmp_path):
    plan = compare.Plan(tmp_path, ["mini-gpt2"], ["lora", "bitfit"], ["kind", "who", "where"])
    accuracies = {  # seeds 0, 1, 2 on each task; the base is at 50
        "lora": {"kind": (61, 61, 61), "who": (60, 60, 60), "where": (70, 80, 90)},  # of spread 0, 0, 10
        "bitfit": {"kind": (55, 65, 75), "who": (100, 70, 40), "where": (62, 60, 64)},  # 10, 30, 2
    }
    fake(plan, lambda _, method, task, seed: accuracies.get(method, {}).get(task, (50, 50, 50))[seed])
    found = report.Results(plan)
    assert found.gains("mini-gpt2", "lora") == ["kind", "where"]
    assert found.gains("mini-gpt2", "bitfit") == ["where"] and found.gains("mini-gpt2", "full") == []
    page = report.write(plan).read_text()
    assert "| lora | 61 ± 0 | 60 ± 0 | 80 ± 10 | 67 | 2 of 3 |" in page
    assert page.count("| 20 |") == 3  # the geometric mean of perplexities 2, 20, 200; the base has one run a task
    assert "0 of 2 methods gain on at least 3 of the 3 tasks. Those that don't: lora, bitfit." in page


def test_a_page_of_everything(tmp_path):
    plan = compare.Plan(tmp_path)
    fake(plan, lambda model, method, task, seed: 30 + 5 * len(method) % 60 + seed, few=True)
    page = report.write(plan).read_text()
    for model in plan.models:
        part = page.split(f"## {model}\n")[1].split("\n## ")[0]
        for name in ("base", "full", *compare.METHODS):
            assert part.count(f"| {name} |") == (4 if name == "base" else 5), name
    assert "nan" not in page and "from few examples" in page


def test_a_page_of_nothing(tmp_path):
    page = report.write(compare.Plan(tmp_path / "new")).read_text()
    assert "0 of" in page and "nan" not in page and "png" not in page


def test_stories_fit_into_every_model():
    longest = max(len(story.tokens) for story in compare.stories())
    for model in compare.pretrain.MODELS:
        plain = GPT.from_pretrained(model)
        for name in compare.METHODS:
            if name not in ("ipt", "bitfit"):
                carried = compare.make(model, name).attach(GPT.from_pretrained(model))
                assert longest < carried.room <= plain.room, name


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--models", "gpt2"], "no model to compare is called 'gpt2'; there are mini-gpt2, mini-llama"),
        (["--methods", "lora", "lorra"], "no method to compare is called 'lorra'"),
        (["--tasks", "were"], "no task to compare is called 'were'"),
        (["--tasks", "who", "who"], "each task is compared once"),
        (["--seeds", "1", "1"], "each seed is compared once"),
        (["--steps", "0"], "steps and batch are at least 1, not 0"),
        (["--workers", "0"], "--workers is at least 1, not 0"),
    ],
    ids=lambda x: x[-1] if isinstance(x, list) else None,
)
def test_a_mistake_is_one_sentence_and_nothing_is_written(words, sentence, tmp_path, capsys):
    code = cli.main(["compare", "--quick", "--out", str(tmp_path / "out"), *words])
    err = capsys.readouterr().err
    assert code == 2 and sentence in err and err.count("\n") == 1 and not list(tmp_path.iterdir())


def test_help_is_complete(capsys):
    with pytest.raises(SystemExit):
        cli.main(["compare", "--help"])
    text = capsys.readouterr().out
    for flag in ("--out", "--models", "--quick", "--search", "--low-data", "--page", "--workers", "examples:"):
        assert flag in text
    assert len(compare.TASKS) == 5 and set(compare.TASKS) <= set(tasks.NAMES)  # the help says five
