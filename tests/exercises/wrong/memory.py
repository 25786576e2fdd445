"""Wrong answers to lesson 02's exercises, and the hint that each earns."""

import math

from minipeft.course.exercise import wrong

# -- 02.1 -------------------------------------------------------------------------------------------------------------


@wrong(
    "step_bytes",
    "a trained number has four tensors of fp32: its weight, its gradient, and two averages; one of them is missing",
)
def adam_once(frozen, trained, base_bytes, activations):
    return frozen * base_bytes + trained * (4 + 4 + 4) + activations


@wrong("step_bytes", "the optimizer is missing: AdamW keeps two fp32 averages of each trained number")
def no_adam(frozen, trained, base_bytes, activations):
    return frozen * base_bytes + trained * (4 + 4) + activations


@wrong("step_bytes", "frozen numbers have neither gradient nor averages: their weight is all there is of them")
def frozen_have_all(frozen, trained, base_bytes, activations):
    return frozen * (base_bytes + 12) + trained * 16 + activations


@wrong("step_bytes", "frozen numbers have no gradient")
def frozen_have_gradients(frozen, trained, base_bytes, activations):
    return frozen * 2 * base_bytes + trained * 16 + activations


@wrong("step_bytes", "trained numbers are stored in fp32, 4 bytes, not in the base's precision")
def trained_as_base(frozen, trained, base_bytes, activations):
    return (frozen + trained) * base_bytes + trained * 12 + activations


@wrong("step_bytes", "that is in bits: a byte has 8 of them, and bytes are asked for")
def in_bits(frozen, trained, base_bytes, activations):
    return 8 * (frozen * base_bytes + trained * 16 + activations)


@wrong("step_bytes", "the activations are missing")
def no_activations(frozen, trained, base_bytes, activations):
    return frozen * base_bytes + trained * 16


# -- 02.2 -------------------------------------------------------------------------------------------------------------


@wrong("linear_keeps", "crossed: the gradient of W is G^T x, so it is x that is kept for it; for the gradient of x, W")
def crossed(x_needs, W_trains, bias_trains):
    return x_needs, W_trains


@wrong("linear_keeps", "the gradient of the bias is a sum of G's rows: neither x nor W is needed for it")
def bias_needs_x(x_needs, W_trains, bias_trains):
    return W_trains or bias_trains, x_needs


@wrong("linear_keeps", "each of the two is kept for one gradient only: not both as soon as anything needs one")
def both_or_none(x_needs, W_trains, bias_trains):
    return (x_needs or W_trains or bias_trains,) * 2


@wrong("linear_keeps", "W is kept for the gradient of x alone: at the bottom, where nobody needs that, it isn't")
def always_W(x_needs, W_trains, bias_trains):
    return W_trains, True


@wrong("linear_keeps", "x is kept for the gradient of W alone: a frozen W has none")
def always_x(x_needs, W_trains, bias_trains):
    return True, x_needs


@wrong("linear_keeps", "a frozen Linear keeps W if the gradient has to go through it: its gradient of x is G W")
def frozen_keeps_nothing(x_needs, W_trains, bias_trains):
    return W_trains, x_needs and W_trains


# -- 02.3 -------------------------------------------------------------------------------------------------------------


def mlp(n, d, f, x, before, after, size):
    """Bytes of the three tensors, those that are kept."""
    return (x * n * d + before * n * f + after * n * f) * size


@wrong("mlp_keeps", "gelu has no weights, but its gradient is computed from its input, up(x), which is kept too")
def no_gelu(n, d, f, x_needs, up_trains, down_trains, size):
    return mlp(n, d, f, up_trains, False, down_trains, size)


@wrong("mlp_keeps", "frozen weights: x is kept only for the gradient of up.weight, gelu(up(x)) only for down.weight's")
def as_if_all_trained(n, d, f, x_needs, up_trains, down_trains, size):
    return mlp(n, d, f, *(x_needs or up_trains or down_trains,) * 3, size)


@wrong(
    "mlp_keeps", "if down alone trains, the gradient stops there: gelu's input is kept only if something below waits"
)
def gelu_for_down(n, d, f, x_needs, up_trains, down_trains, size):
    return mlp(n, d, f, up_trains, x_needs or up_trains or down_trains, down_trains, size)


@wrong("mlp_keeps", "to train up, or anything below the MLP, the gradient goes back through gelu: its input is kept")
def gelu_for_up_only(n, d, f, x_needs, up_trains, down_trains, size):
    return mlp(n, d, f, up_trains, up_trains, down_trains, size)


@wrong("mlp_keeps", "the gradient of x is G W, without x in it: x is kept only if up.weight trains")
def x_for_x(n, d, f, x_needs, up_trains, down_trains, size):
    return mlp(n, d, f, x_needs or up_trains, x_needs or up_trains, down_trains, size)


@wrong(
    "mlp_keeps", "what is added to the stream, down's output, is kept by nobody: a sum needs nothing on the way back"
)
def keeps_output(n, d, f, x_needs, up_trains, down_trains, size):
    any_of_them = x_needs or up_trains or down_trains
    return mlp(n, d, f, up_trains, x_needs or up_trains, down_trains, size) + any_of_them * n * d * size


