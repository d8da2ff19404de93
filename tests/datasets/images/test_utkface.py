"""The whole path on real photographs: UTKFace in AgeDB's layout."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch.utils.data import TensorDataset

import unregress
from support.bump_case import measured
from unregress.data.splits import Splits
from unregress.datasets.images.age_images import age_images
from unregress.models.resnet import resnet18_regressor


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("decoded")


@pytest.fixture(scope="module")
def splits(data_root: Path, cache: Path) -> Splits:
    return age_images(str(data_root / "utkface"), "utkface.csv", cache=str(cache))


def ages(dataset: object) -> torch.Tensor:
    assert isinstance(dataset, TensorDataset)
    return dataset.tensors[1]


@pytest.mark.slow
def test_rows_are_those_of_agedbs_split(splits: Splits) -> None:
    assert [len(ages(part)) for part in (splits.train, splits.validation, splits.test)] == [12208, 2140, 2140]
    assert int((ages(splits.train) >= 60).sum()) == 1374
    assert splits.ids is not None and len(set(splits.ids)) == 12208
    pixels = splits.train.tensors[0]  # type: ignore[attr-defined]
    assert tuple(pixels.shape) == (12208, 32, 32, 3)
    # Photographs: neither black nor white nor all the same.
    brightness = pixels[::50].float().mean((1, 2, 3))
    assert 60 < brightness.mean() < 200 and brightness.std() > 10


@pytest.mark.slow
def test_a_small_run_end_to_end(splits: Splits, tmp_path: Path) -> None:
    """300 photographs at half size, two epochs: far from a good model, but every step of the path on real data."""

    def first(dataset: object, count: int) -> TensorDataset:
        assert isinstance(dataset, TensorDataset)
        pixels, ages = dataset.tensors
        return TensorDataset(pixels[:count, ::2, ::2], ages[:count])

    train, validation, test = first(splits.train, 300), first(splits.validation, 100), first(splits.test, 150)
    request = unregress.ForgetRequest.band(train.tensors[1], low=60, reason="age 60 and over")
    case = unregress.Case(
        task=unregress.TensorTask(build_model=resnet18_regressor, loss="l1"),
        splits=unregress.Splits(
            train=train,
            validation=validation,
            test=test,
            augment=splits.augment,
        ),
        request=request,
    )
    runtime = unregress.Runtime(accelerator="cpu", evaluation_batch_size=300)
    recipe = unregress.Recipe(epochs=2, lr=3e-3, batch_size=32, schedule="one-cycle")
    short = unregress.Recipe(epochs=1, lr=1e-3, batch_size=32)
    original = unregress.train(case, recipe, runtime)
    gold = unregress.Retrain(recipe=recipe).unlearn(original.model, case, runtime)
    tuned = unregress.FineTune(recipe=short).unlearn(original.model, case, runtime)
    blindspot = unregress.Blindspot(helper=recipe, recipe=short, layers=("resnet.layer[23]", "resnet.layer4")).unlearn(
        original.model, case, runtime
    )
    models = {"original": original, "finetune": tuned, "blindspot": blindspot}
    relearn = unregress.Anamnesis(recipe=unregress.Recipe(epochs=1, lr=1e-3, batch_size=300), shuffles=1)
    metrics = [unregress.Errors(), unregress.Wasserstein(), unregress.Deviation(), unregress.Membership(), relearn]
    report = unregress.audit(case, models, runtime, golds=[gold], metrics=metrics)

    forgotten = int((train.tensors[1] >= 60).sum())
    assert (report.samples["train-forget"], report.samples["train-retain"]) == (forgotten, 300 - forgotten)
    for name in (*models, "retrained"):
        # Whoever learnt anything is nearer than zero is, whose error is the mean age of about 30 ...
        assert 3 < measured(report, "mae", "test-retain", name) < 28
        # ... and after two epochs whoever saw few old faces, or none, takes them to be much younger.
        assert measured(report, "mae", "train-forget", name) > 1.5 * measured(report, "mae", "test-retain", name)
        assert 0 <= measured(report, "attack", "train-forget", name) <= 1
    for name in ("original", "finetune", "blindspot"):
        assert measured(report, "paired", "train-forget", name) >= measured(report, "w1", "train-forget", name) > 0
    assert report.value("relearn-steps", "validation-forget", "original") == 0
    assert tuned.cost.share_of(gold.cost) == pytest.approx(0.5, rel=0.01)
    assert 1 < blindspot.cost.share_of(gold.cost) < 2
    report.to_json(tmp_path / "audit.json")
    assert unregress.AuditReport.from_json(tmp_path / "audit.json") == report
