"""Wrong answers to lesson 11's exercises, and the hint that each earns.

They are recognised by what they compute, on the same inputs as the learner's answer, however that is written.
"""

import math

import torch

from minipeft.course.exercise import wrong


@wrong("diff_gate", "not stretched: a sigmoid between 0 and 1 is never exactly 0, so no gate ever closes")
def not_stretched(u, alpha, low, high):
    return torch.sigmoid(torch.logit(u) + alpha).clamp(0, 1)


@wrong("diff_gate", "not cut to [0, 1]: a gate must not turn a change round, nor enlarge it")
def not_cut(u, alpha, low, high):
    return torch.sigmoid(torch.logit(u) + alpha) * (high - low) + low


@wrong("diff_gate", "stretched by high alone: the line runs from low to high, so its length is high - low")
def stretched_by_high(u, alpha, low, high):
    return (torch.sigmoid(torch.logit(u) + alpha) * high + low).clamp(0, 1)


@wrong("diff_gate", "low is missing: s = 0 must become low, not 0")
def without_low(u, alpha, low, high):
    return (torch.sigmoid(torch.logit(u) + alpha) * (high - low)).clamp(0, 1)


@wrong("diff_gate", "without noise: the gate is drawn, log u - log(1 - u) belongs in the sigmoid")
def without_noise(u, alpha, low, high):
    return (torch.sigmoid(alpha) * (high - low) + low).clamp(0, 1)


@wrong("diff_gate", "the noise is u itself: it has to be log u - log(1 - u), or the chances come out wrong")
def noise_as_it_is(u, alpha, low, high):
    return (torch.sigmoid(u + alpha) * (high - low) + low).clamp(0, 1)


@wrong("diff_gate", "a binary mask: then alpha has no gradient, and nothing can learn which gates to close")
def binary(u, alpha, low, high):
    return (torch.sigmoid(torch.logit(u) + alpha) > 0.5).to(alpha.dtype)


@wrong(
    "diff_expected", "the two chances were added: both gates have to be open, so multiply them (the authors' code adds)"
)
def added(alpha, alpha_g, low, high):
    shift = math.log(-low / high)
    return torch.sigmoid(alpha - shift).sum() + torch.sigmoid(alpha_g - shift)


@wrong("diff_expected", "the tensor's gate is missing: if it is shut, none of the numbers changes")
def own_gates_alone(alpha, alpha_g, low, high):
    return torch.sigmoid(alpha - math.log(-low / high)).sum()


@wrong("diff_expected", "log(-low / high) has the wrong sign: it is subtracted from alpha")
def wrong_sign(alpha, alpha_g, low, high):
    shift = math.log(-low / high)
    return (torch.sigmoid(alpha + shift) * torch.sigmoid(alpha_g + shift)).sum()


@wrong("diff_expected", "without log(-low / high): sigmoid(alpha) is P(z > 0) only where -low = high")
def without_shift(alpha, alpha_g, low, high):
    return (torch.sigmoid(alpha) * torch.sigmoid(alpha_g)).sum()


@wrong("diff_expected", "the shift was taken from one of the two gates only: both are stretched alike")
def one_shift(alpha, alpha_g, low, high):
    return (torch.sigmoid(alpha - math.log(-low / high)) * torch.sigmoid(alpha_g)).sum()


@wrong("diff_expected", "that is the mean chance of a number: the penalty counts numbers, it is their sum")
def mean_chance(alpha, alpha_g, low, high):
    shift = math.log(-low / high)
    return (torch.sigmoid(alpha - shift) * torch.sigmoid(alpha_g - shift)).mean()


@wrong("diff_expected", "that is how many gates are fully open: P(z = 1); asked for is P(z > 0)")
def fully_open(alpha, alpha_g, low, high):
    shift = math.log((1 - low) / (high - 1))
    return (torch.sigmoid(alpha - shift) * torch.sigmoid(alpha_g - shift)).sum()


def top(scores, k):
    return torch.zeros_like(scores).index_fill(0, scores.topk(k).indices, 1.0)


@wrong("diff_project", "the mask lies on theta too: what is not kept must stay as the base has it, not become 0")
def masks_theta(theta, w, z, k):
    return (theta + z * w) * top((z * w).abs(), k)


@wrong("diff_project", "chosen by the size of w: a gate that is nearly shut makes a large w a small change")
def by_values(theta, w, z, k):
    return theta + z * w * top(w.abs(), k)


@wrong("diff_project", "chosen by the gates alone: an open gate in front of a tiny w changes little")
def by_gates(theta, w, z, k):
    return theta + z * w * top(z, k)


@wrong("diff_project", "chosen by the size of the base's numbers: it is the changes that compete")
def by_theta(theta, w, z, k):
    return theta + z * w * top(theta.abs(), k)


