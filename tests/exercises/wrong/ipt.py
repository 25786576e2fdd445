"""Wrong answers to lesson 07's exercises, and the hint that each earns.

They are recognised by what they compute, on the same inputs as the learner's answer, however that is written.
"""

import torch
import torch.nn.functional as F

from minipeft.course.exercise import wrong


def row(z, W1, b1, W2, b2):
    return W2 @ torch.tanh(W1 @ z + b1) + b2


@wrong("ipt_decode", "the tanh is missing: without it the two matrices are one")
def decode_straight(z, W1, b1, W2, b2, n):
    return (W2 @ (W1 @ z + b1) + b2).reshape(n, -1)


@wrong("ipt_decode", "the row is read in the wrong order: the first d numbers are the first vector")
def decode_columns(z, W1, b1, W2, b2, n):
    return row(z, W1, b1, W2, b2).reshape(-1, n).T


@wrong("ipt_decode", "the tanh stands after the second matrix: it belongs between the two")
def decode_tanh_last(z, W1, b1, W2, b2, n):
    return torch.tanh(W2 @ (W1 @ z + b1) + b2).reshape(n, -1)


@wrong("ipt_decode", "another nonlinearity: the paper's decoder has a tanh")
def decode_gelu(z, W1, b1, W2, b2, n):
    return (W2 @ F.gelu(W1 @ z + b1) + b2).reshape(n, -1)


@wrong("ipt_decode", "b1 is missing")
def decode_no_first_bias(z, W1, b1, W2, b2, n):
    return (W2 @ torch.tanh(W1 @ z) + b2).reshape(n, -1)


@wrong("ipt_decode", "b2 is missing: it is what all prompts of the space have in common")
def decode_no_last_bias(z, W1, b1, W2, b2, n):
    return (W2 @ torch.tanh(W1 @ z + b1)).reshape(n, -1)


@wrong("ipt_decode", "that is the long row: cut it into n vectors")
def decode_row(z, W1, b1, W2, b2, n):
    return row(z, W1, b1, W2, b2)


def error(rebuilt, P):
    return (rebuilt - P).square().mean()


@wrong("ipt_rebuild", "the error is a sum here: the mean does not grow with the size of the prompt")
def rebuild_sum(P, E, e, W1, b1, W2, b2):
    rebuilt = row(E @ P.flatten() + e, W1, b1, W2, b2).reshape(P.shape)
    return rebuilt, (rebuilt - P).square().sum()


@wrong("ipt_rebuild", "the root was taken: it is the mean of the squares itself")
def rebuild_root(P, E, e, W1, b1, W2, b2):
    rebuilt = row(E @ P.flatten() + e, W1, b1, W2, b2).reshape(P.shape)
    return rebuilt, error(rebuilt, P).sqrt()


@wrong("ipt_rebuild", "the differences are not squared")
def rebuild_absolute(P, E, e, W1, b1, W2, b2):
    rebuilt = row(E @ P.flatten() + e, W1, b1, W2, b2).reshape(P.shape)
    return rebuilt, (rebuilt - P).abs().mean()


@wrong("ipt_rebuild", "there is a nonlinearity in the encoder: it is one matrix and its bias, nothing more")
def rebuild_bent_encoder(P, E, e, W1, b1, W2, b2):
    rebuilt = row(torch.tanh(E @ P.flatten() + e), W1, b1, W2, b2).reshape(P.shape)
    return rebuilt, error(rebuilt, P)


@wrong("ipt_rebuild", "P is flattened in the wrong order: its vectors stand one after the other")
def rebuild_columns(P, E, e, W1, b1, W2, b2):
    rebuilt = row(E @ P.T.flatten() + e, W1, b1, W2, b2).reshape(P.shape)
    return rebuilt, error(rebuilt, P)


@wrong("ipt_rebuild", "the tanh of the decoder is missing")
def rebuild_straight(P, E, e, W1, b1, W2, b2):
    rebuilt = (W2 @ (W1 @ (E @ P.flatten() + e) + b1) + b2).reshape(P.shape)
    return rebuilt, error(rebuilt, P)


@wrong("ipt_rebuild", "e is missing, the encoder's bias")
def rebuild_no_bias(P, E, e, W1, b1, W2, b2):
    rebuilt = row(E @ P.flatten(), W1, b1, W2, b2).reshape(P.shape)
    return rebuilt, error(rebuilt, P)


@wrong("ipt_rebuild", "P* is to be n vectors, and it is still one row")
def rebuild_row(P, E, e, W1, b1, W2, b2):
    rebuilt = row(E @ P.flatten() + e, W1, b1, W2, b2)
    return rebuilt, (rebuilt - P.flatten()).square().mean()


