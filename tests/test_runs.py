"""A series of runs in a file: each done once, none lost, whatever breaks it off."""

from functools import partial

import pytest

from minipeft import compare
from minipeft.runs import carry_on, cell, read

FIELDS = ("name", "n", "square")
JOBS = [("a", 1), ("a", 2), ("b", 1), ("b", 3)]


def square(job, done=None, stop_at=None):
    if job == stop_at:
        raise KeyboardInterrupt
    if done is not None:
        done.append(job)
    return {"name": job[0], "n": job[1], "square": job[1] ** 2}


def series(path, jobs=JOBS, **how):
    return carry_on(path, FIELDS, jobs, partial(square, **how), "squares", workers=1)


def test_a_series_that_is_broken_off_goes_on_where_it_was(tmp_path):
    path, first, second = tmp_path / "new" / "runs.csv", [], []
    with pytest.raises(KeyboardInterrupt):
        series(path, done=first, stop_at=("b", 1))
    assert list(read(path, 2)) == [("a", "1"), ("a", "2")]

    assert series(path, done=second) == 2
    assert first + second == JOBS
    assert [line["square"] for line in read(path, 2).values()] == ["1", "4", "1", "9"]
    assert series(path, stop_at=("a", 1)) == 0  # nothing is done twice
    assert series(path, jobs=[]) == 0


@pytest.mark.parametrize("left", [1, 3, 5])
def test_a_line_that_was_cut_short_is_done_again(left, tmp_path):
    path, again = tmp_path / "runs.csv", []
    series(path)
    whole = path.read_bytes()
    start = whole[:-2].rfind(b"\n") + 1
    path.write_bytes(whole[: start + left])  # of `b,3,9`, even where what is left looks like a line
    assert len(read(path, 2)) == 3
    assert series(path, done=again) == 1 and again == [("b", 3)]
    assert path.read_bytes() == whole


def test_a_file_that_holds_something_else_is_left_alone(tmp_path):
    path = tmp_path / "runs.csv"
    path.write_text("name,square\na,1\n")
    with pytest.raises(ValueError, match="has the columns name,square, not name,n,square"):
        series(path)
    assert path.read_text() == "name,square\na,1\n"


def test_two_processes_write_what_one_does(tmp_path):
    plan = compare.Plan(tmp_path, models=["mini-llama"], methods=["lora"], tasks=["kind"])
    fields = (*compare.COST, *compare.SPENT, "note")
    work = partial(compare.cost, rounds=1)
    found = []
    for workers in (1, 2):
        path = tmp_path / f"{workers}.csv"
        assert carry_on(path, fields, plan.costs(), work, "costs", workers) == 2
        found.append({job: line["kept_bytes"] for job, line in read(path, len(compare.COST)).items()})
    assert found[0] == found[1]


def test_what_several_runs_say():
    assert cell([]) == "–" and cell([3.4]) == "3" and cell([1.0, 2.0, 3.0], 1) == "2.0 ± 1.0"
