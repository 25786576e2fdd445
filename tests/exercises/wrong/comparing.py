"""Wrong answers to lesson 23's exercises, and the hint that each earns."""

import math
import statistics

import torch

from minipeft.course.exercise import wrong


def ranks(changes):
    return [int(torch.linalg.matrix_rank(c)) for c in changes if c.ndim == 2]


def differences(before, after):
    return [new - old for old, new in zip(before, after, strict=True)]


@wrong("change_counts", "changed counts single numbers: of a matrix with one changed row, that row alone")
def whole_tensors(before, after):
    changes = differences(before, after)
    return sum(c.numel() for c in changes if c.any()), max(ranks(changes), default=0)


@wrong("change_counts", "that is the rank of the new weights; asked for is the rank of their change")
def rank_of_after(before, after):
    return sum(int(c.count_nonzero()) for c in differences(before, after)), max(ranks(after), default=0)


@wrong("change_counts", "the ranks of several matrices are not added: the largest counts")
def ranks_added(before, after):
    changes = differences(before, after)
    return sum(int(c.count_nonzero()) for c in changes), sum(ranks(changes))


@wrong("change_counts", "the shorter side is the largest rank that could be; the change has less, or may have")
def shorter_side(before, after):
    changes = differences(before, after)
    sides = [min(c.shape) for c in changes if c.ndim == 2 and c.any()]
    return sum(int(c.count_nonzero()) for c in changes), max(sides, default=0)


@wrong("change_counts", "the vectors are missing in the first count: a changed bias is changed numbers too")
def matrices_alone(before, after):
    changes = [c for c in differences(before, after) if c.ndim == 2]
    return sum(int(c.count_nonzero()) for c in changes), max(ranks(changes), default=0)


@wrong("change_counts", "that is the rank of the first matrix; another one may have changed more")
def first_matrix(before, after):
    changes = differences(before, after)
    return sum(int(c.count_nonzero()) for c in changes), (ranks(changes) or [0])[0]


@wrong("change_counts", "the rank comes second: (changed, rank)")
def other_order(before, after):
    changes = differences(before, after)
    return max(ranks(changes), default=0), sum(int(c.count_nonzero()) for c in changes)


def finite(valid):
    return [i for i, losses in enumerate(valid) if all(map(math.isfinite, losses))]


@wrong("fair_pick", "as it was: the rate is chosen by the test data, and the best seed is reported")
def as_given(rates, valid, test):
    best = max(range(len(rates)), key=lambda i: max(test[i]))
    return rates[best], max(test[best])


@wrong("fair_pick", "the rate is still chosen by the test data: choose by the validation loss")
def picked_by_test(rates, valid, test):
    best = max(range(len(rates)), key=lambda i: max(test[i]))
    return rates[best], statistics.mean(test[best])


@wrong("fair_pick", "the rate is still chosen by the test data: their mean is no better than their best")
def picked_by_mean_test(rates, valid, test):
    best = max(range(len(rates)), key=lambda i: statistics.mean(test[i]))
    return rates[best], statistics.mean(test[best])


@wrong("fair_pick", "the best seed is reported: report the mean over the seeds")
def reports_the_best(rates, valid, test):
    best = min(finite(valid), key=lambda i: statistics.mean(valid[i]))
    return rates[best], max(test[best])


@wrong("fair_pick", "the rate is chosen by its luckiest seed: take the mean of its validation losses")
def picked_by_lucky_seed(rates, valid, test):
    best = min(finite(valid), key=lambda i: min(valid[i]))
    return rates[best], statistics.mean(test[best])


@wrong("fair_pick", "a training that broke was taken out of the mean: a rate with such a loss is not to be chosen")
def broken_left_out(rates, valid, test):
    means = [statistics.mean(filter(math.isfinite, losses)) for losses in valid]
    best = means.index(min(means))
    return rates[best], statistics.mean(test[best])


@wrong("fair_pick", "a high validation loss was chosen: the lowest is the best")
def highest_loss(rates, valid, test):
    best = max(finite(valid), key=lambda i: statistics.mean(valid[i]))
    return rates[best], statistics.mean(test[best])


@wrong("separation", "a sample's variance divides by n - 1, not by n: from few seeds the spread looks too small else")
def divides_by_n(a, b):
    error = statistics.pvariance(a) / len(a) + statistics.pvariance(b) / len(b)
    return (statistics.mean(a) - statistics.mean(b)) / error**0.5


@wrong("separation", "s^2 / n is missing its n: the mean of many seeds is known better than a single one")
def spread_of_one_seed(a, b):
    return (statistics.mean(a) - statistics.mean(b)) / (statistics.variance(a) + statistics.variance(b)) ** 0.5


@wrong("separation", "squared errors are added, and then the root is taken: not the other way round")
def errors_added(a, b):
    error = (statistics.variance(a) / len(a)) ** 0.5 + (statistics.variance(b) / len(b)) ** 0.5
    return (statistics.mean(a) - statistics.mean(b)) / error


@wrong("separation", "the root is missing: what is under it is a squared error")
def no_root(a, b):
    error = statistics.variance(a) / len(a) + statistics.variance(b) / len(b)
    return (statistics.mean(a) - statistics.mean(b)) / error


