"""Make a trained PyTorch regression model forget chosen training examples, and show how well it forgot."""

import ast
from pathlib import Path
from typing import Any

import lazy_loader


def _names(node: ast.ImportFrom, folder: Path) -> list[str]:
    """The names that one import of the stub brings; those of a star are in the imported package's `__all__`."""
    names = [alias.name for alias in node.names]
    if names != ["*"]:
        return names
    package = ast.parse(folder.joinpath(str(node.module), "__init__.py").read_text(encoding="utf-8"))
    assigned = (each for each in package.body if isinstance(each, ast.Assign))
    (listed,) = (each.value for each in assigned if ast.unparse(each.targets[0]) == "__all__")
    return list(ast.literal_eval(listed))


def _offers(stub: Path) -> dict[str, list[str]]:
    """The public names by the module that defines them, read from the stub without importing anything."""
    imports = (node for node in ast.parse(stub.read_text(encoding="utf-8")).body if isinstance(node, ast.ImportFrom))
    return {node.module: _names(node, stub.parent) for node in imports if node.module is not None}


# PyTorch alone takes seconds to import: the public names are listed in `__init__.pyi`, and loaded when asked for.
_getattr, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs=_offers(Path(__file__).with_suffix(".pyi")))


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("unregress")
    return _getattr(name)
