"""Wrong answers to lesson 14's exercises, and the hint that each earns.

They are recognised by what they compute, on the same inputs as the learner's answer, however that is written.
"""

import torch

from minipeft.course.exercise import wrong


@wrong("said_hadamard", "normalised: here H is made of 1 and -1, and H (H x) is n x")
def hadamard_normalised(x):
    def h(x):
        return x if len(x) == 1 else torch.cat([h(sum(x.chunk(2))), h(x.chunk(2)[0] - x.chunk(2)[1])])

    return h(x) / len(x) ** 0.5


@wrong("said_hadamard", "the sign of the second half: it is u - v, the minus stands at the lower right")
def hadamard_other_sign(x):
    if len(x) == 1:
        return x
    u, v = x.chunk(2)
    return torch.cat([hadamard_other_sign(u + v), hadamard_other_sign(v - u)])


@wrong("said_hadamard", "that is one step: u + v and u - v have to be transformed in turn, down to single numbers")
def hadamard_one_step(x):
    u, v = x.chunk(2) if len(x) > 1 else (x, x[:0])
    return torch.cat([u + v, u - v]) if len(x) > 1 else x


@wrong("said_hadamard", "the halves are the first and the second, not the numbers in even and in odd places")
def hadamard_even_odd(x):
    if len(x) == 1:
        return x
    u, v = x[0::2], x[1::2]
    return torch.cat([hadamard_even_odd(u + v), hadamard_even_odd(u - v)])


@wrong("said_hadamard", "only the first half was transformed in turn: the second, u - v, needs it too")
def hadamard_first_half(x):
    if len(x) == 1:
        return x
    u, v = x.chunk(2)
    return torch.cat([hadamard_first_half(u + v), u - v])


def food(z, signs, order, normal, H, size, c=None, two=True):
    x = torch.cat([signs * z, z.new_zeros(len(H) - len(z))])
    x = normal * (H @ x)[order]
    c = 1 / (size * normal.square().sum()).sqrt() if c is None else c
    return c * (H @ x if two else x)[:size]


@wrong("said_fastfood", "the permutation is missing: H G H alone is far from random, its columns repeat each other")
def fastfood_no_permutation(z, signs, order, normal, H, size):
    return food(z, signs, torch.arange(len(H)), normal, H, size)


@wrong("said_fastfood", "that is the inverse permutation: number i of the result is number order[i] of what comes in")
def fastfood_inverse_permutation(z, signs, order, normal, H, size):
    return food(z, signs, order.argsort(), normal, H, size)


@wrong("said_fastfood", "the permutation comes before G: here the normals were permuted along")
def fastfood_normal_first(z, signs, order, normal, H, size):
    return food(z, signs, order, normal[order], H, size)


@wrong("said_fastfood", "c is missing: the change's length would grow with the tensor")
def fastfood_no_scale(z, signs, order, normal, H, size):
    return food(z, signs, order, normal, H, size, c=1.0)


@wrong("said_fastfood", "c counts the `size` numbers that are kept, not all n")
def fastfood_scale_by_n(z, signs, order, normal, H, size):
    return food(z, signs, order, normal, H, size, c=1 / (len(H) * normal.square().sum()).sqrt())


@wrong("said_fastfood", "B is missing: the signs")
def fastfood_no_signs(z, signs, order, normal, H, size):
    return food(z, torch.ones_like(z), order, normal, H, size)


@wrong("said_fastfood", "the second H is missing: without it each number of the result sees one number alone")
def fastfood_one_transform(z, signs, order, normal, H, size):
    return food(z, signs, order, normal, H, size, two=False)


@wrong("said_fastfood", "G is missing: the normals")
def fastfood_no_normals(z, signs, order, normal, H, size):
    c = 1 / (size * normal.square().sum()).sqrt()
    return food(z, signs, order, torch.ones_like(normal), H, size, c=c)


def back(g, signs, order, normal, H):
    c = 1 / (len(g) * normal.square().sum()).sqrt()
    x = normal * (H @ torch.cat([g, g.new_zeros(len(H) - len(g))]))
    return c * signs * (H @ x[order])[: len(signs)]


@wrong("said_backward", "the code as it was given: ask torch.autograd.grad on your 14.2, and compare factor by factor")
def backward_as_given(g, signs, order, normal, H):
    return back(g, signs, order, normal, H)


@wrong("said_backward", "now there is no permutation at all: it has to be undone, not left out")
def backward_no_permutation(g, signs, order, normal, H):
    return back(g, signs, torch.arange(len(H)), normal, H)


@wrong("said_backward", "the permutation is undone, but too early: backwards, G comes before it")
def backward_too_early(g, signs, order, normal, H):
    undo = order.argsort()
    return back(g, signs, undo, normal[order], H)


@wrong("said_backward", "divided by n: backwards H is H again, not its inverse")
def backward_inverse(g, signs, order, normal, H):
    return back(g, signs, order.argsort(), normal, H) / len(H)


@wrong("said_count", "the scales come out of the budget, not on top of it")
def count_on_top(sizes, dims):
    return dims, dims + len(sizes), sum(sizes)


@wrong("said_count", "z is counted as if there were no scales: that is DID")
def count_did(sizes, dims):
    return dims, dims, sum(sizes)


@wrong("said_count", "the scales train too: with z they are the whole budget")
def count_z_alone(sizes, dims):
    return dims - len(sizes), dims - len(sizes), sum(sizes)


@wrong("said_count", "few numbers train, but P moves every number of every tensor")
def count_few_change(sizes, dims):
    return dims - len(sizes), dims, dims


@wrong("said_d90", "that is 90 % accuracy; d90 asks for 90 % of what full fine-tuning reaches")
def d90_absolute(budgets, accuracies, full):
    return min((d for d, a in zip(budgets, accuracies, strict=True) if a >= 0.9), default=0)


@wrong("said_d90", "the first one in the list that reaches it: they come in any order, the smallest is asked for")
def d90_first(budgets, accuracies, full):
    return next((d for d, a in zip(budgets, accuracies, strict=True) if a >= 0.9 * full), 0)


@wrong("said_d90", "that is the most accurate one: d90 asks for the smallest that is good enough")
def d90_best(budgets, accuracies, full):
    return max(zip(accuracies, budgets, strict=True))[1]


@wrong("said_d90", "that is the largest budget below the line, not the smallest above it")
def d90_below(budgets, accuracies, full):
    return max((d for d, a in zip(budgets, accuracies, strict=True) if a < 0.9 * full), default=0)


@wrong("said_d90", "that one reaches full fine-tuning itself: 90 % of it is enough")
def d90_all_of_it(budgets, accuracies, full):
    return min((d for d, a in zip(budgets, accuracies, strict=True) if a >= full), default=0)
