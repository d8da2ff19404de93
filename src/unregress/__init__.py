"""Make a trained PyTorch regression model forget chosen training examples, and show how well it forgot."""

from typing import Any

import lazy_loader

# PyTorch alone takes seconds to import: what is offered is listed in `__init__.pyi`, and loaded when it is asked for.
_offered, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("unregress")
    return _offered(name)
