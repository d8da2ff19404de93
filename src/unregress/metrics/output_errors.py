"""The error of each output apart, in its own unit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from unregress.errors import ModelError
from unregress.evidence import ERROR_OF, MetricInfo, Unit
from unregress.metrics.base import Metric, MetricResult, Panel, value_measurements
from unregress.metrics.errors import mean_absolute_error
from unregress.tasks.units import Output


@dataclass(frozen=True)
class OutputErrors(Metric):
    """Mean absolute error of each named output, in its own unit; an audit adds it where a task names several.

    No verdict reads it: the verdict's errors are means over all outputs, each in units of its spread.
    """

    outputs: tuple[Output, ...]
    """Name and unit of each output, in the order of the model's outputs."""

    @property
    def about(self) -> tuple[MetricInfo, ...]:  # type: ignore[override] # one explanation for each output
        """The meaning of each output's error."""
        return tuple(
            MetricInfo(
                metric=f"{ERROR_OF}{output.name}",
                title=f"Mean absolute error of {output.name}",
                meaning=f"How far predictions of {output.name} are from the true values on average.",
                ideal="A retrained model's own value.",
                unit=output.unit or Unit.NONE,
                source="paper Section 5, for one output",
            )
            for output in self.outputs
        )

    def measure(self, panel: Panel) -> Iterator[MetricResult]:
        """The error of each output on each part.

        Raises:
            ModelError: the model has another number of outputs than are named.
        """
        units = panel.units.reshape(-1)
        if len(units) != len(self.outputs):
            raise ModelError(
                f"The task names {len(self.outputs)} outputs, and the model has {len(units)}",
                expected="a name for each output",
            )
        for part in panel.parts:
            seen = {subject.name: subject.parts[part] for subject in panel.subjects}
            for place, output in enumerate(self.outputs):
                errors = {
                    name: mean_absolute_error(
                        own.prediction.reshape(len(own), -1)[:, place], own.target.reshape(len(own), -1)[:, place]
                    )
                    * float(units[place])
                    for name, own in seen.items()
                }
                yield from value_measurements(panel, f"{ERROR_OF}{output.name}", part, errors)


def output_errors(outputs: tuple[Output, ...]) -> list[Metric]:
    """The metric of a task's outputs, if it names several."""
    return [OutputErrors(outputs)] if len(outputs) > 1 else []
