"""Lesson 23, comparing: the counts of a change, a fair choice, a difference that is more than chance.

Accuracies are between 0 and 1.  A method is compared over several seeds: the same training with other random numbers.
"""

import math

import torch
from torch import Tensor


def change_counts(before: list[Tensor], after: list[Tensor]) -> tuple[int, int]:
    """Two of the three counts, from the parameters of a model before and after: (changed, rank).

    Both lists hold the same vectors and matrices in the same order.  `changed` is how many single numbers have another
    value than before.  `rank` is the largest rank that the change of a matrix has; 0 if no matrix has changed.
    Vectors have no rank.
    """
    # BEGIN SOLUTION
    changes = [new - old for old, new in zip(before, after, strict=True)]
    changed = sum(int((change != 0).sum()) for change in changes)
    return changed, max([int(torch.linalg.matrix_rank(c)) for c in changes if c.ndim == 2], default=0)
    # END SOLUTION


def fair_pick(rates: list[float], valid: list[list[float]], test: list[list[float]]) -> tuple[float, float]:
    """Mistakes to find: the learning rate of a method, and the accuracy that a paper may report for it.

    For each rate in `rates` there is a list in `valid`, the validation losses of some seeds, and one in `test`, the
    test accuracies of the same seeds; all rates have the same seeds.  A loss that is not finite (math.nan, math.inf)
    is of a training that broke: its rate is not to be chosen.  One rate at least has no such loss.

    The code below runs, and its numbers look well: too well.  Put right how it chooses, and what it reports.
    """
    # BEGIN SOLUTION
    losses = [sum(seeds) / len(seeds) for seeds in valid]
    best = min((i for i, loss in enumerate(losses) if math.isfinite(loss)), key=lambda i: losses[i])
    accuracy = sum(test[best]) / len(test[best])
    # GIVEN
    # best = max(range(len(rates)), key=lambda i: max(test[i]))
    # accuracy = max(test[best])
    # END SOLUTION
    return rates[best], accuracy


def separation(a: list[float], b: list[float]) -> float:
    """By how many of its own standard errors is the difference of two methods' means away from zero?

    a and b are the accuracies of two methods over seeds, two or more each, maybe not equally many.  With m a mean, s^2
    the variance of a sample (the squared differences from the mean, added up and divided by n - 1) and n the number of
    seeds, return

        (m_a - m_b) / sqrt(s_a^2 / n_a + s_b^2 / n_b)

    Some of the accuracies differ, so the root isn't zero.  With three seeds, less than 2 or 3 is nothing to report.
    """

    # BEGIN SOLUTION
    def mean(x: list[float]) -> float:
        return sum(x) / len(x)

    def error(x: list[float]) -> float:  # of the mean, squared
        return sum((value - mean(x)) ** 2 for value in x) / (len(x) - 1) / len(x)

    return (mean(a) - mean(b)) / math.sqrt(error(a) + error(b))
    # END SOLUTION


def best_that_fits(
    memory: int,
    texts: int,
    base_bytes: float,
    frozen: list[int],
    trained: list[int],
    kept: list[int],
    accuracy: list[float],
) -> int:
    """Which method to take: the position of the most accurate one whose training step fits into `memory` bytes.

    Method i has frozen[i] numbers that do not train, in `base_bytes` bytes each, and trained[i] that do: these are
    stored in fp32, with a gradient and Adam's two averages, also in fp32.  It keeps kept[i] bytes for the backward pass
    of each of the `texts` in a batch.  No two are equally accurate.  Return -1 if none fits.
    """
    # BEGIN SOLUTION
    best = -1
    for i in range(len(accuracy)):
        need = frozen[i] * base_bytes + trained[i] * 16 + texts * kept[i]
        if need <= memory and (best < 0 or accuracy[i] > accuracy[best]):
            best = i
    return best
    # END SOLUTION


def not_beaten(costs: Tensor) -> list[int]:
    """Which methods have something that no other one has: their positions, from the first to the last.

    costs (methods, axes): on every axis, less is better (bytes, seconds, wrong answers).  One method beats another if
    it is nowhere worse and somewhere better.  Methods that are equal everywhere don't beat each other.
    """

    # BEGIN SOLUTION
    def beats(x: Tensor, y: Tensor) -> bool:
        return bool((x <= y).all() and (x < y).any())

    return [i for i, mine in enumerate(costs) if not any(beats(other, mine) for other in costs)]
    # END SOLUTION


def unfair() -> str:
    """Which of these comparisons are unfair to one of their methods?  The letters in order, such as "AC".

    A   Six learning rates were tried for each of the methods, and each is shown at the one of its lowest validation
        loss.  The six are the same for all, but the methods end up with different ones.
    B   All methods were trained with the learning rate that is best for full fine-tuning: the same for all.
    C   For the new method the best of five seeds is shown, for the old one the number that its paper reports: a mean.
    D   Each method was trained with three seeds, the same three for all.  Means and standard deviations are shown.
    E   The new method's rank was chosen among five by its test accuracy.  The old one has no rank to choose.
    """
    # BEGIN SOLUTION
    return "BCE"
    # END SOLUTION
