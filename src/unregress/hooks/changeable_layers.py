"""The layers of a model that a closed-form edit can change: those of known kinds, and all other trainable weights."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from unregress.cost import Cost
from unregress.data.case import Case
from unregress.errors import ModelError
from unregress.hooks.exact_layers import exact_layers
from unregress.hooks.gram_passes import Footprint, Products, footprint, gram_matrices
from unregress.hooks.layer_gradients import UnequalUseError
from unregress.hooks.live_weights import live_weights
from unregress.hooks.other_layers import OtherLayers, other_layers, other_products
from unregress.tasks.unwrap import unwrapped
from unregress.training.runtime import Runtime


@dataclass(frozen=True)
class Changeable:
    """The layers of a model that can be changed, and the memory that it takes."""

    known: dict[str, nn.Module]
    """Layers whose products of gradients are known in closed form, by name."""
    others: OtherLayers
    """All other trainable weights."""
    every: dict[str, nn.Module]
    """Both, in the model's order."""
    size: Footprint
    """Memory by sample, of the known layers."""
    cost: Cost
    """What it took to find the weights on which predictions depend."""

    @classmethod
    def of(cls, model: nn.Module, case: Case, wanted: Tensor, runtime: Runtime) -> Changeable:
        """Find the layers of a model that influence its predictions of some samples, such as the forgotten ones.

        Args:
            model: the model in evaluation mode, on the runtime's device.
            case: the task and the data.
            wanted: positions of the training samples.
            runtime: where to run.

        Raises:
            ModelError: none of these predictions depends on a trainable weight.
        """
        first = torch.from_numpy(case.kept("train")[: len(wanted) + 2])
        rows = torch.cat([wanted, first[~torch.isin(first, wanted)][:2]])
        chunk = footprint(model, {}, case, rows[:2], runtime).chunk
        live, seen = live_weights(model, case, wanted, chunk, runtime)
        known = exact_layers(model, case, rows, live, runtime)
        others = other_layers(model, known, case, rows[:2], live, runtime)
        if not known and not others.layers:
            raise ModelError(
                f"The model, a {type(unwrapped(model)).__name__}, has no layer that can be changed in closed form",
                expected="trainable weights on which its predictions of the forgotten samples depend",
                remedy="Let some weights be trained (`requires_grad_`), or retrain the model if its units give zero "
                "for all of these samples, so that the weights before them influence nothing",
            )
        place = {id(weight): number for number, weight in enumerate(model.parameters())}
        both = known | others.layers
        order = sorted(both, key=lambda name: min(place[id(weight)] for weight in both[name].parameters()))
        size = footprint(model, known, case, rows[:2], runtime)
        cost = Cost(forward=seen, backward=seen)
        return cls(known, others, {name: both[name] for name in order}, size, cost)

    @property
    def first_choice(self) -> dict[str, nn.Module]:
        """The layers to change if they suffice: those of known kinds, or all where there is none."""
        return self.known or self.every

    def passes(self, layers: dict[str, nn.Module], samples: int, components: int) -> int:
        """Number of passes over the samples for the products of some layers.

        Args:
            layers: the layers, by name.
            samples: number of samples.
            components: output components of a prediction.
        """
        known, others = self._parted(layers)
        windows = self.others.windows(others, samples * components) if others else []
        return len(self.size.passes(known, samples)) + len(windows)

    def held_by_sample(self, layers: dict[str, nn.Module], components: int) -> float:
        """Bytes that are held of a sample for the products of some layers; arguments as for `passes`."""
        known, others = self._parted(layers)
        weights = [weight for name in others for weight in self.others.layers[name].parameters()]
        gradients = components * sum(weight.numel() * weight.element_size() for weight in weights)
        return gradients + sum(self.size.layers[name] for name in known)

    def products(
        self,
        model: nn.Module,
        layers: dict[str, nn.Module],
        case: Case,
        rows: Tensor,
        runtime: Runtime,
        leading: int | None = None,
    ) -> Products:
        """Compute the Gram matrices of some layers, at least one; arguments as for `gram_matrices`.

        With layers of other kinds among them there are all columns, whatever `leading` is.
        """
        known, others = self._parted(layers)
        wanted = {name: layer for name, layer in layers.items() if name in known}
        if not others:
            return self._known_products(model, wanted, case, rows, runtime, leading)
        # The others take as much memory again.
        made = [replace(self._known_products(model, wanted, case, rows, runtime), held={})] if wanted else []
        made.append(other_products(model, self.others, others, case, rows, self.size, runtime))
        found = {name: matrix for each in made for name, matrix in each.by_layer.items()}
        return Products(found, made[0].outputs, sum(each.passes for each in made))

    def _known_products(
        self,
        model: nn.Module,
        layers: dict[str, nn.Module],
        case: Case,
        rows: Tensor,
        runtime: Runtime,
        leading: int | None = None,
    ) -> Products:
        """As `products`, by autograd for each sample if the samples use a layer in different ways.

        So do experts that see a part of a batch, and sequences that are padded to the longest one of their batch.
        """
        try:
            return gram_matrices(model, layers, case, rows, self.size, runtime, leading)
        except UnequalUseError:
            weights: dict[str, nn.Module] = {
                name: nn.ParameterList(weight for weight in layer.parameters() if weight.requires_grad)
                for name, layer in layers.items()
            }
        singly = OtherLayers(weights, vectorised=False)
        return other_products(model, singly, set(weights), case, rows, self.size, runtime)

    def _parted(self, layers: dict[str, nn.Module]) -> tuple[set[str], set[str]]:
        return set(layers) & set(self.known), set(layers) & set(self.others.layers)
