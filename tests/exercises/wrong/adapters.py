"""Wrong answers to lesson 03's exercises, and the hint that each earns.

They are recognised by what they compute, on the same inputs as the learner's answer, however that is written.
"""

import torch
import torch.nn.functional as F

from minipeft.course.exercise import wrong


@wrong("adapter", "the skip is missing: h itself has to pass, or the frozen part's work is thrown away")
def no_skip(h, D, c, U, b):
    return F.gelu(h @ D.T + c) @ U.T + b


@wrong("adapter", "h is there twice: one skip is enough")
def skip_twice(h, D, c, U, b):
    return 2 * h + F.gelu(h @ D.T + c) @ U.T + b


@wrong("adapter", "the nonlinearity is missing: what is left is one thin linear map")
def no_activation(h, D, c, U, b):
    return h + (h @ D.T + c) @ U.T + b


@wrong("adapter", "that is relu: here it is gelu")
def relu(h, D, c, U, b):
    return h + F.relu(h @ D.T + c) @ U.T + b


@wrong("adapter", "gelu stands at the end: it belongs between the two matrices, on the m numbers")
def activation_at_the_end(h, D, c, U, b):
    return h + F.gelu((h @ D.T + c) @ U.T + b)


@wrong("adapter", "c comes after gelu: it belongs to the first Linear, inside gelu's argument")
def bias_after_activation(h, D, c, U, b):
    return h + (F.gelu(h @ D.T) + c) @ U.T + b


@wrong("adapter", "c, the bias of the first Linear, is missing")
def no_c(h, D, c, U, b):
    return h + F.gelu(h @ D.T) @ U.T + b


@wrong("adapter", "b, the bias of the second Linear, is missing")
def no_b(h, D, c, U, b):
    return h + F.gelu(h @ D.T + c) @ U.T


def bottleneck(h, D, c, U, b):
    return F.gelu(h @ D.T + c) @ U.T + b


@wrong("adapter_joins", "in Houlsby's placement x itself does not pass through the adapter, only s does")
def joins_always_after(x, s, D, c, U, b, placement):
    return x + s + bottleneck(x + s, D, c, U, b)


@wrong("adapter_joins", "in Pfeiffer's placement the adapter reads the stream, x + s, not s")
def joins_always_before(x, s, D, c, U, b, placement):
    return x + s + bottleneck(s, D, c, U, b)


@wrong("adapter_joins", "the adapter's own skip is missing: s is lost")
def joins_without_s(x, s, D, c, U, b, placement):
    return x + bottleneck(s if placement == "houlsby" else x + s, D, c, U, b)


@wrong("adapter_joins", "the residual stream is missing: x has to go on, whatever the sub-layer does")
def joins_without_x(x, s, D, c, U, b, placement):
    return s + bottleneck(s if placement == "houlsby" else x + s, D, c, U, b)


@wrong("adapter_joins", "with Pfeiffer's placement the stream is counted twice: A(x + s) holds x + s already")
def joins_stream_twice(x, s, D, c, U, b, placement):
    if placement == "houlsby":
        return x + s + bottleneck(s, D, c, U, b)
    return x + x + s + bottleneck(x + s, D, c, U, b)


@wrong("adapter_count", "one adapter a block: that is Pfeiffer's, Houlsby's has two")
def count_one_a_block(layers, d, m, norms):
    return layers * (2 * d * m + m + d) + (2 * layers + 1) * 2 * d * norms


@wrong("adapter_count", "the biases are missing: m of them in the first Linear, d in the second")
def count_without_biases(layers, d, m, norms):
    return 2 * layers * 2 * d * m + (2 * layers + 1) * 2 * d * norms


@wrong("adapter_count", "one matrix of the two: D is (m, d), and U is (d, m)")
def count_one_matrix(layers, d, m, norms):
    return 2 * layers * (d * m + m + d) + (2 * layers + 1) * 2 * d * norms


@wrong("adapter_count", "the norm before the head is missing")
def count_without_last_norm(layers, d, m, norms):
    return 2 * layers * (2 * d * m + m + d) + 2 * layers * 2 * d * norms


@wrong("adapter_count", "a LayerNorm has a gain and a bias: 2 d numbers (a LLaMA's RMSNorm has the gain alone)")
def count_gains_alone(layers, d, m, norms):
    return 2 * layers * (2 * d * m + m + d) + (2 * layers + 1) * d * norms


@wrong("adapter_count", "the norms are never counted: with norms=True they train too")
def count_never_norms(layers, d, m, norms):
    return 2 * layers * (2 * d * m + m + d)


@wrong("adapter_count", "the norms are always counted: with norms=False they stay frozen")
def count_always_norms(layers, d, m, norms):
    return 2 * layers * (2 * d * m + m + d) + (2 * layers + 1) * 2 * d


@wrong("adapter_moves", "the two are exchanged: a zero U stops what lies below it, D and c, not itself")
def moves_exchanged(D_is_zero, U_is_zero):
    return not D_is_zero, not D_is_zero, not U_is_zero, True


@wrong("adapter_moves", "c lies below U, as D does: with U zero, no gradient reaches it")
def moves_c_always(D_is_zero, U_is_zero):
    return not U_is_zero, True, not D_is_zero, True


@wrong("adapter_moves", "everything moves? With U zero, no gradient comes through U to D and c")
def moves_everything(D_is_zero, U_is_zero):
    return True, True, True, True


@wrong("adapter_moves", "U's gradient is a product with gelu(D h + c): with D and c zero it is zero")
def moves_u_always(D_is_zero, U_is_zero):
    return not U_is_zero, not U_is_zero, True, True


@wrong("adapter_moves", "D is zero, but its gradient is not: it comes through U, and gelu'(0) is 1/2")
def moves_zero_stays(D_is_zero, U_is_zero):
    return not (D_is_zero or U_is_zero), not (D_is_zero or U_is_zero), not D_is_zero, True


@wrong("adapter_moves", "nothing stands in b's way: it is added to the result")
def moves_dead(D_is_zero, U_is_zero):
    return not U_is_zero, not U_is_zero, not D_is_zero, not (D_is_zero and U_is_zero)


@wrong("adapter_folded", "the code as it was given: put x = 0 through both, and compare with its bias")
def folded_as_given(W, bias, D, c, U, b):
    M = torch.eye(len(b)) + U @ D
    return M @ W, bias + U @ c + b


@wrong("adapter_folded", "I is missing in the bias's M: the adapter has a skip, and the Linear's bias takes it too")
def folded_bias_without_skip(W, bias, D, c, U, b):
    M = torch.eye(len(b)) + U @ D
    return M @ W, U @ D @ bias + U @ c + b


@wrong("adapter_folded", "c is missing: it goes through U")
def folded_without_c(W, bias, D, c, U, b):
    M = torch.eye(len(b)) + U @ D
    return M @ W, M @ bias + b


@wrong("adapter_folded", "b is inside the bracket now: it is added last, M doesn't meet it")
def folded_b_too(W, bias, D, c, U, b):
    M = torch.eye(len(b)) + U @ D
    return M @ W, M @ (bias + b) + U @ c


@wrong("adapter_folded", "M is transposed: U D is (d, d), and U comes on the left")
def folded_transposed(W, bias, D, c, U, b):
    M = torch.eye(len(b)) + (U @ D).T
    return M @ W, M @ bias + U @ c + b


@wrong("adapter_folded", "the weight was right as it was given")
def folded_weight_without_skip(W, bias, D, c, U, b):
    M = torch.eye(len(b)) + U @ D
    return U @ D @ W, M @ bias + U @ c + b
