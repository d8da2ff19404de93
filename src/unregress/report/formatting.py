"""Format numbers: three significant digits, thousands separators, a true minus sign."""

from __future__ import annotations

import math

DASH = "–"
"""Shown in place of a missing number."""

_SIGNS = {"=": "", ">=": "≥ ", "<=": "≤ ", "~": "≈ "}
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def significant(value: float) -> str:
    """A number with three significant digits, or more if there are more digits before the decimal point.

    >>> [significant(value) for value in (12.345, 0.048123, 31.46, 1234.4, 99.96, 0.0, -2.0)]
    ['12.3', '0.0481', '31.5', '1234', '100', '0', '−2.00']
    >>> significant(0.0000123), significant(123456.7)
    ('1.23 × 10⁻⁵', '123,457')
    """
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else ("∞" if value > 0 else "−∞")
    if value == 0:
        return "0"
    mantissa, power = f"{abs(value):.2e}".split("e")
    exponent = int(power)
    if -4 <= exponent < 7:
        separator = "," if exponent >= 4 else ""
        text = f"{abs(value):{separator}.{max(0, 2 - exponent)}f}"
    else:
        text = f"{mantissa} × 10{str(exponent).translate(_SUPERSCRIPT)}"
    return f"−{text}" if value < 0 else text


def measured(value: float, bound: str, unit: str) -> str:
    """A measured value with the sign of its bound; whole steps stay whole.

    >>> measured(3.2, ">=", "ratio"), measured(12.0, "=", "steps")
    ('≥ 3.20', '12')
    """
    whole = unit == "steps" and float(value).is_integer()
    return _SIGNS[bound] + (count(int(value)) if whole else significant(value))


def span(low: float, high: float, unit: str, bounds: tuple[str, str] = ("=", "=")) -> str:
    """A range between two measured values.

    >>> span(57.0, 60.5, "loss"), span(-1.0, 2.0, "loss"), span(3.0, 8.0, "steps", ("=", ">="))
    ('57.0–60.5', '−1.00 to 2.00', '3 to ≥ 8')
    """
    first, last = measured(low, bounds[0], unit), measured(high, bounds[1], unit)
    # A dash between plain numbers only: beside a minus sign it would be misread.
    plain = (first + last).replace(".", "").replace(",", "").isdecimal()
    return f"{first}–{last}" if plain else f"{first} to {last}"


def times(ratio: float, bound: str = "=") -> str:
    """A multiple with two significant digits, or more if there are more before the decimal point.

    >>> times(2.94), times(0.312), times(12.4), times(1234.4, ">="), times(0.001)
    ('2.9 ×', '0.31 ×', '12 ×', '≥ 1,234 ×', '< 0.01 ×')
    """
    if 0 <= ratio < 0.01:
        return "< 0.01 ×"
    decimals = 2 if ratio < 0.995 else 1 if ratio < 9.95 else 0
    return f"{_SIGNS[bound]}{ratio:,.{decimals}f} ×"


def chance(p: float) -> str:
    """A probability with two digits.

    >>> chance(1 / 6), chance(1 / 17), chance(1.0)
    ('p = 0.17', 'p = 0.059', 'p = 1')
    """
    return f"p = {p:.2g}"


def whole_percent(share: float) -> str:
    """A share as a percentage without decimals, for estimates.

    >>> whole_percent(0.1234)
    '12 %'
    """
    return f"{100 * share:.0f} %"


def count(number: int) -> str:
    """A whole number with thousands separated.

    >>> count(1234567)
    '1,234,567'
    """
    return f"{number:,}".replace("-", "−")


def percent(share: float) -> str:
    """A share as a percentage.

    >>> percent(0.1234), percent(1.0)
    ('12.3 %', '100 %')
    """
    return f"{significant(100 * share)} %"


def plural(number: int, noun: str) -> str:
    """A counted noun.

    >>> plural(1, "gold"), plural(12000, "sample")
    ('1 gold', '12,000 samples')
    """
    return f"{count(number)} {noun}" if number == 1 else f"{count(number)} {noun}s"
