"""The batches of one term of an objective, and the weights of their samples."""

from __future__ import annotations

import torch
from torch import Tensor

from unregress.data.case import Case
from unregress.data.loading import Batch, batched, chunked
from unregress.distributed.process_group import ProcessGroup
from unregress.errors import DataError
from unregress.training.objective import Term
from unregress.training.recipe import Recipe
from unregress.training.runtime import Runtime

LARGEST_SAMPLER = 2**24
"""Largest number of rows from which PyTorch draws with probabilities."""


def sample_weights(case: Case, recipe: Recipe) -> Tensor | None:
    """The weights of all training samples, `(size,)` float64; None if the recipe uses none.

    Raises:
        DataError: the recipe uses weights and the data have none.
    """
    if recipe.weights == "none":
        return None
    weights = case.splits.weight_array
    if weights is None:
        raise DataError(
            f"Recipe.weights is {recipe.weights!r}, and the data have no weights",
            expected="one weight per training sample",
            remedy="Give the `Splits` their `weights`, or train with `weights='none'`",
        )
    return torch.from_numpy(weights)


class TermBatches:
    """Draws the batches of one term of the objective, with the term's own random streams.

    Args:
        term: rows and loss.
        number: its place in the objective; the first term's streams do not depend on the others.
        stage: name of the training.
        recipe: batch size and use of weights.
        runtime: seeds the streams.
        weights: the weights of all training samples; None for none.

    Raises:
        DataError: the weights of all rows are 0, or there are too many rows to draw from.
    """

    def __init__(
        self, term: Term, number: int, stage: str, recipe: Recipe, runtime: Runtime, weights: Tensor | None = None
    ) -> None:
        self.term, self._batch_size = term, recipe.batch_size
        name = stage if number == 0 else f"{stage}/term {number + 1}"
        self._order, self.draws = runtime.generator(f"{name}/order"), runtime.generator(f"{name}/augment")
        # Chunked once for the lengths, which do not depend on the shuffle.
        self.lengths = [len(chunk) for chunk in chunked(term.rows, self._batch_size, shuffle=torch.Generator())]
        self._factors = weights if recipe.weights == "loss" else None
        self._chances = weights[term.rows] if weights is not None and recipe.weights == "sampling" else None
        if weights is not None:
            _require_usable(weights[term.rows], sampled=self._chances is not None)

    def chunks(self, steps: int) -> list[Tensor]:
        """Rows of the next `steps` batches; the term's rows are passed again, in a new order, as often as needed."""
        chunks: list[Tensor] = []
        while len(chunks) < steps:
            chunks += self._pass()
        if (unread := self.term.left_out) is not None:
            chunks = [chunk[~torch.isin(chunk, unread)] for chunk in chunks]
            chunks = [chunk for chunk in chunks if len(chunk)]
        return chunks[:steps]

    def _pass(self) -> list[Tensor]:
        """Batches of as many rows as the term has: each of them once, or drawn with replacement."""
        rows = self.term.rows
        if self._chances is None:
            return chunked(rows, self._batch_size, shuffle=self._order)
        drawn = torch.multinomial(self._chances, len(rows), replacement=True, generator=self._order)
        return batched(rows[drawn], self._batch_size)

    def weigh(self, losses: Tensor, batch: Batch) -> Tensor:
        """Multiply losses by their samples' weights, if these are factors.

        Args:
            losses: losses of a batch's samples, `(n,)`.
            batch: the batch.
        """
        return losses if self._factors is None else losses * self._factors[batch.index].to(losses)

    def mass(self, chunk: Tensor) -> float:
        """What a sum of weighed losses is divided by: the sum of the weights of rows, or their number.

        It is 1 where all weights are 0: the mean is then 0.
        """
        return len(chunk) if self._factors is None else float(self._factors[chunk].sum()) or 1.0

    def mean(self, losses: Tensor, chunk: Tensor, group: ProcessGroup) -> Tensor:
        """The mean loss of a batch to back-propagate, see `ProcessGroup.mean_loss`.

        Args:
            losses: this process's losses, weighed.
            chunk: rows of the whole batch.
            group: the processes that share the batch.
        """
        if self._factors is None:
            return group.mean_loss(losses, len(chunk))
        return losses.sum() * (group.world_size / self.mass(chunk))


def _require_usable(weights: Tensor, *, sampled: bool) -> None:
    """Refuse weights of a term's rows that are all 0, or too many to draw from.

    Raises:
        DataError: see above.
    """
    if len(weights) and not float(weights.sum()) > 0:
        raise DataError(
            f"All {len(weights)} samples that are to be trained on have the weight 0",
            expected="a positive weight for at least one",
        )
    if sampled and len(weights) > LARGEST_SAMPLER:
        raise DataError(
            f"Recipe.weights is 'sampling', and there are {len(weights):,} samples",
            expected=f"at most {LARGEST_SAMPLER:,}, as PyTorch's sampler",
            remedy="Use the weights as factors of the losses, `weights='loss'`",
        )
