"""Wrong answers to lesson 18's exercises, and the hint that each earns.

They are recognised by what they compute, on the same inputs as the learner's answer, however that is written.
"""

import torch
import torch.nn.functional as F

from minipeft.course.exercise import wrong


def gradients(h, G, D, c, U):
    z = F.relu(h @ D.T + c)
    return ((G @ U) * (z > 0)).T @ h, G.T @ z


@wrong("snip_scores", "that is the gradient of the weights; the mask multiplies a weight, and its gradient has w in it")
def scores_gradient(h, G, D, c, U, b):
    of_D, of_U = gradients(h, G, D, c, U)
    return of_D.abs(), of_U.abs()


@wrong("snip_scores", "that is the score called magnitude: the loss has no part in it")
def scores_magnitude(h, G, D, c, U, b):
    return D.abs(), U.abs()


@wrong("snip_scores", "the sign is left: who would be missed, in whatever direction?")
def scores_signed(h, G, D, c, U, b):
    of_D, of_U = gradients(h, G, D, c, U)
    return D * of_D, U * of_U


@wrong("snip_scores", "the absolute value is taken of each token alone: first the sum over the tokens, then its size")
def scores_of_tokens(h, G, D, c, U, b):
    z = F.relu(h @ D.T + c)
    down = torch.einsum("nm,nd->nmd", (G @ U) * (z > 0), h)
    up = torch.einsum("nd,nm->ndm", G, z)
    return (D * down).abs().sum(0), (U * up).abs().sum(0)


@wrong("snip_scores", "D's gradient comes through the relu, which is shut for some tokens: (z > 0) is missing")
def scores_through_shut(h, G, D, c, U, b):
    of_U = gradients(h, G, D, c, U)[1]
    return (D * ((G @ U).T @ h)).abs(), (U * of_U).abs()


@wrong("snip_scores", "U's gradient takes what leaves the relu, not what enters it")
def scores_before_relu(h, G, D, c, U, b):
    of_D = gradients(h, G, D, c, U)[0]
    return (D * of_D).abs(), (U * (G.T @ (h @ D.T + c))).abs()


@wrong("snip_scores", "the gradient is squared, as in lesson 13's Fisher information; SNIP is |w g|")
def scores_fisher(h, G, D, c, U, b):
    of_D, of_U = gradients(h, G, D, c, U)
    return of_D.square(), of_U.square()


def largest(scores, count):
    mask = torch.zeros(scores.numel())
    mask[scores.flatten().topk(count).indices] = 1
    return mask.view(scores.shape)


def together(score_D, score_U, count, sign=1):
    mask = largest(sign * torch.cat([score_D.flatten(), score_U.flatten()]), count)
    return mask[: score_D.numel()].view(score_D.shape), mask[score_D.numel() :].view(score_U.shape)


@wrong("sparse_masks", "each matrix has lost the same share: the scores of both compete with each other")
def masks_local(score_D, score_U, sparsity):
    return tuple(largest(s, round((1 - sparsity) * s.numel())) for s in (score_D, score_U))


@wrong("sparse_masks", "sparsity is the share that is cut; here it is the share that stays")
def masks_density(score_D, score_U, sparsity):
    return together(score_D, score_U, round(sparsity * 2 * score_D.numel()))


@wrong("sparse_masks", "those with the smallest scores stay: they are the ones to cut")
def masks_smallest(score_D, score_U, sparsity):
    return together(score_D, score_U, round((1 - sparsity) * 2 * score_D.numel()), -1)


@wrong("sparse_masks", "the masks are the wrong way round: 1 for what stays, 0 for what is cut")
def masks_inverted(score_D, score_U, sparsity):
    masks = together(score_D, score_U, round((1 - sparsity) * 2 * score_D.numel()))
    return tuple(1 - mask for mask in masks)


@wrong("sparse_masks", "these are the scores that stay; a mask has ones in their places")
def masks_scores(score_D, score_U, sparsity):
    masks = together(score_D, score_U, round((1 - sparsity) * 2 * score_D.numel()))
    return masks[0] * score_D, masks[1] * score_U


