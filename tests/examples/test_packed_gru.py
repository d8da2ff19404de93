"""Sentences of different lengths forgotten by their ids, with a packed GRU, RMSprop and clipped gradients."""

from __future__ import annotations

from pathlib import Path

import torch

from support.example_scripts import example, needs


def test_padding_does_not_change_a_prediction() -> None:
    script = example("packed_gru")

    def pair(first: int, second: int) -> dict[str, torch.Tensor]:
        return {
            "first": torch.arange(1, first),
            "second": torch.arange(1, second),
            "labels": torch.tensor(0.0),
        }

    model = script.Similarity().eval()
    alone, beside = (script.collate(samples) for samples in ([pair(4, 6)], [pair(4, 6), pair(9, 2)]))
    assert beside["tokens"].shape == (2, 2, 8) and beside["lengths"].tolist() == [[3, 5], [8, 1]]
    torch.testing.assert_close(
        model(alone["tokens"], alone["lengths"])[0], model(beside["tokens"], beside["lengths"])[0]
    )


@needs("stsb")
def test_the_pairs_of_one_source_are_forgotten(tmp_path: Path) -> None:
    report = example("packed_gru").main(tmp_path, every=20, epochs=1, golds=2)
    assert report.samples["train-forget"] == 49 and report.samples["train-retain"] == 263 - 49
    assert report.named("unlearned") == ["Retrain"] and len(report.golds) == 2
    recipes = [model.record.recipe for model in report.models if model.role in ("original", "unlearned", "gold")]
    assert recipes == [recipes[0]] * 4
    assert (recipes[0]["optimizer"], recipes[0]["clip_norm"]) == ("RMSprop", 1.0)
    assert [trace.name for trace in report.traces if "vocabulary" in trace.name] == ["vocabulary"]
    assert (tmp_path / "audit.html").is_file()
