"""The exercises of lesson 23, comparing, and their checks."""

import math
import statistics

import torch
from torch import Tensor

from minipeft.course.exercise import exercise
from minipeft.course.judge import Case, same
from minipeft.measure import rank


def eighths(x: Tensor) -> Tensor:
    """Numbers whose sums are exact, so that a change is exactly what was added."""
    return (8 * x).round() / 8


def reference_change_counts(before: list[Tensor], after: list[Tensor]) -> tuple[int, int]:
    changed = top = 0
    for old, new in zip(before, after, strict=True):
        changed += sum(a != b for a, b in zip(old.flatten().tolist(), new.flatten().tolist(), strict=True))
        if old.ndim == 2:
            top = max(top, rank(new.double() - old.double()))
    return changed, top


@exercise(
    "23.1",
    "Two counts of a change",
    difficulty=2,
    minutes=10,
    points=6,
    reference=reference_change_counts,
    hints=(
        "What is the change of one parameter? And which of the two counts looks at single numbers, which at a matrix?",
        "Take after - before of each. Count the numbers in it that are not zero, whatever they are. The rank is that of "
        "the difference, for the matrices alone; of several ranks the largest is asked for.",
        "changed = sum(int((new - old).count_nonzero()) ...), rank = max(... torch.linalg.matrix_rank(new - old) ...)",
    ),
)
def test_change_counts(submission, cases):
    for case in cases("d_out d_in", r=2, not_a_side=3):
        W, bias, norm, square, other = (
            eighths(case(axes)) for axes in ("d_out d_in", "d_out", "d_in", "d_in d_in", "d_out d_out")
        )
        low = eighths(case("d_out r")) @ eighths(case("r d_in"))
        row = torch.zeros_like(W)
        row[case.integer(0, 2)] = eighths(case("d_in")).abs() + 1  # one row, all of whose numbers change
        few = torch.zeros_like(bias)
        few[case.integer(0, 2)] = -1
        same(
            submission.change_counts,
            reference_change_counts,
            before=[W, bias, W, norm, W, square, other],
            after=[W + row, bias + few, W + low, norm, W, square, other],
        )
        same(submission.change_counts, reference_change_counts, before=[bias, W], after=[bias + few, W])
        same(submission.change_counts, reference_change_counts, before=[norm, bias], after=[norm + 0.25, bias])
        same(submission.change_counts, reference_change_counts, before=[bias, W], after=[bias, W])


def shuffled(case: Case, items: list) -> list:
    places = sorted(range(len(items)), key=lambda _: case.number(0, 1))
    return [items[i] for i in places]


def reference_pick(rates: list[float], valid: list[list[float]], test: list[list[float]]) -> tuple[float, float]:
    means = [statistics.mean(losses) if all(map(math.isfinite, losses)) else math.inf for losses in valid]
    best = means.index(min(means))
    return rates[best], statistics.mean(test[best])