@wrong("sparse_adapter", "nothing is cut: the masks are not used")
def adapter_dense(h, D, c, U, b, M_D, M_U):
    return h + F.relu(h @ D.T + c) @ U.T + b


@wrong("sparse_adapter", "the skip is missing: an adapter adds to h")
def adapter_no_skip(h, D, c, U, b, M_D, M_U):
    return F.relu(h @ (M_D * D).T + c) @ (M_U * U).T + b


@wrong("sparse_adapter", "the biases are missing: they are not cut")
def adapter_no_biases(h, D, c, U, b, M_D, M_U):
    return h + F.relu(h @ (M_D * D).T) @ (M_U * U).T


@wrong("sparse_adapter", "D alone is cut: U has a mask too")
def adapter_half(h, D, c, U, b, M_D, M_U):
    return h + F.relu(h @ (M_D * D).T + c) @ U.T + b


@wrong("sparse_adapter", "these adapters have a relu, not lesson 03's gelu")
def adapter_gelu(h, D, c, U, b, M_D, M_U):
    return h + F.gelu(h @ (M_D * D).T + c) @ (M_U * U).T + b


@wrong("sparse_adapter", "the relu is missing")
def adapter_linear(h, D, c, U, b, M_D, M_U):
    return h + (h @ (M_D * D).T + c) @ (M_U * U).T + b


@wrong(
    "sparse_adapter", "the result is right, but what stays must train: the masked weights are cut off from the gradient"
)
def adapter_detached(h, D, c, U, b, M_D, M_U):
    return h + F.relu(h @ (M_D * D).detach().T + c) @ (M_U * U).detach().T + b


@wrong("sparse_adapter", "the result is right, but what is cut still gets a gradient, and would come back")
def adapter_comes_back(h, D, c, U, b, M_D, M_U):
    down, up = (W + (M * W - W).detach() for W, M in ((D, M_D), (U, M_U)))
    return h + F.relu(h @ down.T + c) @ up.T + b


@wrong("large_sparse_count", "c is as long as the wide adapter is wide, and it is not cut")
def count_small_bias(L, d, m, grow):
    return 2 * L * (2 * d * m + m + d)


@wrong("large_sparse_count", "that is the wide adapter before it is cut")
def count_wide(L, d, m, grow):
    return 2 * L * (2 * d * grow * m + grow * m + d)


@wrong("large_sparse_count", "the biases are missing: they train, and are not cut")
def count_no_biases(L, d, m, grow):
    return 2 * L * 2 * d * m


@wrong("large_sparse_count", "that is one adapter a layer: there are two, after attention and after the MLP")
def count_one_a_layer(L, d, m, grow):
    return L * (2 * d * m + grow * m + d)


@wrong(
    "large_sparse_count", "that is the survey's 40 %: Large-Sparse cuts by what it has grown, half of twice the size"
)
def count_forty(L, d, m, grow):
    return 2 * L * (round(0.6 * 2 * d * grow * m) + grow * m + d)


@wrong("sparse_step", "the code as it was given: the old momentum moves what is cut, and nothing cuts it again")
def step_as_given(w, M, v, g, lr, beta):
    return M * w - lr * (beta * v + M * g)


@wrong("sparse_step", "what is cut stays at its old value: it should be zero")
def step_frozen(w, M, v, g, lr, beta):
    return w - lr * M * (beta * v + g)


@wrong("sparse_step", "cut before the step alone: gradient and momentum both bring back what was cut")
def step_cut_before(w, M, v, g, lr, beta):
    return M * w - lr * (beta * v + g)


@wrong("sparse_step", "the momentum is masked now, the gradient no longer is: what is cut comes back by that way")
def step_masked_momentum(w, M, v, g, lr, beta):
    return M * w - lr * (beta * M * v + g)


@wrong("sparse_step", "what is cut stays cut, but what stays has lost its momentum")
def step_no_momentum(w, M, v, g, lr, beta):
    return M * (w - lr * g)
