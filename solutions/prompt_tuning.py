"""Lesson 05, Prompt Tuning: learned vectors in front of the embedded text.

Letters: b batch, t tokens of the text, n vectors of the prompt, d width of the model, v size of the vocabulary.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def with_prompt(x: Tensor, mask: Tensor, P: Tensor) -> tuple[Tensor, Tensor]:
    """What the blocks are given: the prompt and then the text, and which of it may be seen.

    x (b, t, d): the embedded texts.  mask (b, t) of bool: False where a token is padding.  P (n, d), one for all texts.
    Returned are [P; x], (b, n + t, d), and the mask for it, (b, n + t).
    """
    # BEGIN SOLUTION
    b, n = len(x), len(P)
    x = torch.cat([P.expand(b, -1, -1), x], 1)
    mask = torch.cat([torch.ones(b, n, dtype=torch.bool), mask], 1)
    # END SOLUTION
    return x, mask


def prompt_from_labels(table: Tensor, labels: list[list[int]]) -> Tensor:
    """A start for the prompt: one vector for each label of the task, made from the embeddings of its tokens.

    table (v, d): the embedding of every token.  labels: the token ids of each label, such as [[7], [3, 1, 4]].  A label
    of several tokens starts from their mean.  Returned is P, (number of labels, d).
    """
    # BEGIN SOLUTION
    return torch.stack([table[ids].mean(0) for ids in labels])
    # END SOLUTION


def prompt_loss(logits: Tensor, y: Tensor) -> Tensor:
    """A mistake to find: the loss of a model that gives out a row for each vector of the prompt as well.

    logits (b, n + t, v) for [prompt; text].  y (b, t): y[:, i] is the token that follows token i of the text, or -100
    where the loss is not to look.  Returned is the mean cross-entropy over all labels that are not -100.

    The code below runs, and the loss even falls in training.  Find what is wrong and put it right.
    """
    # BEGIN SOLUTION
    rows = logits[:, -y.shape[1] :]  # (b, t, v)
    # GIVEN
    # rows = logits[:, : y.shape[1]]  # (b, t, v)
    # END SOLUTION
    return F.cross_entropy(rows.flatten(0, 1), y.flatten(), ignore_index=-100)


def nearest_words(P: Tensor, table: Tensor) -> Tensor:
    """For each vector of the prompt, the token whose embedding points most nearly in the same direction.

    P (n, d), table (v, d)  ->  ids (n,).  Nearest by cosine: the lengths of the vectors play no part.
    """
    # BEGIN SOLUTION
    return (F.normalize(P) @ F.normalize(table).T).argmax(1)
    # END SOLUTION


def prompt_counts(layers: int, d: int, d_kv: int, n: int) -> tuple[int, int]:
    """Two ways to keep a trained prompt of n vectors: as it is, or as the keys and values that the model makes of it.

    The second saves its computation in every new text.  A key and a value have d_kv numbers each, in each layer.
    Returned is how many numbers are kept: (as vectors, as keys and values).
    """
    # BEGIN SOLUTION
    return n * d, layers * 2 * n * d_kv
    # END SOLUTION
