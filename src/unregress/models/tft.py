"""The Temporal Fusion Transformer (Lim et al., 2021; paper Section 6.2), pytorch-forecasting's, for series' windows."""

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
"""Layers to compare in Blindspot: what the recurrent part says of each hour, `(n, encoder + horizon, hidden)`, what
the forecast's hours hear of it through attention, and what the output layer reads, both `(n, horizon, hidden)`."""
AXES = dict.fromkeys(LAYERS, -1)
"""Their channel axis, for Blindspot's `channel_axis`."""


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
    """A fresh Temporal Fusion Transformer, without trainer and logging; `prediction` is `(n, horizon, levels)`.

    It predicts in the units of its input: nothing is scaled back.  The target is read in the encoder alone, the other
    variables in both.

    Args:
        static: categorical variables that do not change over time, with their number of categories, in the order of
            the batches' columns.
        known: the further categorical variables, known in advance.
        reals: the real variables, known in advance.
        target: name of the last real variable, which is to be forecast.
        encoder: hours that are looked back.
        hidden: width.
        heads: of the attention; `hidden` is a multiple.
        lstm_layers: LSTM layers of encoder and decoder.
        continuous: width in which a real variable is first seen.
        dropout: share of what is dropped out.
        levels: quantiles.

    Raises:
        SettingError: a number is out of range; all of them at once.
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
        # Lightning warns that the losses below, which no trainer of its own ever uses, are modules.
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
            output_transformer=_as_it_is,
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
    """Numbers per category, by pytorch-forecasting's rule of thumb.

    But at least 2, where that says 1 for two categories: a single number is spread over the width and then normalised
    as a layer, which leaves zero, whatever the category.
    """
    numbers: int = round(1.6 * categories**0.56)
    return min(hidden, max(2, numbers))


def _as_it_is(output: dict[str, Any]) -> Tensor:
    prediction: Tensor = output["prediction"]
    return prediction
