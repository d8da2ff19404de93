"""Similarity of two sentences, predicted by one LSTM that reads both (paper Section 6.2: LSTM with GloVe, on STS-B).

The paper does not specify widths and output layers.  Here the features of a pair are those of InferSent (Conneau et
al., 2017): both final states, their absolute difference and their product.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from unregress.errors import ModelError, SettingError, UnregressError, raise_all

CHUNKS = 4
"""Number of groups of similar length into which a batch is divided."""


class SentencePairLSTM(nn.Module):
    """Predict one number per pair of sentences; output `(n, 1)`.

    The same LSTM reads both embedded sentences; u and v are its states at their last words.  A hidden linear layer, a
    ReLU and an output layer are applied to [u, v, |u − v|, u·v].  Padding does not change the result.

    Layers to compare in Blindspot, in execution order: `embedding` `(n, 2·length, dim)`, `lstm`
    `(n, 2·length, hidden)`, zero at padding, and `hidden` `(n, head)`.  Choose `("lstm", "hidden")`, since frozen
    embeddings are the same in all models.

    Args:
        words: size of the vocabulary, to learn an embedding; None if there are `vectors`.
        vectors: given embedding `(words, dim)`, as from `unregress.datasets.text.glove`; copied; row 0 is padding.
        frozen: whether `vectors` are not trained.
        dim: width of a learned embedding.
        hidden: width of the LSTM.
        head: width of the hidden linear layer.

    Raises:
        SettingError: a width is less than 1, or not exactly one of `words` and `vectors` is given.
    """

    def __init__(
        self,
        words: int | None = None,
        vectors: Tensor | None = None,
        *,
        frozen: bool = True,
        dim: int = 50,
        hidden: int = 64,
        head: int = 64,
    ) -> None:
        super().__init__()
        _check(words, vectors, {"dim": dim, "hidden": hidden, "head": head})
        if vectors is not None:
            # Copied, so that models do not share the matrix.
            self.embedding = nn.Embedding.from_pretrained(vectors.clone(), freeze=frozen, padding_idx=0)
        else:
            self.embedding = nn.Embedding(words or 0, dim, padding_idx=0)
        self.lstm = PairLSTM(self.embedding.embedding_dim, hidden, batch_first=True)
        self.hidden = nn.Linear(4 * hidden, head)
        self.output = nn.Linear(head, 1)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Predict from word ids `(n, length)`, int64, padded with 0 on the right.

        Raises:
            ModelError: `first` and `second` differ in shape, or a sentence has no word.
        """
        if first.shape != second.shape or first.ndim != 2:
            raise ModelError(
                f"The sentences have shapes {tuple(first.shape)} and {tuple(second.shape)}",
                expected="word ids of the same shape, (n, length)",
            )
        words = torch.cat([first, second], dim=1)
        _, ends = self.lstm(self.embedding(words), (words != 0).view(len(words), 2, -1).sum(-1))
        u, v = ends.unbind(1)
        # Not in place: a hook that records `hidden` must keep the layer's output.
        activated = functional.relu(self.hidden(torch.cat([u, v, (u - v).abs(), u * v], dim=1)))
        output: Tensor = self.output(activated)
        return output


class PairLSTM(nn.LSTM):
    """An LSTM that reads the two sentences of each sample separately, up to their last words.

    Its output has samples on the first axis, so that it can be recorded and compared like that of other layers.
    """

    def forward(self, embedded: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Read both sentences of each sample.

        Args:
            embedded: the two sentences, concatenated, `(n, 2·length, dim)`.
            lengths: number of words of each sentence, `(n, 2)`, at least 1.

        Returns:
            The states, `(n, 2·length, hidden)`, zero at padding, and each sentence's last state, `(n, 2, hidden)`.

        Raises:
            ModelError: a sentence has no word.
        """
        samples, places, _ = embedded.shape
        width = places // 2
        long = lengths.flatten()
        order = long.argsort()
        # Groups of similar length are read only up to their longest sentence: on a CPU two to three times as fast as
        # the whole batch at once, and faster than a packed sequence.
        groups = order.chunk(CHUNKS)
        ends = torch.stack([long[group[-1]] for group in groups]).tolist()
        if not long[order[0]]:
            raise ModelError("A sentence has no word", expected="at least one word id that is not 0")
        steps = torch.arange(width, device=embedded.device)
        # Positions in the flat list of all words.  One gather for all groups, since the gradient of each is full-size.
        wanted = [group[:, None] * width + steps[:end] for group, end in zip(groups, ends, strict=True)]
        read = embedded.reshape(samples * places, -1).index_select(0, torch.cat([w.flatten() for w in wanted]))
        states, last = [], []
        for part, want, group in zip(read.split([w.numel() for w in wanted]), wanted, groups, strict=True):
            out, _ = super().forward(part.view(*want.shape, -1))
            last.append(out[torch.arange(len(group), device=out.device), long[group] - 1])
            real = steps[: want.shape[1]] < long[group][:, None]
            states.append(functional.pad(out * real[:, :, None], (0, 0, 0, width - want.shape[1])))
        back = order.argsort()
        return (
            torch.cat(states).index_select(0, back).view(samples, places, -1),
            torch.cat(last).index_select(0, back).view(samples, 2, -1),
        )


def _check(words: int | None, vectors: Tensor | None, widths: dict[str, int]) -> None:
    """Check the arguments of `SentencePairLSTM`, and report all problems at once."""
    complaints: list[UnregressError] = [
        SettingError(f"SentencePairLSTM's {name} is {width!r}", expected="1 or more")
        for name, width in widths.items()
        if width < 1
    ]
    if (words is None) == (vectors is None):
        complaints.append(SettingError("SentencePairLSTM needs exactly one of `words` and `vectors`"))
    elif words is not None and words < 2:
        complaints.append(SettingError(f"SentencePairLSTM's words is {words}", expected="2 or more, including padding"))
    elif vectors is not None and vectors.ndim != 2:
        complaints.append(
            SettingError(f"SentencePairLSTM's vectors have shape {tuple(vectors.shape)}", expected="(words, dim)")
        )
    raise_all(complaints)
