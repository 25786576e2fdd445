"""Wrong answers to lesson 04's exercises, and the hint that each earns.

They are recognised by what they compute, on the same inputs as the learner's answer, however that is written.
"""

import torch.nn.functional as F

from minipeft.course.exercise import wrong


def bottleneck(h, D, c, U, b):
    return F.gelu(h @ D.T + c) @ U.T + b


@wrong("adamix_train", "the skip is missing: h itself passes, as in every adapter")
def train_no_skip(h, downs, down_biases, ups, up_biases, i, j):
    return bottleneck(h, downs[i], down_biases[i], ups[j], up_biases[j])


@wrong("adamix_train", "i and j are exchanged: i was drawn to read (downs), j to write (ups)")
def train_exchanged(h, downs, down_biases, ups, up_biases, i, j):
    return h + bottleneck(
        h, downs[j % len(downs)], down_biases[j % len(downs)], ups[i % len(ups)], up_biases[i % len(ups)]
    )


@wrong("adamix_train", "i is used for both: the one that writes was drawn on its own, it is j")
def train_same_pair(h, downs, down_biases, ups, up_biases, i, j):
    return h + bottleneck(h, downs[i], down_biases[i], ups[i % len(ups)], up_biases[i % len(ups)])


@wrong("adamix_train", "each bias belongs to its matrix: c_i to D_i, b_j to U_j")
def train_biases_exchanged(h, downs, down_biases, ups, up_biases, i, j):
    return h + bottleneck(h, downs[i], down_biases[j % len(downs)], ups[j], up_biases[i % len(ups)])


@wrong("adamix_train", "that is the mean over the experts: it is for inference, a training pass uses one")
def train_mean(h, downs, down_biases, ups, up_biases, i, j):
    return h + bottleneck(h, downs.mean(0), down_biases.mean(0), ups.mean(0), up_biases.mean(0))


@wrong("adamix_train", "the nonlinearity is missing between the two matrices")
def train_no_activation(h, downs, down_biases, ups, up_biases, i, j):
    return h + (h @ downs[i].T + down_biases[i]) @ ups[j].T + up_biases[j]


@wrong("adamix_train", "the biases are missing")
def train_no_biases(h, downs, down_biases, ups, up_biases, i, j):
    return h + F.gelu(h @ downs[i].T) @ ups[j].T


@wrong("adamix_eval", "the outputs of the pairs are averaged here: average the weights, then it is one adapter's price")
def eval_mean_of_outputs(h, downs, down_biases, ups, up_biases):
    outputs = [
        bottleneck(h, downs[k], down_biases[k], ups[k % len(ups)], up_biases[k % len(ups)]) for k in range(len(downs))
    ]
    return h + sum(outputs) / len(outputs)


@wrong("adamix_eval", "gelu comes before the mean here: the weights are averaged first")
def eval_mean_after_gelu(h, downs, down_biases, ups, up_biases):
    low = sum(F.gelu(h @ D.T + c) for D, c in zip(downs, down_biases, strict=True)) / len(downs)
    return h + low @ ups.mean(0).T + up_biases.mean(0)


@wrong("adamix_eval", "that is the sum of the experts, not their mean")
def eval_sum(h, downs, down_biases, ups, up_biases):
    return h + bottleneck(h, downs.sum(0), down_biases.sum(0), ups.sum(0), up_biases.sum(0))


@wrong("adamix_eval", "that is the first expert alone")
def eval_first(h, downs, down_biases, ups, up_biases):
    return h + bottleneck(h, downs[0], down_biases[0], ups[0], up_biases[0])


@wrong("adamix_eval", "the side that writes is averaged too, U and b")
def eval_first_up(h, downs, down_biases, ups, up_biases):
    return h + bottleneck(h, downs.mean(0), down_biases.mean(0), ups[0], up_biases[0])


@wrong("adamix_eval", "the biases are averaged like the matrices, and here they are missing")
def eval_no_biases(h, downs, down_biases, ups, up_biases):
    return h + F.gelu(h @ downs.mean(0).T) @ ups.mean(0).T


@wrong("adamix_eval", "the skip is missing: h itself passes, as in every adapter")
def eval_no_skip(h, downs, down_biases, ups, up_biases):
    return bottleneck(h, downs.mean(0), down_biases.mean(0), ups.mean(0), up_biases.mean(0))


def kl(p, q):
    """KL(p || q) for logs, position by position."""
    return (p.exp() * (p - q)).sum(-1)


