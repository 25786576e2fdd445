"""Wrong answers to lesson 05's exercises, and the hint that each earns.

They are recognised by what they compute, on the same inputs as the learner's answer, however that is written.
"""

import torch
import torch.nn.functional as F

from minipeft.course.exercise import wrong


def everyone(P, x):
    return P.expand(len(x), -1, -1)


def trues(P, x):
    return torch.ones(len(x), len(P), dtype=torch.bool)


@wrong("with_prompt", "the prompt stands behind the text, where no token of a causal model can see it")
def prompt_behind(x, mask, P):
    return torch.cat([x, everyone(P, x)], 1), torch.cat([mask, trues(P, x)], 1)


@wrong("with_prompt", "the mask is as long as the text alone: it has to grow by n as well")
def prompt_mask_as_it_was(x, mask, P):
    return torch.cat([everyone(P, x), x], 1), mask


@wrong("with_prompt", "the mask hides the prompt: True is what may be seen")
def prompt_masked_out(x, mask, P):
    return torch.cat([everyone(P, x), x], 1), torch.cat([~trues(P, x), mask], 1)


@wrong("with_prompt", "the mask grows at its end, the text at its front: padding is then seen, and tokens are hidden")
def prompt_mask_at_the_end(x, mask, P):
    return torch.cat([everyone(P, x), x], 1), torch.cat([mask, trues(P, x)], 1)


@wrong("with_prompt", "the mask has numbers of another type: it is of bool")
def prompt_mask_of_numbers(x, mask, P):
    return torch.cat([everyone(P, x), x], 1), torch.cat([torch.ones(len(x), len(P)), mask], 1)


@wrong("with_prompt", "the prompt is in front and the text is gone: both go in")
def prompt_alone(x, mask, P):
    return everyone(P, x), trues(P, x)


@wrong("prompt_from_labels", "the sum of a label's tokens: the mean keeps the length of a word's vector")
def labels_summed(table, labels):
    return torch.stack([table[ids].sum(0) for ids in labels])


@wrong("prompt_from_labels", "the first token alone: a label of several tokens starts from their mean")
def labels_first(table, labels):
    return torch.stack([table[ids[0]] for ids in labels])


@wrong("prompt_from_labels", "the last token alone: a label of several tokens starts from their mean")
def labels_last(table, labels):
    return torch.stack([table[ids[-1]] for ids in labels])


@wrong("prompt_from_labels", "a vector for each token: a label has one, however many tokens it has")
def labels_token_by_token(table, labels):
    return torch.cat([table[ids] for ids in labels])


@wrong("prompt_from_labels", "all labels start from the same vector, the mean of everything: each has its own mean")
def labels_all_alike(table, labels):
    mean = table[[i for ids in labels for i in ids]].mean(0)
    return mean.expand(len(labels), -1).clone()


@wrong("prompt_from_labels", "the mean runs over the d numbers of a vector: it has to run over the label's tokens")
def labels_other_mean(table, labels):
    return torch.stack([table[ids].mean(1).mean().expand(table.shape[1]) for ids in labels])


def loss(rows, y, **more):
    return F.cross_entropy(rows.flatten(0, 1), y.flatten(), **more)


@wrong("prompt_loss", "the code as it was given: the first t rows are mostly the prompt's")
def loss_as_given(logits, y):
    return loss(logits[:, : y.shape[1]], y)


@wrong("prompt_loss", "one row too early: y holds the tokens that follow already, so row n + i belongs to y[:, i]")
def loss_too_early(logits, y):
    t = y.shape[1]
    return loss(logits[:, -t - 1 : -1], y)


@wrong("prompt_loss", "the sum over the labels: the mean was right as it was")
def loss_summed(logits, y):
    return loss(logits[:, -y.shape[1] :], y, reduction="sum")


@wrong("prompt_loss", "labels of -100 are counted in the mean: divide by the number of the others")
def loss_over_all(logits, y):
    return loss(logits[:, -y.shape[1] :], y, reduction="sum") / y.numel()


@wrong("prompt_loss", "one row too late: row n + i belongs to y[:, i]")
def loss_too_late(logits, y):
    t = y.shape[1]
    return loss(logits[:, -t + 1 :], y[:, :-1])


@wrong(
    "nearest_words", "lengths play a part: a long vector has a large product with everything, divide it by its length"
)
def nearest_by_product(P, table):
    return (P @ table.T).argmax(1)


@wrong("nearest_words", "nearest by distance: long and short vectors of the same direction are far apart there")
def nearest_by_distance(P, table):
    return torch.cdist(P, table).argmin(1)


@wrong("nearest_words", "the farthest word: the cosine of the nearest is the largest")
def nearest_farthest(P, table):
    return (F.normalize(P) @ F.normalize(table).T).argmin(1)


@wrong("nearest_words", "for each word the nearest vector of the prompt: the other way round was asked for")
def nearest_exchanged(P, table):
    return (F.normalize(P) @ F.normalize(table).T).argmax(0)


@wrong("nearest_words", "these are the cosines: asked for are the ids, where they are largest")
def nearest_cosines(P, table):
    return (F.normalize(P) @ F.normalize(table).T).amax(1)


@wrong("nearest_words", "the opposite direction counts as near here: its cosine is -1, leave out the absolute value")
def nearest_either_way(P, table):
    return (F.normalize(P) @ F.normalize(table).T).abs().argmax(1)


@wrong("prompt_counts", "keys or values, not both: each layer makes both of every vector")
def counts_keys_alone(layers, d, d_kv, n):
    return n * d, layers * n * d_kv


@wrong("prompt_counts", "one layer's keys and values: all layers make their own")
def counts_one_layer(layers, d, d_kv, n):
    return n * d, 2 * n * d_kv


@wrong("prompt_counts", "a prompt in every layer: that is Prefix-Tuning, here the vectors enter once")
def counts_everywhere(layers, d, d_kv, n):
    return layers * n * d, layers * 2 * n * d_kv


@wrong("prompt_counts", "d for d_kv: keys and values are d_kv wide")
def counts_wide(layers, d, d_kv, n):
    return n * d, layers * 2 * n * d


@wrong("prompt_counts", "in the other order: the vectors first")
def counts_exchanged(layers, d, d_kv, n):
    return layers * 2 * n * d_kv, n * d
