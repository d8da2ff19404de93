"""Lower precisions on a GPU: close to single precision, and finite."""

from __future__ import annotations

import numpy as np
import pytest

from support.contract_subjects import METHODS, MODELS, trained_on
from support.device_jobs import answers, case_for, runtime_on
from unregress import Method, Recipe, train
from unregress.training.runtime import Precision

pytestmark = pytest.mark.gpu
MLP = MODELS["mlp"]
RECIPE = Recipe(epochs=20, lr=0.01, batch_size=8)


def require_near(found: np.ndarray, expected: np.ndarray) -> None:
    """bfloat16 keeps 8 binary digits: predictions agree to a tenth of their spread, in the mean over samples."""
    assert np.isfinite(found).all()
    assert np.abs(found - expected).mean() < 0.1 * expected.std()


def test_training_in_bf16_is_close(device: str) -> None:
    case, full = case_for(MLP), runtime_on(device, "32-true")
    low, high = (
        answers(train(case, RECIPE, runtime), case, full)["prediction"]
        for runtime in (runtime_on(device, "bf16-mixed"), full)
    )
    require_near(low, high)


def test_training_in_fp16_learns(device: str) -> None:
    """Steps whose scaled gradients overflow are left out, so that the steps differ from those in single precision."""
    if device == "cpu":
        pytest.skip("The loss is scaled in 16-mixed on a GPU only")
    made = train(case_for(MLP), RECIPE, runtime_on(device, "16-mixed"))
    assert made.history[-1].loss < made.history[0].loss
    assert all(np.isfinite(weight.detach().numpy()).all() for weight in made.model.parameters())


@pytest.mark.parametrize("name", METHODS)
def test_methods_in_bf16_are_close(device: str, name: str) -> None:
    case, model, method = case_for(MLP), trained_on(MLP), METHODS[name]
    low, full = (unlearned(method, precision, device) for precision in ("bf16-mixed", "32-true"))
    require_near(low, full)
    assert {str(p.dtype) for p in method.unlearn(model, case, runtime_on(device, "bf16-mixed")).model.parameters()} == {
        "torch.float32"
    }


def unlearned(method: Method, precision: Precision, device: str) -> np.ndarray:
    """Predictions of a method's model in single precision, whatever it was made in."""
    case, full = case_for(MLP), runtime_on(device, "32-true")
    original = train(case, RECIPE, full).model
    return np.asarray(answers(method.unlearn(original, case, runtime_on(device, precision)), case, full)["prediction"])