@exercise(
    "23.2",
    "Find the mistakes: the pick of a learning rate",
    difficulty=2,
    minutes=10,
    points=4,
    reference=reference_pick,
    hints=(
        "Who has looked at the test data before the method was finished? And whose accuracy is it that is reported?",
        "Choose by the mean validation loss of the rates whose losses are all finite; report the mean of the test "
        "accuracies over the seeds, at this rate.",
        "best = min((i for i in range(len(rates)) if ...), key=lambda i: sum(valid[i]))",
    ),
)
def test_fair_pick(submission, cases):
    for case in cases(count=4):
        seeds = case.integer(3, 4)

        def some(low: float, high: float, case=case, seeds=seeds) -> list[float]:
            return [case.number(low, high) for _ in range(seeds)]

        right, lucky, lucky_test, good_test, high, plain, broken = (
            [some(a, b), some(c, d)]
            for a, b, c, d in (
                (0.4, 0.5, 0.4, 0.6),  # the lowest mean
                (0.8, 0.9, 0.3, 0.4),  # one of its seeds will have the lowest loss
                (1.0, 1.1, 0.2, 0.3),  # one the highest accuracy
                (1.1, 1.2, 0.7, 0.8),  # the highest mean accuracy
                (3.0, 4.0, 0.1, 0.2),
                (0.6, 0.9, 0.4, 0.6),
                (0.1, 0.1, 0.5, 0.6),
            )
        )
        lucky[0][case.integer(0, seeds - 1)] = case.number(0.1, 0.2)
        lucky_test[1][case.integer(0, seeds - 1)] = case.number(0.9, 0.95)
        broken[0][case.integer(0, seeds - 1)] = (math.nan, math.inf)[case.integer(0, 1)]
        rows = shuffled(case, [right, lucky, lucky_test, good_test, high, plain, broken])
        rates = [3e-4 * 10 ** (i / 2) for i in range(len(rows))]
        valid, test = map(list, zip(*rows, strict=True))
        same(submission.fair_pick, reference_pick, rates=rates, valid=valid, test=test)
        same(submission.fair_pick, reference_pick, rates=rates[::-1], valid=valid, test=test)
        first = [some(0.1, 0.2), *valid]  # another training that broke
        first[0][-1] = math.nan
        same(submission.fair_pick, reference_pick, rates=[1e-4, *rates], valid=first, test=[some(0.5, 0.6), *test])


def reference_separation(a: list[float], b: list[float]) -> float:
    error = statistics.variance(a) / len(a) + statistics.variance(b) / len(b)
    return (statistics.mean(a) - statistics.mean(b)) / error**0.5


@exercise(
    "23.3",
    "More than chance?",
    difficulty=1,
    minutes=10,
    points=4,
    reference=reference_separation,
    hints=(
        "The difference is in the numerator. How far would it move if all was done again with other seeds?",
        "The mean of n seeds has the squared error s^2 / n. The squared errors of two means add up to that of their "
        "difference. s^2 divides by n - 1, as statistics.variance does.",
        "return (mean(a) - mean(b)) / math.sqrt(variance(a) / len(a) + ...)",
    ),
)
def test_separation(submission, cases):
    for case in cases(count=4):
        # far enough from each other that fp32 will do for their variance
        a = [case.number(low, low + 0.05) for low in (0.3, 0.45, 0.37)[: case.integer(2, 3)]]
        b = [case.number(0.6, 0.9) for _ in range(case.integer(4, 6))]
        same(submission.separation, reference_separation, a=b, b=a)
        same(submission.separation, reference_separation, a=a, b=b)
        same(submission.separation, reference_separation, a=a, b=[0.5, 0.5])  # both seeds alike


def reference_fits(
    memory: int, texts: int, base_bytes: float, frozen: list[int], trained: list[int], kept: list[int], accuracy: list[float]
) -> int:
    def need(i: int) -> float:
        weights = frozen[i] * base_bytes + 4 * trained[i]
        gradients, adam = 4 * trained[i], 2 * 4 * trained[i]
        return weights + gradients + adam + texts * kept[i]

    order = sorted(range(len(accuracy)), key=lambda i: -accuracy[i])
    return next((i for i in order if need(i) <= memory), -1)