@wrong("separation", "it says too much of one method's best seed: compare the means")
def best_seeds(a, b):
    error = statistics.variance(a) / len(a) + statistics.variance(b) / len(b)
    return (max(a) - max(b)) / error**0.5


@wrong("separation", "the sign is lost: where b is ahead, the answer is negative")
def no_sign(a, b):
    error = statistics.variance(a) / len(a) + statistics.variance(b) / len(b)
    return abs(statistics.mean(a) - statistics.mean(b)) / error**0.5


@wrong("separation", "the sign is the other way: a minus b")
def b_minus_a(a, b):
    error = statistics.variance(a) / len(a) + statistics.variance(b) / len(b)
    return (statistics.mean(b) - statistics.mean(a)) / error**0.5


def pick(need, memory, accuracy):
    return max((i for i, n in enumerate(need) if n <= memory), key=lambda i: accuracy[i], default=-1)


@wrong("best_that_fits", "it may need exactly the memory that there is")
def strictly_less(memory, texts, base_bytes, frozen, trained, kept, accuracy):
    need = [f * base_bytes + 16 * t + texts * k for f, t, k in zip(frozen, trained, kept, strict=True)]
    return pick(need, memory - 1, accuracy)


@wrong("best_that_fits", "that is the smallest that fits; asked for is the most accurate of all that fit")
def smallest(memory, texts, base_bytes, frozen, trained, kept, accuracy):
    need = [f * base_bytes + 16 * t + texts * k for f, t, k in zip(frozen, trained, kept, strict=True)]
    return need.index(min(need)) if min(need) <= memory else -1


@wrong("best_that_fits", "what is kept for the backward pass grows with the texts of a batch")
def one_text(memory, texts, base_bytes, frozen, trained, kept, accuracy):
    need = [f * base_bytes + 16 * t + k for f, t, k in zip(frozen, trained, kept, strict=True)]
    return pick(need, memory, accuracy)


@wrong("best_that_fits", "numbers that train need a gradient and two averages as well: 16 bytes each, not 4")
def weights_alone(memory, texts, base_bytes, frozen, trained, kept, accuracy):
    need = [f * base_bytes + 4 * t + texts * k for f, t, k in zip(frozen, trained, kept, strict=True)]
    return pick(need, memory, accuracy)


@wrong("best_that_fits", "12 bytes are gradient and averages; the weight itself has 4 more")
def without_weights(memory, texts, base_bytes, frozen, trained, kept, accuracy):
    need = [f * base_bytes + 12 * t + texts * k for f, t, k in zip(frozen, trained, kept, strict=True)]
    return pick(need, memory, accuracy)


@wrong("best_that_fits", "the activations are missing: for many methods they are the largest part")
def no_activations(memory, texts, base_bytes, frozen, trained, kept, accuracy):
    need = [f * base_bytes + 16 * t for f, t in zip(frozen, trained, strict=True)]
    return pick(need, memory, accuracy)


@wrong("best_that_fits", "the memory is not looked at: that is the most accurate of all")
def most_accurate(memory, texts, base_bytes, frozen, trained, kept, accuracy):
    return accuracy.index(max(accuracy))


@wrong("not_beaten", "to beat, it is enough to be better on one axis and nowhere worse; it need not be better everywhere")
def strict_everywhere(costs):
    return [i for i, x in enumerate(costs) if not any(bool((y < x).all()) for y in costs)]


@wrong("not_beaten", "two that are equal everywhere beat each other here: somewhere the winner must be better")
def nowhere_worse(costs):
    others = [[y for j, y in enumerate(costs) if j != i] for i in range(len(costs))]
    return [i for i, x in enumerate(costs) if not any(bool((y <= x).all()) for y in others[i])]


@wrong("not_beaten", "better on one axis is not enough: the winner may be worse on none")
def better_somewhere(costs):
    return [i for i, x in enumerate(costs) if not any(bool((y < x).any()) for y in costs)]


@wrong("not_beaten", "less is better on every axis here; you kept those with the most")
def more_is_better(costs):
    return [i for i, x in enumerate(costs) if not any(bool((y >= x).all() and (y > x).any()) for y in costs)]


@wrong("not_beaten", "a method need not be the best on some axis: it stays as long as nobody beats it on all together")
def best_on_an_axis(costs):
    return sorted({int(i) for i in costs.argmin(0)})


@wrong("not_beaten", "the sum of the axes adds bytes to seconds: compare axis by axis")
def smallest_sum(costs):
    return [int(costs.sum(1).argmin())]


@wrong("unfair", "one is missing: B. The same rate for all is the right one for one of them")
def without_b():
    return "CE"


@wrong("unfair", "one is missing: C. The best of five is more than a mean, for the same method too")
def without_c():
    return "BE"


@wrong("unfair", "one is missing: E. Whoever chooses by test accuracy reports a number that is too high")
def without_e():
    return "BC"


@wrong("unfair", "A is fair: not the rates have to be equal, but the chances to find a good one")
def with_a():
    return "ABCE"


@wrong("unfair", "D is fair: the same seeds for all, and their spread is shown")
def with_d():
    return "BCDE"


@wrong("unfair", "two are missing: there are three")
def only_b():
    return "B"
