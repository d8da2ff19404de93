"""Registry of experiment families: datasets with their models, by the names used in experiments' `family`.

Each module of this folder except `base` defines a dictionary `FAMILIES`.  New modules are found automatically.
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
