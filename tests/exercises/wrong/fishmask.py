"""Wrong answers to lesson 13's exercises, and the hint that each earns.

They are recognised by what they compute, on the same inputs as the learner's answer, however that is written.
"""

import math

import torch

from minipeft.course.exercise import wrong


@wrong("fish_fisher", "that is the square of the batch's gradient: square each example's own, then take the mean")
def square_of_the_mean(x, G):
    return (G.flatten(0, 1).T @ x.flatten(0, 1) / len(x)).square()


@wrong("fish_fisher", "the examples' gradients were added before they were squared: first square, then add")
def square_of_the_sum(x, G):
    return (G.flatten(0, 1).T @ x.flatten(0, 1)).square() / len(x)


@wrong(
    "fish_fisher",
    "each token was squared by itself: an example has one log p, the sum over its tokens, and one gradient",
)
def each_token_squared(x, G):
    return G.square().flatten(0, 1).T @ x.square().flatten(0, 1) / len(x)


@wrong("fish_fisher", "the gradient was averaged over the tokens: log p of an answer is the sum over its tokens")
def mean_over_tokens(x, G):
    return (G.transpose(1, 2) @ x / x.shape[1]).square().mean(0)


@wrong("fish_fisher", "that is the sum over the examples: F is their mean")
def sum_over_examples(x, G):
    return (G.transpose(1, 2) @ x).square().sum(0)


@wrong("fish_fisher", "that is the mean of absolute values: the Fisher information is a mean of squares")
def absolute(x, G):
    return (G.transpose(1, 2) @ x).abs().mean(0)


@wrong("fish_fisher", "not squared: gradients of either sign cancel, and say nothing about how much is at stake")
def not_squared(x, G):
    return (G.transpose(1, 2) @ x).mean(0)


@wrong("fish_fisher", "this is F of the transposed weight: W is (d_out, d_in), so rows belong to what was written")
def transposed(x, G):
    return (x.transpose(1, 2) @ G).square().mean(0)


def top(scores, k):
    mask = torch.zeros(scores.numel(), dtype=torch.bool)
    mask[scores.flatten().topk(k).indices] = True
    return mask


def cut(mask, like):
    return tuple(m.view(f.shape) for m, f in zip(mask.split([f.numel() for f in like]), like, strict=True))


def joined(like):
    return torch.cat([f.flatten() for f in like])


@wrong(
    "fish_mask", "the same share of each tensor: they should compete, so that one gets many numbers and another none"
)
def of_each_tensor(F1, F2, F3, density):
    return tuple(top(f, int(density * f.numel())).view(f.shape) for f in (F1, F2, F3))


@wrong("fish_mask", "one too few: what lies above the k-th largest are only k - 1 numbers")
def above_the_last(F1, F2, F3, density):
    every = joined((F1, F2, F3))
    least = every.topk(int(density * len(every))).values[-1]
    return tuple(f > least for f in (F1, F2, F3))


@wrong("fish_mask", "one too many: k is int(density * numbers), rounded down")
def rounded_up(F1, F2, F3, density):
    every = joined((F1, F2, F3))
    return cut(top(every, math.ceil(density * len(every))), (F1, F2, F3))


@wrong("fish_mask", "these are the numbers with the least information: the loss hardly notices them")
def smallest(F1, F2, F3, density):
    every = joined((F1, F2, F3))
    return cut(top(-every, int(density * len(every))), (F1, F2, F3))


@wrong("fish_mask", "True and False are exchanged: True is what trains")
def inverted(F1, F2, F3, density):
    every = joined((F1, F2, F3))
    return cut(~top(every, int(density * len(every))), (F1, F2, F3))


@wrong("fish_mask", "the right choice, as numbers: the masks should be of torch.bool")
def as_numbers(F1, F2, F3, density):
    every = joined((F1, F2, F3))
    return tuple(m.float() for m in cut(top(every, int(density * len(every))), (F1, F2, F3)))


@wrong("fish_step", "the code as it was given: follow a number outside the mask through the last two lines")
def step_as_given(theta, m, g, mask, lr, beta, decay):
    m = beta * m + g * mask
    return theta - lr * (m + decay * theta), m


@wrong("fish_step", "the old momentum is bound now, but weight decay still pulls at every number")
def decay_leaks(theta, m, g, mask, lr, beta, decay):
    m = (beta * m + g) * mask
    return theta - lr * (m + decay * theta), m


@wrong("fish_step", "weight decay is bound now, but the old momentum still moves numbers outside the mask")
def momentum_leaks(theta, m, g, mask, lr, beta, decay):
    m = beta * m + g * mask
    return theta - lr * (m + decay * theta * mask), m


@wrong("fish_step", "theta is right, but m is not 0 outside the mask: the optimizer still carries it along")
def momentum_kept(theta, m, g, mask, lr, beta, decay):
    m = beta * m + g * mask
    return theta - lr * (m + decay * theta) * mask, m


@wrong("fish_step", "the mask lies on theta itself: whatever does not train was set to zero")
def mask_on_theta(theta, m, g, mask, lr, beta, decay):
    m = (beta * m + g) * mask
    return (theta - lr * (m + decay * theta)) * mask, m


@wrong("fish_step", "without weight decay: where the mask is True it belongs to the step")
def without_decay(theta, m, g, mask, lr, beta, decay):
    m = (beta * m + g) * mask
    return theta - lr * m, m


@wrong("fish_step", "without the old momentum: where the mask is True it counts, beta m + g")
def without_momentum(theta, m, g, mask, lr, beta, decay):
    m = g * mask
    return theta - lr * (m + decay * theta) * mask, m


@wrong("fish_costs", "the middle one has Adam's two numbers; the gradient is a third")
def no_gradients(total, density):
    k = int(density * total)
    return k, 8 * k, 8 * k


@wrong("fish_costs", "the file has the values alone: without their positions nobody knows where they belong")
def no_positions(total, density):
    k = int(density * total)
    return k, 12 * k, 4 * k


@wrong("fish_costs", "the middle one is for a mask on the gradient of everything: the vector is k numbers long")
def dense_optimizer(total, density):
    k = int(density * total)
    return k, 12 * total, 8 * k


@wrong("fish_costs", "positions of 64 bits: as 32-bit integers they take half of that")
def long_positions(total, density):
    k = int(density * total)
    return k, 12 * k, 12 * k


@wrong("fish_costs", "numbers were counted, not bytes: fp32 has four of them")
def no_bytes(total, density):
    k = int(density * total)
    return k, 3 * k, 2 * k


@wrong("fish_unreset", "that is the sum of the squares: the listing divides it by n")
def unreset_sum(n):
    return float(sum(i**2 for i in range(1, n + 1)))


@wrong("fish_unreset", "n^2 is the last term alone: the earlier ones are smaller")
def unreset_last(n):
    return float(n**2)


@wrong("fish_unreset", "the running sums were averaged, but not squared")
def unreset_not_squared(n):
    return (n + 1) / 2


@wrong("fish_unreset", "the mean was squared: it is the squares whose mean is taken")
def unreset_square_of_mean(n):
    return ((n + 1) / 2) ** 2


@wrong("fish_unreset", "the first pass holds g, not 0: the sum runs from 1 to n")
def unreset_from_zero(n):
    return sum(i**2 for i in range(n)) / n


@wrong("fish_unreset", "dividing by n does not undo it: .grad grows from pass to pass, and grows squared")
def unreset_no_factor(n):
    return 1.0