@wrong("ipt_gradient", "both mistakes are still there: look at the line of `hidden`, and at the order of G's numbers")
def gradient_given(G, z, W1, b1, W2):
    return W1.T @ ((W2.T @ G.T.flatten()) * (1 - (W1 @ z + b1) ** 2))


@wrong("ipt_gradient", "one is found; the order of G's numbers is still not that of the prompt's row")
def gradient_columns(G, z, W1, b1, W2):
    return W1.T @ ((W2.T @ G.T.flatten()) * (1 - torch.tanh(W1 @ z + b1) ** 2))


@wrong("ipt_gradient", "one is found; but 1 - hidden^2 is the derivative only if `hidden` is what comes out of tanh")
def gradient_no_tanh(G, z, W1, b1, W2):
    return W1.T @ ((W2.T @ G.flatten()) * (1 - (W1 @ z + b1) ** 2))


@wrong("ipt_gradient", "the derivative of tanh is missing altogether")
def gradient_straight(G, z, W1, b1, W2):
    return W1.T @ (W2.T @ G.flatten())


@wrong("ipt_gradient", "1 - tanh is no derivative of tanh: the square is missing")
def gradient_no_square(G, z, W1, b1, W2):
    return W1.T @ ((W2.T @ G.flatten()) * (1 - torch.tanh(W1 @ z + b1)))


@wrong("ipt_gradient", "tanh itself is not its derivative")
def gradient_tanh_itself(G, z, W1, b1, W2):
    return W1.T @ ((W2.T @ G.flatten()) * torch.tanh(W1 @ z + b1))


def best(change, others):
    A, y = others.flatten(1).T, change.flatten()
    return A @ torch.linalg.lstsq(A, y[:, None]).solution[:, 0], y


@wrong("ipt_explained", "the shares of the single others are added: what two of them have in common is counted twice")
def explained_added(change, others):
    return F.cosine_similarity(others.flatten(1), change.flatten()[None]).square().sum()


@wrong("ipt_explained", "that is what the nearest of the others holds alone: a sum of all of them holds more")
def explained_nearest(change, others):
    return F.cosine_similarity(others.flatten(1), change.flatten()[None]).square().max()


@wrong("ipt_explained", "all others get the same weight here: the numbers a_i are to be the best ones")
def explained_mean(change, others):
    return F.cosine_similarity(others.mean(0).flatten(), change.flatten(), 0).square()


@wrong("ipt_explained", "that is the share of the length: squared lengths were asked for")
def explained_length(change, others):
    held, y = best(change, others)
    return held.norm() / y.norm()


@wrong("ipt_explained", "that is the share that is left over")
def explained_rest(change, others):
    held, y = best(change, others)
    return 1 - held.square().sum() / y.square().sum()


@wrong("ipt_explained", "the mean was subtracted first: a change is measured from the start of the training already")
def explained_centred(change, others):
    held, y = best(change - change.mean(), others - others.mean((1, 2), keepdim=True))
    return held.square().sum() / y.square().sum()


def encoder(n, d, k):
    return n * d * k + k


def decoder(n, d, m, k):
    return k * m + m + m * n * d + n * d


@wrong("ipt_counts", "the encoder is missing in the first number: it trains together with the decoder")
def counts_no_encoder(n, d, m, k):
    return decoder(n, d, m, k), k, min(m, n * d)


@wrong("ipt_counts", "the decoder is missing in the first number")
def counts_no_decoder(n, d, m, k):
    return encoder(n, d, k), k, min(m, n * d)


@wrong("ipt_counts", "biases are missing in the first number: e, b1 and b2 train as well")
def counts_no_biases(n, d, m, k):
    return n * d * k + k * m + m * n * d, k, min(m, n * d)


@wrong("ipt_counts", "for a new task the decoder is frozen: z trains alone")
def counts_decoder_trains(n, d, m, k):
    return encoder(n, d, k) + decoder(n, d, m, k), decoder(n, d, m, k) + k, min(m, n * d)


@wrong("ipt_counts", "for a new task the prompt itself doesn't train, only the numbers it is made of")
def counts_prompt_trains(n, d, m, k):
    return encoder(n, d, k) + decoder(n, d, m, k), n * d, min(m, n * d)


@wrong("ipt_counts", "k directions are enough near one z; tanh bends the space, and in all it needs more")
def counts_flat(n, d, m, k):
    return encoder(n, d, k) + decoder(n, d, m, k), k, min(k, n * d)


@wrong("ipt_counts", "a prompt has n d numbers, but W2 has only m columns")
def counts_all_directions(n, d, m, k):
    return encoder(n, d, k) + decoder(n, d, m, k), k, n * d


@wrong("ipt_counts", "m columns of n d numbers each can't span more than n d dimensions")
def counts_more_than_there_are(n, d, m, k):
    return encoder(n, d, k) + decoder(n, d, m, k), k, m
