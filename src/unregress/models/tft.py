"""Temporal Fusion Transformer of pytorch-forecasting (Lim et al., 2021; paper Section 6.2), for windows of series."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from unregress.errors import require

try:
    from pytorch_forecasting import TemporalFusionTransformer
    from pytorch_forecasting.metrics import QuantileLoss
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"The Temporal Fusion Transformer needs {error.name}: pip install 'unregress[forecasting]'", name=error.name
    ) from error

LAYERS = ("static_enrichment", "post_attn_gate_norm", "pre_output_gate_norm")
"""Layers to compare in Blindspot: the output of the recurrent part, `(n, encoder + horizon, hidden)`, the output of the
attention, and the input of the output layer, both `(n, horizon, hidden)`."""
AXES = dict.fromkeys(LAYERS, -1)
"""Channel axis of these layers, for Blindspot's `channel_axis`."""


def tft(
    *,
    static: Mapping[str, int],
    known: Mapping[str, int],
    reals: Sequence[str],
    target: str,
    encoder: int = 168,
    hidden: int = 16,
    heads: int = 1,
    lstm_layers: int = 1,
    continuous: int = 8,
    dropout: float = 0.1,
    levels: Sequence[float] = (0.1, 0.5, 0.9),
) -> nn.Module:
    """Make a new Temporal Fusion Transformer, without trainer and logging; its `prediction` is `(n, horizon, levels)`.

    Predictions are in the units of the input; they are not rescaled.  The target is an input of the encoder only, the
    other variables are inputs of encoder and decoder.

    Args:
        static: categorical variables that do not change over time, with their number of categories, in the order of
            the batches' columns.
        known: other categorical variables, known in advance, with their number of categories.
        reals: real variables, known in advance.
        target: name of the variable to forecast; it is the last real variable.
        encoder: number of past time steps (hours) that the encoder reads.
        hidden: width of the hidden layers; a multiple of `heads`.
        heads: number of attention heads.
        lstm_layers: number of LSTM layers in encoder and decoder.
        continuous: width into which each real variable is first transformed.
        dropout: dropout probability.
        levels: levels of the predicted quantiles.

    Raises:
        SettingError: numbers are out of range; all of them are reported at once.
    """
    rules = {
        "encoder": (encoder, encoder >= 1, "1 or more"),
        "hidden": (hidden, hidden >= 1 and heads >= 1 and hidden % heads == 0, f"a multiple of the {heads} heads"),
        "heads": (heads, heads >= 1, "1 or more"),
        "lstm_layers": (lstm_layers, lstm_layers >= 1, "1 or more"),
        "continuous": (continuous, continuous >= 1, "1 or more"),
        "dropout": (dropout, 0 <= dropout < 1, "0 or more, below 1"),
    }
    require((f"tft's {name} is {value!r}", fine, expected) for name, (value, fine, expected) in rules.items())
    categories = {**static, **known}
    with warnings.catch_warnings():
        # Lightning warns that the losses below are modules; they are not used here.
        warnings.filterwarnings("ignore", message="Attribute '(loss|logging_metrics)' is an instance of `nn.Module`")
        model: nn.Module = TemporalFusionTransformer(
            hidden_size=hidden,
            attention_head_size=heads,
            lstm_layers=lstm_layers,
            hidden_continuous_size=continuous,
            dropout=dropout,
            max_encoder_length=encoder,
            output_size=len(levels),
            loss=QuantileLoss(quantiles=list(levels)),
            logging_metrics=nn.ModuleList(),
            output_transformer=_prediction,
            static_categoricals=list(static),
            time_varying_categoricals_encoder=list(known),
            time_varying_categoricals_decoder=list(known),
            time_varying_reals_encoder=[*reals, target],
            time_varying_reals_decoder=list(reals),
            x_categoricals=list(categories),
            x_reals=[*reals, target],
            embedding_sizes={name: (count, _width(count, hidden)) for name, count in categories.items()},
        )
    return model


def _width(categories: int, hidden: int) -> int:
    """Width of an embedding, by the rule of thumb of pytorch-forecasting, but at least 2.

    For two categories the rule gives 1.  A single number would be expanded to the hidden width and then normalised,
    which gives zero for every category.
    """
    numbers: int = round(1.6 * categories**0.56)
    return min(hidden, max(2, numbers))


def _prediction(output: dict[str, Any]) -> Tensor:
    """The prediction in an output, not rescaled."""
    prediction: Tensor = output["prediction"]
    return prediction
