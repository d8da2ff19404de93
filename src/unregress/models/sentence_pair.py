"""The similarity of two sentences from one LSTM that reads both (paper Section 6.2: an LSTM with GloVe, on STS-B).

The paper leaves widths and head open.  Here the pair's features are those of InferSent (Conneau et al., 2017): both
ends, their absolute difference and their product.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from unregress.errors import ModelError, SettingError, UnregressError, raise_all

CHUNKS = 4
"""Groups of similar length that a batch is read in."""


class SentencePairLSTM(nn.Module):
    """One number per pair of sentences; output `(n, 1)`.

    Both sentences are embedded and read by the same LSTM to their true ends u and v; then [u, v, |u − v|, u·v] goes
    through a hidden linear layer and a ReLU to the output.  Padding changes nothing.

    Layers to compare in Blindspot, in execution order: `embedding` `(n, 2·length, dim)`, `lstm`
    `(n, 2·length, hidden)`, zero at padding, and `hidden` `(n, head)`.  Name `("lstm", "hidden")`: with frozen vectors
    `embedding` is the same in all models.

    Args:
        words: size of the vocabulary, for an embedding that is learned; none if there are `vectors`.
        vectors: the embedding `(words, dim)`, as from `unregress.datasets.text.glove`; copied, row 0 is padding.
        frozen: whether `vectors` stay as they are; a learned embedding never does.
        dim: numbers per word of a learned embedding.
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
            # Copied: two models that shared the matrix would not be two models.
            self.embedding = nn.Embedding.from_pretrained(vectors.clone(), freeze=frozen, padding_idx=0)
        else:
            self.embedding = nn.Embedding(words or 0, dim, padding_idx=0)
        self.lstm = PairLSTM(self.embedding.embedding_dim, hidden, batch_first=True)
        self.hidden = nn.Linear(4 * hidden, head)
        self.output = nn.Linear(head, 1)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Predict from word ids `(n, length)`, int64, padded with 0 on the right.

        Raises:
            ModelError: the two differ in shape, or a sentence has no word.
        """
        if first.shape != second.shape or first.ndim != 2:
            raise ModelError(
                f"The sentences have shapes {tuple(first.shape)} and {tuple(second.shape)}",
                expected="word ids of one shape, (n, length)",
            )
        words = torch.cat([first, second], dim=1)
        _, ends = self.lstm(self.embedding(words), (words != 0).view(len(words), 2, -1).sum(-1))
        u, v = ends.unbind(1)
        # Not in place: a hook that records `hidden` must see what the layer returned.
        activated = functional.relu(self.hidden(torch.cat([u, v, (u - v).abs(), u * v], dim=1)))
        output: Tensor = self.output(activated)
        return output


class PairLSTM(nn.LSTM):
    """An LSTM that reads each sample's two sentences apart, no further than to their ends.

    It gives back samples on the first axis, so that its output can be recorded and compared as a layer's.
    """

    def forward(self, embedded: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Read both sentences of each sample.

        Args:
            embedded: the two sentences side by side, `(n, 2·length, dim)`.
            lengths: words of each sentence, `(n, 2)`, at least 1.

        Returns:
            The states `(n, 2·length, hidden)`, zero at padding and as wide as the input whatever the batch, and each
            sentence's last state `(n, 2, hidden)`.

        Raises:
            ModelError: a sentence has no word.
        """
        samples, places, _ = embedded.shape
        width = places // 2
        long = lengths.flatten()
        order = long.argsort()
        # Read in groups of similar length, each only as far as its longest: two to three times as fast on a CPU
        # as the whole batch at once, and faster than a packed sequence.
        groups = order.chunk(CHUNKS)
        ends = torch.stack([long[group[-1]] for group in groups]).tolist()
        if not long[order[0]]:
            raise ModelError("A sentence has no word", expected="at least one word id that is not 0")
        steps = torch.arange(width, device=embedded.device)
        # Positions in the flat list of all words.  One gather for all groups, since each costs a whole gradient.
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
    complaints: list[UnregressError] = [
        SettingError(f"SentencePairLSTM's {name} is {width!r}", expected="1 or more")
        for name, width in widths.items()
        if width < 1
    ]
    if (words is None) == (vectors is None):
        complaints.append(SettingError("SentencePairLSTM needs one of `words` and `vectors`, and not both"))
    elif words is not None and words < 2:
        complaints.append(
            SettingError(f"SentencePairLSTM's words is {words}", expected="2 or more, padding among them")
        )
    elif vectors is not None and vectors.ndim != 2:
        complaints.append(
            SettingError(f"SentencePairLSTM's vectors have shape {tuple(vectors.shape)}", expected="(words, dim)")
        )
    raise_all(complaints)
