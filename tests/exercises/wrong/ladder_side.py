"""Wrong answers to lesson 08's exercises, and the hint that each earns.

They are recognised by what they compute, on the same inputs as the learner's answer, however that is written.
"""

import torch

from minipeft.course.exercise import wrong


@wrong("ladder_fuse", "the gate is inverted: g belongs to s, the side's own state, and 1 - g to the backbone's")
def fuse_inverted(s, h, D, bias, alpha, temperature):
    g = torch.sigmoid(alpha / temperature)
    return (1 - g) * s + g * (h @ D.T + bias)


@wrong("ladder_fuse", "the temperature is missing: alpha is divided by it")
def fuse_without_temperature(s, h, D, bias, alpha, temperature):
    g = torch.sigmoid(alpha)
    return g * s + (1 - g) * (h @ D.T + bias)


@wrong("ladder_fuse", "alpha is multiplied by the temperature: divide, that makes the gate steeper")
def fuse_times_temperature(s, h, D, bias, alpha, temperature):
    g = torch.sigmoid(alpha * temperature)
    return g * s + (1 - g) * (h @ D.T + bias)


@wrong("ladder_fuse", "alpha isn't the gate itself: it goes through a sigmoid")
def fuse_without_sigmoid(s, h, D, bias, alpha, temperature):
    g = alpha / temperature
    return g * s + (1 - g) * (h @ D.T + bias)


@wrong("ladder_fuse", "the bias stands outside of the gate: 1 - g takes all of D h + bias")
def fuse_bias_outside(s, h, D, bias, alpha, temperature):
    g = torch.sigmoid(alpha / temperature)
    return g * s + (1 - g) * (h @ D.T) + bias


@wrong("ladder_fuse", "the bias is missing: D is a Linear with one")
def fuse_without_bias(s, h, D, bias, alpha, temperature):
    g = torch.sigmoid(alpha / temperature)
    return g * s + (1 - g) * (h @ D.T)


@wrong("ladder_fuse", "1 - g is missing: the more the rung takes of the one, the less it takes of the other")
def fuse_added(s, h, D, bias, alpha, temperature):
    g = torch.sigmoid(alpha / temperature)
    return g * s + h @ D.T + bias


def ladder(states, D_0, d_0, D, d, alpha, M, U, u, temperature=0.1, after=1, own=True, inverted=False):
    s = states[0] @ D_0.T + d_0
    for i in range(len(D)):
        g = torch.sigmoid(alpha[i] / temperature)
        g = 1 - g if inverted else g
        j = i if own else 0
        s = g * s + (1 - g) * (states[i + after] @ D[j].T + d[j])
        s = s + torch.tanh(s @ M[i].T)
    return s @ U.T + u


@wrong("ladder_side", "the temperature is missing: alpha is divided by 0.1 before the sigmoid")
def side_without_temperature(*arguments):
    return ladder(*arguments, temperature=1.0)


@wrong("ladder_side", "that is the stream before the block: states[0] is the embedding, and states[i + 1] comes after")
def side_before(*arguments):
    return ladder(*arguments, after=0)


@wrong("ladder_side", "one D for all: each rung has a D and a d of its own")
def side_shared(*arguments):
    return ladder(*arguments, own=False)


@wrong("ladder_side", "two of the four are left: which state is read, and which D reads it")
def side_before_and_shared(*arguments):
    return ladder(*arguments, after=0, own=False)


@wrong("ladder_side", "two of the four are left: the temperature, and which state is read")
def side_cold_and_before(*arguments):
    return ladder(*arguments, temperature=1.0, after=0)


@wrong("ladder_side", "two of the four are left: the temperature, and which D reads the state")
def side_cold_and_shared(*arguments):
    return ladder(*arguments, temperature=1.0, own=False)


@wrong("ladder_side", "the result has its right width now; three of the four are left")
def side_three_left(*arguments):
    return ladder(*arguments, temperature=1.0, after=0, own=False)


@wrong("ladder_side", "the code as it was given: it ends with the side's width, and the head reads the backbone's")
def side_as_given(states, D_0, d_0, D, d, alpha, M, U, u):
    s = states[0] @ D_0.T + d_0
    for i in range(len(D)):
        g = torch.sigmoid(alpha[i])
        s = g * s + (1 - g) * (states[i] @ D[0].T + d[0])
        s = s + torch.tanh(s @ M[i].T)
    return s


@wrong("ladder_count", "the width is missing its division: the blocks are d / r wide")
def count_wide_blocks(d, f, r, rungs):
    return rungs * (4 * d * d + 2 * d * f + 9 * d + f + d * d // r + d // r + 1) + 2 * d * d // r + 3 * d // r + d


@wrong("ladder_count", "the first D is missing: the embedding needs one too")
def count_without_first(d, f, r, rungs):
    e, f = d // r, f // r
    return rungs * (4 * e * e + 2 * e * f + 9 * e + f + d * e + e + 1) + 2 * e + d * e + d


@wrong("ladder_count", "the gates are missing: one number for each rung")
def count_without_gates(d, f, r, rungs):
    e, f = d // r, f // r
    return rungs * (4 * e * e + 2 * e * f + 9 * e + f + d * e + e) + d * e + e + 2 * e + d * e + d


@wrong("ladder_count", "one D for all rungs: each has its own")
def count_shared(d, f, r, rungs):
    e, f = d // r, f // r
    return rungs * (4 * e * e + 2 * e * f + 9 * e + f + 1) + 2 * (d * e + e) + 2 * e + d * e + d


@wrong("ladder_count", "the last norm is missing, the one behind the last block")
def count_without_norm(d, f, r, rungs):
    e, f = d // r, f // r
    return rungs * (4 * e * e + 2 * e * f + 9 * e + f + d * e + e + 1) + d * e + e + d * e + d


@wrong("ladder_count", "the Linear back to the width of the base is missing")
def count_without_up(d, f, r, rungs):
    e, f = d // r, f // r
    return rungs * (4 * e * e + 2 * e * f + 9 * e + f + d * e + e + 1) + d * e + e + 2 * e


@wrong("ladder_count", "the biases and norms inside the blocks are missing")
def count_weights_alone(d, f, r, rungs):
    e, f = d // r, f // r
    return rungs * (4 * e * e + 2 * e * f + d * e + e + 1) + d * e + e + 2 * e + d * e + d


@wrong("ladder_kept", "the embedding is missing: D_0 reads it, and D_0 trains")
def kept_without_embedding(b, t, d, rungs):
    return len(rungs) * b * t * d


@wrong("ladder_kept", "not one for every block below the last rung: only blocks with a rung have a reader")
def kept_of_every_block(b, t, d, rungs):
    return (2 + max(rungs)) * b * t * d


@wrong("ladder_kept", "nothing? No gradient enters the backbone, but each D keeps what it has read, for its own")
def kept_nothing(b, t, d, rungs):
    return 0


@wrong("ladder_kept", "of one text: there are b of them in the batch")
def kept_of_one_text(b, t, d, rungs):
    return (1 + len(rungs)) * t * d


@wrong("ladder_kept", "of one token: there are t of them in each text")
def kept_of_one_token(b, t, d, rungs):
    return (1 + len(rungs)) * b * d


@wrong("ladder_kept", "the embedding alone? Each rung reads a state of its own, and keeps it")
def kept_embedding_alone(b, t, d, rungs):
    return b * t * d
