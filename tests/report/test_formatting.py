"""Three significant digits, by hand."""

from __future__ import annotations

import pytest

from unregress.report.formatting import count, measured, percent, significant


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (12.345, "12.3"),
        (0.04812, "0.0481"),
        (31.46, "31.5"),
        (1234.4, "1234"),
        (12345.6, "12,346"),
        (9.996, "10.0"),  # rounding up must not leave a fourth digit
        (99.96, "100"),
        (999.6, "1000"),
        (0.0, "0"),
        (-0.0, "0"),
        (-0.5, "−0.500"),
        (0.000123, "0.000123"),
        (0.0000123, "1.23 × 10⁻⁵"),
        (4.56e8, "4.56 × 10⁸"),
        (float("nan"), "not a number"),
        (float("-inf"), "−∞"),
    ],
)
def test_three_significant_digits(value: float, text: str) -> None:
    assert significant(value) == text


def test_bounds_and_whole_steps() -> None:
    assert measured(3.2, ">=", "ratio") == "≥ 3.20"
    assert measured(0.5, "<=", "ratio") == "≤ 0.500"
    assert measured(12.0, "=", "steps") == "12"
    assert measured(12.5, "=", "steps") == "12.5"


def test_counts_and_shares() -> None:
    assert count(960_000) == "960,000"
    assert percent(41_000 / 960_000) == "4.27 %"