def logs(first, second):
    return first.log_softmax(-1), second.log_softmax(-1)


@wrong("adamix_disagreement", "the value is right, the gradient is not: in each KL the target has to be detached")
def disagreement_no_detach(first, second):
    p, q = logs(first, second)
    return (kl(p, q).mean() + kl(q, p).mean()) / 2


@wrong(
    "adamix_disagreement", "the value is right, but the wrong one is detached: the target stays, the other moves to it"
)
def disagreement_other_detached(first, second):
    p, q = logs(first, second)
    return (kl(p, q.detach()).mean() + kl(q, p.detach()).mean()) / 2


@wrong("adamix_disagreement", "the value is right, but one pass gets no gradient: each is the target of one KL only")
def disagreement_one_moves(first, second):
    p, q = first.log_softmax(-1).detach(), second.log_softmax(-1)
    return (kl(p, q).mean() + kl(q, p).mean()) / 2


@wrong("adamix_disagreement", "the half is missing: it is the mean of the two KLs")
def disagreement_no_half(first, second):
    p, q = logs(first, second)
    return kl(p.detach(), q).mean() + kl(q.detach(), p).mean()


@wrong("adamix_disagreement", "that is KL(p || q) alone: the other direction is a different number")
def disagreement_one_way(first, second):
    p, q = logs(first, second)
    return kl(p.detach(), q).mean()


@wrong(
    "adamix_disagreement", "the mean over the vocabulary was taken: a KL is a sum over it, the mean is over positions"
)
def disagreement_mean_over_words(first, second):
    p, q = logs(first, second)
    return (kl(p.detach(), q).mean() + kl(q.detach(), p).mean()) / 2 / p.shape[-1]


@wrong("adamix_disagreement", "that is the sum over positions: their mean counts, or a longer text would weigh more")
def disagreement_sum(first, second):
    p, q = logs(first, second)
    return (kl(p.detach(), q).sum() + kl(q.detach(), p).sum()) / 2


@wrong("adamix_disagreement", "first and second are logits: a softmax makes probabilities of them")
def disagreement_of_logits(first, second):
    return (kl(first.detach(), second).mean() + kl(second.detach(), first).mean()) / 2


@wrong("adamix_count", "the two are exchanged: first what trains, then what is kept")
def count_exchanged(layers, d, m, experts, share_up):
    down, up = m * d + m, d * m + d
    return layers * (down + up), layers * (experts * down + (1 if share_up else experts) * up)


@wrong("adamix_count", "all experts are counted as kept: they are averaged into one adapter")
def count_keeps_all(layers, d, m, experts, share_up):
    down, up = m * d + m, d * m + d
    trains = layers * (experts * down + (1 if share_up else experts) * up)
    return trains, trains


@wrong("adamix_count", "with share_up there is one U and one b: they are not counted for every expert")
def count_never_shared(layers, d, m, experts, share_up):
    down, up = m * d + m, d * m + d
    return layers * experts * (down + up), layers * (down + up)


@wrong("adamix_count", "without share_up every expert has its own U and b")
def count_always_shared(layers, d, m, experts, share_up):
    down, up = m * d + m, d * m + d
    return layers * (experts * down + up), layers * (down + up)


@wrong("adamix_count", "the biases are missing: m numbers in c, d in b")
def count_no_biases(layers, d, m, experts, share_up):
    return layers * d * m * (experts + (1 if share_up else experts)), layers * 2 * d * m


@wrong("adamix_count", "all of them train, also those that a step doesn't draw: they get their turn in another")
def count_one_draw(layers, d, m, experts, share_up):
    both = layers * (2 * d * m + m + d)
    return both, both


@wrong("adamix_met", "as if no expert could be drawn twice: a pass doesn't know what was drawn before")
def met_no_repeats(experts, passes):
    return float(min(experts, passes))


@wrong("adamix_met", "that is how likely one particular expert is met: there are `experts` of them")
def met_probability(experts, passes):
    return 1 - (1 - 1 / experts) ** passes


@wrong("adamix_met", "that is how many are missed")
def met_missed(experts, passes):
    return experts * (1 - 1 / experts) ** passes


@wrong("adamix_met", "that is how often one expert is drawn on average, not how many are drawn at all")
def met_often(experts, passes):
    return passes / experts


@wrong("adamix_met", "1/experts is how likely one is drawn in a pass; to be missed is the rest, 1 - 1/experts")
def met_wrong_power(experts, passes):
    return experts * (1 - (1 / experts) ** passes)
