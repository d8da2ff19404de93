"""Numbers as people read them: three significant digits, thousands separated, a true minus sign."""

from __future__ import annotations

import math

_SIGNS = {"=": "", ">=": "≥ ", "<=": "≤ ", "~": "≈ "}
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def significant(value: float) -> str:
    """A number with three significant digits, or all digits before the decimal point if they are more.

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

    >>> plural(1, "further gold"), plural(12000, "sample")
    ('1 further gold', '12,000 samples')
    """
    return f"{count(number)} {noun}" if number == 1 else f"{count(number)} {noun}s"
