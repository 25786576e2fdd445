"""Wrong answers to lesson 17's exercises, and the hint that each earns.

They are recognised by what they compute, on the same inputs as the learner's answer, however that is written.
"""

import torch

from minipeft.course.exercise import wrong


def change(x, A, B):
    return (A @ x.unflatten(-1, (len(A), len(B))) @ B.T).flatten(-2)


@wrong("krona_res", "the residual is not plain: x is added r times, and r is learned")
def plain_residual(h, x, A, B, scale, r):
    return h + scale * change(x, A, B) + x


@wrong("krona_res", "the residual is missing: that is KronA^B")
def no_residual(h, x, A, B, scale, r):
    return h + scale * change(x, A, B)


@wrong("krona_res", "the product reads h: it stands beside the MLP and reads x, as the MLP does")
def after_the_mlp(h, x, A, B, scale, r):
    return h + scale * change(h, A, B) + r * x


@wrong("krona_res", "the residual adds h: it is a copy of x, what the MLP reads")
def residual_of_the_output(h, x, A, B, scale, r):
    return h + scale * change(x, A, B) + r * h


@wrong("krona_res", "scale reaches the residual too: that has r")
def scale_on_both(h, x, A, B, scale, r):
    return h + scale * (change(x, A, B) + r * x)


@wrong("krona_res", "scale is missing")
def no_scale(h, x, A, B, scale, r):
    return h + change(x, A, B) + r * x


@wrong("krona_res", "h is missing: the MLP stays, the product stands beside it")
def without_the_mlp(h, x, A, B, scale, r):
    return scale * change(x, A, B) + r * x


@wrong("krona_res", "there is no nonlinearity between A and B: this is no adapter with a bottleneck")
def nonlinear(h, x, A, B, scale, r):
    X = x.unflatten(-1, (len(A), len(B)))
    return h + scale * (A @ (X @ B.T).relu()).flatten(-2) + r * x


@wrong("krona_res_count", "the product goes from the stream to the stream, d to d: f has no part in it")
def count_hidden(L, d, f, a, residual):
    return L * (a * a + (d // a) * (f // a) + residual)


@wrong("krona_res_count", "each layer has its own r")
def count_shared_r(L, d, f, a, residual):
    return L * (a * a + (d // a) ** 2) + residual


@wrong("krona_res_count", "the residual's number is missing, or is there without a residual")
def count_no_r(L, d, f, a, residual):
    return L * (a * a + (d // a) ** 2)


@wrong("krona_res_count", "r is one number for the whole of x, not one for each of its d numbers")
def count_r_vector(L, d, f, a, residual):
    return L * (a * a + (d // a) ** 2 + d * residual)


@wrong("krona_res_count", "one layer: there are L of them")
def count_one_layer(L, d, f, a, residual):
    return a * a + (d // a) ** 2 + residual


@wrong("krona_res_count", "that is two products, one for each matrix of the MLP: there is one, beside the whole of it")
def count_two_products(L, d, f, a, residual):
    return L * (2 * (a * a + (d // a) ** 2) + residual)


def by_hand(x, G, A, B, scale):
    X, Y = (z.unflatten(-1, (len(A), len(B))) for z in (x, G))
    return scale * torch.einsum("nik,njl,kl->ij", Y, X, B), scale * torch.einsum("nik,njl,ij->kl", Y, X, A)


@wrong("krona_res_gradients", "the code as it was given: one of the three differs from autograd's, and by two factors")
def gradients_as_given(x, G, A, B, scale):
    return *by_hand(x, G, A, B, scale), scale * (G * x).mean()


@wrong("krona_res_gradients", "one is left: a gradient is the sum over all numbers of the output, not their mean")
def gradients_mean(x, G, A, B, scale):
    return *by_hand(x, G, A, B, scale), (G * x).mean()


@wrong("krona_res_gradients", "one is left: scale belongs to the product, and r x stands without it")
def gradients_scaled_r(x, G, A, B, scale):
    return *by_hand(x, G, A, B, scale), scale * (G * x).sum()


@wrong("krona_res_gradients", "r is one number, for all inputs and all of x: its gradient has no axes")
def gradients_r_vector(x, G, A, B, scale):
    return *by_hand(x, G, A, B, scale), (G * x).sum(0)


@wrong("krona_res_gradients", "now all three are without scale: those of A and B were right")
def gradients_unscaled(x, G, A, B, scale):
    return *by_hand(x, G, A, B, 1.0), (G * x).sum()


@wrong("krona_res_widened", "down adds the second unit: gelu(z) + gelu(-z) is no line, subtract it")
def widened_added(up, bias, down, M):
    d, one = len(M), torch.eye(len(M))
    return torch.cat([up, one, -one]), torch.cat([bias, torch.zeros(2 * d)]), torch.cat([down, M, M], 1)


@wrong("krona_res_widened", "the units read x twice with the same sign, so that one takes away what the other brings")
def widened_same_sign(up, bias, down, M):
    d, one = len(M), torch.eye(len(M))
    return torch.cat([up, one, one]), torch.cat([bias, torch.zeros(2 * d)]), torch.cat([down, M, -M], 1)


@wrong("krona_res_widened", "M is transposed: down maps hidden units to outputs, down @ z, and M stands in it as it is")
def widened_transposed(up, bias, down, M):
    d, one = len(M), torch.eye(len(M))
    return torch.cat([up, one, -one]), torch.cat([bias, torch.zeros(2 * d)]), torch.cat([down, M.T, -M.T], 1)


@wrong("krona_res_widened", "M is there twice, before GELU and behind it: once is enough")
def widened_twice(up, bias, down, M):
    d = len(M)
    return torch.cat([up, M, -M]), torch.cat([bias, torch.zeros(2 * d)]), torch.cat([down, M, -M], 1)


@wrong("krona_res_widened", "d more units are not enough: gelu of a number alone is no line, it takes its negative too")
def widened_by_d(up, bias, down, M):
    d, one = len(M), torch.eye(len(M))
    return torch.cat([up, one]), torch.cat([bias, torch.zeros(d)]), torch.cat([down, M], 1)


@wrong("krona_res_widened", "the new units need a bias of zero: with another one the two don't add up to z")
def widened_bias(up, bias, down, M):
    d, one = len(M), torch.eye(len(M))
    return torch.cat([up, one, -one]), torch.cat([bias, torch.ones(2 * d)]), torch.cat([down, M, -M], 1)