@wrong("mlp_keeps", "that is how many numbers; each has `size` bytes")
def in_numbers(n, d, f, x_needs, up_trains, down_trains, size):
    return mlp(n, d, f, up_trains, x_needs or up_trains, down_trains, 1)


# -- 02.4 -------------------------------------------------------------------------------------------------------------


def texts(memory, fixed, per_text):
    return max(0, (memory - fixed) // per_text)


@wrong("largest_batch", "a number of texts is whole: use //, which rounds down")
def not_whole(memory, fixed, t, layers, stream, block, recompute=False):
    return max(0, (memory - fixed) / (t * (layers * stream + (1 if recompute else layers) * block)))


@wrong("largest_batch", "rounded up: the last text does not fit any more")
def rounded_up(memory, fixed, t, layers, stream, block, recompute=False):
    return max(0, math.ceil((memory - fixed) / (t * (layers * stream + (1 if recompute else layers) * block))))


@wrong("largest_batch", "`fixed` is missing: weights, gradients and optimizer are in the same memory")
def fixed_forgotten(memory, fixed, t, layers, stream, block, recompute=False):
    return texts(memory, 0, t * (layers * stream + (1 if recompute else layers) * block))


@wrong("largest_batch", "that is how many tokens fit; a text has t of them")
def in_tokens(memory, fixed, t, layers, stream, block, recompute=False):
    return texts(memory, fixed, layers * stream + (1 if recompute else layers) * block)


@wrong("largest_batch", "fewer than no texts: if not even `fixed` fits, the answer is 0")
def below_zero(memory, fixed, t, layers, stream, block, recompute=False):
    return (memory - fixed) // (t * (layers * stream + (1 if recompute else layers) * block))


@wrong("largest_batch", "with recomputation, the block that is run again keeps everything for a moment: `block`, once")
def recompute_keeps_inputs_only(memory, fixed, t, layers, stream, block, recompute=False):
    return texts(memory, fixed, t * (layers * stream + (0 if recompute else layers) * block))


@wrong("largest_batch", "recomputation is not looked at: with it, `block` is kept in one block at a time, not in all")
def never_recomputes(memory, fixed, t, layers, stream, block, recompute=False):
    return texts(memory, fixed, t * layers * (stream + block))


@wrong("largest_batch", "with recomputation the input of every block is still kept: `stream` counts `layers` times")
def recompute_keeps_one_block(memory, fixed, t, layers, stream, block, recompute=False):
    return texts(memory, fixed, t * (1 if recompute else layers) * (stream + block))


# -- 02.5 -------------------------------------------------------------------------------------------------------------


@wrong("blocks_keeping", "a frozen block above one that trains keeps something as well: the gradient goes through it")
def those_that_train(layers, trained):
    return len(trained)


@wrong("blocks_keeping", "one too few: the lowest block that trains keeps something itself")
def without_the_lowest(layers, trained):
    return layers - min(trained) - 1


@wrong(
    "blocks_keeping",
    "the other way round: the gradient comes from the head, so the blocks below all that train "
    "are spared, not those above",
)
def from_below(layers, trained):
    return max(trained) + 1


@wrong("blocks_keeping", "the gradient has to reach the lowest block that trains, not the highest only")
def down_to_the_highest(layers, trained):
    return layers - max(trained)


@wrong("blocks_keeping", "the way begins at the head: the frozen blocks above the highest that trains count too")
def between(layers, trained):
    return max(trained) - min(trained) + 1


@wrong("blocks_keeping", "`trained` may come in any order: its lowest number is not always the first")
def the_first_listed(layers, trained):
    return layers - trained[0]


@wrong("blocks_keeping", "blocks below everything that trains keep nothing: no gradient ever goes there")
def all_blocks(layers, trained):
    return layers


# -- 02.6 -------------------------------------------------------------------------------------------------------------


@wrong("folded", "the branch reads h, which the bias is in: the bias is multiplied too")
def bias_as_it_was(W, bias, A, B):
    return W + B @ (A @ W), bias


@wrong("folded", "h itself is missing: the branch's output is added to h")
def without_h(W, bias, A, B):
    return B @ (A @ W), B @ (A @ bias)


@wrong("folded", "W + B A is LoRA, where the branch stands beside W and reads x; here it stands behind W and reads h")
def beside(W, bias, A, B):
    return W + B @ A, bias


@wrong("folded", "W or the bias was changed in place: the base is shared, make new tensors")
def in_place(W, bias, A, B):
    W += B @ (A @ W)
    return W, bias + B @ (A @ bias)


@wrong("folded", "the order is turned round: first A, then B, so the matrix of the branch is B A")
def transposed(W, bias, A, B):
    return W + A.T @ (B.T @ W), bias + A.T @ (B.T @ bias)


@wrong("folded", "the weight alone was returned; the new bias is asked for as well")
def weight_alone(W, bias, A, B):
    return W + B @ (A @ W)
