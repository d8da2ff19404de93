"""Make a trained PyTorch regression model forget chosen training examples, and show how well it forgot."""

import lazy_loader

# PyTorch alone takes seconds to import: what is offered is listed in `__init__.pyi`, and loaded when it is asked for.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