@wrong("diff_project", "the largest with their sign: a change of -5 is larger than one of 1, compare absolute values")
def by_sign(theta, w, z, k):
    return theta + z * w * top(z * w, k)


@wrong("diff_project", "the right choice, but w was added without its gate: the change is z w")
def adds_w(theta, w, z, k):
    return theta + w * top((z * w).abs(), k)


@wrong("diff_project", "nothing was undone: only k of the changes stay")
def keeps_all(theta, w, z, k):
    return theta + z * w


def parts(alpha, u, low, high):
    s = torch.sigmoid(torch.logit(u) + alpha)
    stretched = s * (high - low) + low
    return s, stretched.clamp(0, 1), ((stretched > 0) & (stretched < 1)).to(s.dtype)


@wrong("diff_gradients", "the code as it was given: look at the gates that were cut to exactly 0 or exactly 1")
def gradients_as_given(g, w, alpha, u, z_g, low, high):
    s, z, _ = parts(alpha, u, low, high)
    return g * z_g * z, g * z_g * w * (high - low) * s * (1 - s)


@wrong("diff_gradients", "gates at exactly 0 are right now; those at exactly 1 are cut as well")
def gradients_open_end(g, w, alpha, u, z_g, low, high):
    s, z, _ = parts(alpha, u, low, high)
    return g * z_g * z, g * z_g * w * (high - low) * s * (1 - s) * (z > 0)


@wrong("diff_gradients", "gates at exactly 1 are right now; those at exactly 0 are cut as well")
def gradients_shut_end(g, w, alpha, u, z_g, low, high):
    s, z, _ = parts(alpha, u, low, high)
    return g * z_g * z, g * z_g * w * (high - low) * s * (1 - s) * (z < 1)


@wrong(
    "diff_gradients", "w's gradient was right: where the gate is exactly 1, w moves freely; it is alpha that does not"
)
def gradients_both_cut(g, w, alpha, u, z_g, low, high):
    s, z, between = parts(alpha, u, low, high)
    return g * z_g * z * between, g * z_g * w * (high - low) * s * (1 - s) * between


@wrong("diff_gradients", "the cut is the other way round: alpha's gradient is 0 outside, not inside")
def gradients_inverted(g, w, alpha, u, z_g, low, high):
    s, z, between = parts(alpha, u, low, high)
    return g * z_g * z, g * z_g * w * (high - low) * s * (1 - s) * (1 - between)


@wrong("diff_gradients", "the cut is right, but the length high - low is lost: the stretch multiplies the gradient")
def gradients_without_length(g, w, alpha, u, z_g, low, high):
    s, z, between = parts(alpha, u, low, high)
    return g * z_g * z, g * z_g * w * s * (1 - s) * between


@wrong("diff_counts", "one alpha for each tensor is missing in the first stage")
def counts_without_groups(sizes, density):
    k = int(density * sum(sizes))
    return 2 * sum(sizes), k, 8 * k


@wrong("diff_counts", "in the first stage each number has a w and an alpha: two, not one")
def counts_w_alone(sizes, density):
    k = int(density * sum(sizes))
    return sum(sizes) + len(sizes), k, 8 * k


@wrong("diff_counts", "the base's own numbers were counted too: they are frozen")
def counts_the_base(sizes, density):
    k = int(density * sum(sizes))
    return 3 * sum(sizes) + len(sizes), k, 8 * k


@wrong("diff_counts", "the values alone are stored: without positions nobody knows where they belong")
def counts_no_positions(sizes, density):
    k = int(density * sum(sizes))
    return 2 * sum(sizes) + len(sizes), k, 4 * k


@wrong("diff_counts", "k was rounded down tensor by tensor: there is one budget for the whole model")
def counts_by_tensor(sizes, density):
    k = sum(int(density * n) for n in sizes)
    return 2 * sum(sizes) + len(sizes), k, 8 * k


@wrong("diff_even", "0 would be right for ends that lie alike around the middle; these do not")
def even_in_the_middle(low, high):
    return 0.0


@wrong("diff_even", "the sum of the two logarithms: it has to be halved, alpha stands on both sides")
def even_not_halved(low, high):
    return math.log(-low / high) + math.log((1 - low) / (high - 1))


@wrong("diff_even", "a sign: bring both alphas to one side once more")
def even_difference(low, high):
    return (math.log((1 - low) / (high - 1)) - math.log(-low / high)) / 2


@wrong("diff_even", "the sign is turned round: a gate with a larger alpha is open more often")
def even_negative(low, high):
    return -(math.log(-low / high) + math.log((1 - low) / (high - 1))) / 2


@wrong(
    "diff_even", "there the gate is shut in half of the draws; asked is where shut and fully open are equally likely"
)
def even_half_shut(low, high):
    return math.log(-low / high)
