"""The data of the experiments with their models: what a row's `family` names.

Each module of this folder but `base` describes some of them in a dictionary `FAMILIES`, by name.  A new module is
found without being named anywhere.
"""

from importlib import import_module
from pkgutil import iter_modules

from unregress.experiments.families.base import Family

__all__ = ["FAMILIES"]

FAMILIES: dict[str, Family] = {
    name: family
    for module in iter_modules(__path__, f"{__name__}.")
    if not module.name.endswith(".base")
    for name, family in import_module(module.name).FAMILIES.items()
}
"""All families by name."""
