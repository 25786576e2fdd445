# Write here, save, and check: `minipeft check`, or check() in the lesson.  (prompt_tuning, version d5d1a2c4)
"""Lesson 05, Prompt Tuning: learned vectors in front of the embedded text.

Letters: b batch, t tokens of the text, n vectors of the prompt, d width of the model, v size of the vocabulary.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


# 05.1 In front of the text · easy · 10 minutes · 4 points
def with_prompt(x: Tensor, mask: Tensor, P: Tensor) -> tuple[Tensor, Tensor]:
    """What the blocks are given: the prompt and then the text, and which of it may be seen.

    x (b, t, d): the embedded texts.  mask (b, t) of bool: False where a token is padding.  P (n, d), one for all texts.
    Returned are [P; x], (b, n + t, d), and the mask for it, (b, n + t).
    """
    raise NotImplementedError("exercise 05.1")
    return x, mask


# 05.2 A start from labels · easy · 5 minutes · 3 points
def prompt_from_labels(table: Tensor, labels: list[list[int]]) -> Tensor:
    """A start for the prompt: one vector for each label of the task, made from the embeddings of its tokens.

    table (v, d): the embedding of every token.  labels: the token ids of each label, such as [[7], [3, 1, 4]].  A label
    of several tokens starts from their mean.  Returned is P, (number of labels, d).
    """
    raise NotImplementedError("exercise 05.2")


# 05.3 Find the mistake: the rows of the loss · easy · 5 minutes · 3 points
def prompt_loss(logits: Tensor, y: Tensor) -> Tensor:
    """A mistake to find: the loss of a model that gives out a row for each vector of the prompt as well.

    logits (b, n + t, v) for [prompt; text].  y (b, t): y[:, i] is the token that follows token i of the text, or -100
    where the loss is not to look.  Returned is the mean cross-entropy over all labels that are not -100.

    The code below runs, and the loss even falls in training.  Find what is wrong and put it right.
    """
    rows = logits[:, : y.shape[1]]  # (b, t, v)
    return F.cross_entropy(rows.flatten(0, 1), y.flatten(), ignore_index=-100)


# 05.4 The nearest words · easy · 5 minutes · 2 points
def nearest_words(P: Tensor, table: Tensor) -> Tensor:
    """For each vector of the prompt, the token whose embedding points most nearly in the same direction.

    P (n, d), table (v, d)  ->  ids (n,).  Nearest by cosine: the lengths of the vectors play no part.
    """
    raise NotImplementedError("exercise 05.4")


# 05.5 Vectors, or keys and values · easy · 5 minutes · 2 points
def prompt_counts(layers: int, d: int, d_kv: int, n: int) -> tuple[int, int]:
    """Two ways to keep a trained prompt of n vectors: as it is, or as the keys and values that the model makes of it.

    The second saves its computation in every new text.  A key and a value have d_kv numbers each, in each layer.
    Returned is how many numbers are kept: (as vectors, as keys and values).
    """
    raise NotImplementedError("exercise 05.5")