@exercise(
    "23.4",
    "The best that fits",
    difficulty=2,
    minutes=10,
    points=4,
    reference=reference_fits,
    hints=(
        "Lesson 02: which bytes does a number hold that is frozen, and which one that trains? What grows with the batch?",
        "frozen * base_bytes + trained * (4 + 4 + 2 * 4) + texts * kept is what a method needs. Among those that need "
        "no more than there is, the most accurate.",
        "fits = [i for i in range(len(accuracy)) if ... <= memory]; return max(fits, key=..., default=-1)",
    ),
)
def test_best_that_fits(submission, cases):
    for case in cases(count=4):
        texts, base_bytes = case.integer(4, 9), (2, 4, 0.5)[case.integer(0, 2)]
        u = 16 * texts * case.integer(10, 99)  # a tenth of the memory
        methods = shuffled(
            case,
            [  # bytes of what is frozen, numbers that train, bytes kept of a text, accuracy
                (3 * u, u // 8, 5 * u // texts, 0.70),  # fits exactly
                (3 * u, u // 16, u // texts, 0.60),
                (3 * u, u // 16, u // texts // 2, 0.50),  # the smallest
                (11 * u, u // 16, u // texts // 2, 0.95),  # and why these don't fit: the base,
                (3 * u, u // 16, 11 * u, 0.90),  # the activations of one text,
                (3 * u, u // 16, 4 * u, 0.85),  # those of the batch,
                (3 * u, u, u // texts // 2, 0.80),  # gradients and averages,
                (3 * u, u // 2, u // texts // 2, 0.75),  # what trains itself
            ],
        )
        best_first = sorted(methods, key=lambda method: -method[-1])
        for memory, order in ((10, methods), (4, methods), (200, methods), (5, methods), (10, best_first), (300, best_first)):
            frozen, trained, kept, accuracy = map(list, zip(*order, strict=True))
            for spare in (0, -1):
                same(
                    submission.best_that_fits,
                    reference_fits,
                    memory=memory * u + spare,
                    texts=texts,
                    base_bytes=base_bytes,
                    frozen=[int(n / base_bytes) for n in frozen],
                    trained=trained,
                    kept=kept,
                    accuracy=[a + case.number(0, 0.04) for a in accuracy],
                )


def reference_not_beaten(costs: Tensor) -> list[int]:
    found, rows = [], costs.tolist()
    for i, mine in enumerate(rows):
        beaten = False
        for other in rows:
            nowhere_worse = all(o <= m for o, m in zip(other, mine, strict=True))
            beaten = beaten or (nowhere_worse and other != mine)
        if not beaten:
            found.append(i)
    return found


@exercise(
    "23.5",
    "Nobody better everywhere",
    difficulty=2,
    minutes=10,
    points=5,
    reference=reference_not_beaten,
    hints=(
        "Write down what it means that method 1 beats method 0, with its two conditions. How often is it asked?",
        "other <= mine on all axes, and other < mine on one at least. A method stays if no other one does that to it; "
        "compared with itself, nothing is smaller.",
        "return [i for i, mine in enumerate(costs) if not any(bool((o <= mine).all() and ...) for o in costs)]",
    ),
)
def test_not_beaten(submission, cases):
    for case in cases(count=4):
        rows = [[1, 9, 5], [9, 1, 5], [5, 5, 1]]  # each the best somewhere
        rows += [[4, 4, 4], [4, 4, 4], [3, 6, 3]]  # nowhere the best, and beaten by nobody
        beaten = [4, 4, 4]
        beaten[case.integer(0, 2)] += case.integer(1, 5)
        rows += [beaten, [4 + case.integer(1, 5) for _ in range(3)]]  # on one axis, and on all
        costs = torch.tensor(shuffled(case, rows)) * torch.tensor([case.number(0.1, 10) for _ in range(3)])
        same(submission.not_beaten, reference_not_beaten, costs=costs)
        best = torch.cat([costs, torch.zeros(1, 3)])  # beats all others
        same(submission.not_beaten, reference_not_beaten, costs=best)
        same(submission.not_beaten, reference_not_beaten, costs=costs[:, :1])  # a single axis


def reference_unfair() -> str:
    return "BCE"


@exercise(
    "23.6",
    "Which are unfair?",
    difficulty=1,
    minutes=5,
    points=2,
    reference=reference_unfair,
    hints=(
        "For each: did both methods get the same chances, and did anybody look at the test data too early?",
        "Equal numbers are no equal chances; equal searches are. And the best of several is always more than the mean "
        "of several.",
        'return "BC..."',
    ),
)
def test_unfair(submission, cases):
    same(submission.unfair, reference_unfair)
