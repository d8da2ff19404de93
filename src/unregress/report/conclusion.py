"""The conclusion of an audit in everyday words: what is known about each model, and what to do next."""

from __future__ import annotations

from dataclasses import dataclass

from unregress.evidence import AuditedModel, AuditReport, CriterionOutcome, Obstacle, Outcome, Verdict
from unregress.report.formatting import count, plural

UNLIKE = "a model that never saw them"
_FAILED: dict[CriterionOutcome, str] = {
    "within": "{model} can be told from {unlike}.",
    "differs": "{model} treats {records} differently from {unlike}.",
    "remembers": "{model} still remembers {records}.",
    "knows the kind": "{model} still knows what was learnt from {records}: it is better at them, and at others like "
    "them, than {unlike}.",
    "overshoots": "{model} was pushed too far: it does worse on {records} than {unlike}, which shows that something "
    "was removed.",
    "damaged": "{model} has become worse at what was to be kept.",
}
_MILDER = (
    "Do not deploy it. Unlearn again with milder settings or another method, or retrain without the records; then "
    "audit again."
)
_STRONGER = (
    "Do not deploy it. Retrain without the records, or unlearn again with stronger settings or another method; then "
    "audit again."
)
_IN_WEIGHTS = (
    "{model} answers like {unlike}, but has not forgotten inside: it holds more of {records} than {unlike} does, which "
    "can be read out of it or may come back when it is trained further."
)
_BY_CHANCE = (
    "By its record it was trained from scratch without the records, and about one such model in twenty fails by "
    "chance. Check the record, and audit it again with twice as many retrained models; do not retrain until one passes."
)
_BY_FUNCTION = (
    "By its record it was trained from scratch with {function}, which was given the data without the records. Check "
    "that this function reads no others; if it does not, about one such model in twenty fails by chance: audit it "
    "again with twice as many retrained models, and do not retrain until one passes."
)
_UNKNOWN: dict[Obstacle, str] = {
    "golds": "too few models were retrained without the records for a comparison",
    "spread": "the models retrained without the records differ too much from each other for a comparison",
    "samples": "too few records were forgotten for a judgement",
    "measures": "a part of what a judgement needs was not measured",
    "original": "not even the original can be told to have learnt them",
    "training": "the models retrained for comparison learnt nothing",
    "kept": "the comparison could not show damage to what was to be kept",
    "far": "it errs on the records by more than nearly any model that was retrained without them",
}
_STEPS: dict[Obstacle, str] = {
    "golds": "Retrain more models without the records, and audit again.",
    "spread": "More retrained models would not help. Deploy a model that was retrained without the records instead.",
    "samples": "Deploy a model that was retrained without the records, or audit several requests together.",
    "measures": "Audit again with the default measures.",
    "original": "Check that the original is the file that was trained on these records. If it is, forgetting them "
    "cannot be shown for any model: deploy one that was retrained without them.",
    "training": "Check how the retrained models were trained, train them as the original was, and audit again.",
    "kept": "Audit with more new samples of the kinds kept, or deploy a model that was retrained without the records.",
    "far": "It may have been pushed too far: forget with a smaller rate or fewer steps, and audit again.",
}

_NOTHING_TO_SEE: tuple[Obstacle, ...] = ("golds", "spread", "samples", "original", "kept")
"""Obstacles that say nothing against a model which, by its record, was retrained without the records."""


@dataclass(frozen=True, kw_only=True)
class ModelConclusion:
    """What is known about one unlearned model, and what to do with it."""

    model: str
    outcome: Outcome
    sentence: str
    step: str
    deployable: bool
    """Whether it passed, for this request and all earlier ones, or was retrained and could not be judged."""


@dataclass(frozen=True, kw_only=True)
class Conclusion:
    """The first lines of a page."""

    headline: str
    """One sentence."""
    step: str
    """The next step."""
    models: tuple[ModelConclusion, ...]
    """The judged models, in the order of the report."""

    @property
    def deployable(self) -> tuple[str, ...]:
        """The names of the models that may be deployed."""
        return tuple(each.model for each in self.models if each.deployable)


def conclusion(report: AuditReport) -> Conclusion:
    """Draw the conclusion of an audit about its unlearned models."""
    verdicts = {verdict.model: verdict for verdict in report.verdicts}
    audited = {model.name: model for model in report.models}
    models = tuple(
        _about(verdicts[name], audited[name], report) for name in report.named("unlearned") if name in verdicts
    )
    if len(models) == 1:
        return Conclusion(headline=models[0].sentence, step=models[0].step, models=models)
    headline, step = _about_all(models)
    return Conclusion(headline=headline, step=step, models=models)


def records(report: AuditReport) -> str:
    """The forgotten samples in words, such as `the 2,000 records`."""
    number = report.samples.get("train-forget")
    if number is None:
        return "the records"
    return "the record" if number == 1 else f"the {count(number)} records"


def about_original(report: AuditReport) -> str:
    """What the original shows, in words; empty if it was not judged."""
    verdict = next((each for each in report.verdicts if each.model in report.named("original")), None)
    if verdict is None:
        return ""
    if verdict.outcome == "FAIL" and not any(each.obstacle == "original" for each in report.verdicts):
        return f"As it should, the original can be told from {UNLIKE}: so the comparison is able to tell."
    return verdict.reason


def _about_all(models: tuple[ModelConclusion, ...]) -> tuple[str, str]:
    """Headline and next step of an audit of several models, or of none."""
    if not models:
        return (
            "Whether a model has forgotten is not known: this audit gives no verdict on any unlearned model.",
            "Audit an unlearned model together with models that were retrained without the records.",
        )
    good = [each for each in models if each.deployable]
    if len(good) == 1:
        only = f"{good[0].sentence.removesuffix('.')}; it is the only one of {len(models)} models that may be deployed."
        return only, good[0].step
    if good:
        names = _listed([each.model for each in good])
        return (
            f"{len(good)} of {len(models)} models may be deployed: as far as is known, {names} behave like models that "
            "never saw the records.",
            "Deploy one of those named below, and check its SHA-256 before it is put to use.",
        )
    open_ones = [each for each in models if each.outcome == "INCONCLUSIVE"]
    if not open_ones:
        return (
            f"None of the {len(models)} models has forgotten as a retrained model would.",
            "Deploy none of them. Retrain without the records, or unlearn with another method; then audit again.",
        )
    steps = list(dict.fromkeys(each.step for each in open_ones))
    about = "any of them" if len(open_ones) == len(models) else _listed([each.model for each in open_ones])
    step = steps[0] if len(steps) == 1 else "Deploy none of them yet: the next step for each is told below."
    return f"None of the {len(models)} models passed; of {about} it is not known yet whether it has forgotten.", step


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _about(verdict: Verdict, model: AuditedModel, report: AuditReport) -> ModelConclusion:
    again = [
        earlier.reason
        for earlier in report.earlier
        for other in earlier.verdicts
        if other.model == verdict.model and other.rejected
    ]
    retrained = model.record is not None and model.record.kind == "retrained" and not again
    exact = retrained and verdict.outcome == "INCONCLUSIVE" and verdict.obstacle in _NOTHING_TO_SEE
    if exact:
        sentence, step = _retrained(verdict.model, model, records(report))
    elif verdict.outcome == "INCONCLUSIVE":
        sentence, step = _undecided(verdict, report)
    elif verdict.outcome == "FAIL":
        sentence, step = _failed(verdict, report, chance=_by_chance(model) if retrained else "")
    elif verdict.outcome == "OUTPUTS ONLY":
        sentence, step = _IN_WEIGHTS.format(model=verdict.model, records=records(report), unlike=UNLIKE), _STRONGER
    elif again:
        sentence = (
            f"{verdict.model} behaves like {UNLIKE} about this request, but an earlier one shows again: {again[0]}."
        )
        step = _STRONGER
    else:
        sentence = (
            f"As far as was measured, {verdict.model} has forgotten: it behaves like a model that never saw "
            f"{records(report)}."
        )
        step = _deploy(model)
    deployable = exact or (verdict.outcome == "PASS" and not again)
    return ModelConclusion(
        model=verdict.model, outcome=verdict.outcome, sentence=sentence, step=step, deployable=deployable
    )


def own_function(model: AuditedModel) -> str:
    """The import path of the user's function that trained a model; empty for the library's own training.

    What such a function reads besides the samples that it is given is not known.  The library's training functions give
    other libraries these samples and no others, unless the user's own `datamodule` does.
    """
    recipe = {} if model.record is None else model.record.recipe or {}
    path, settings = str(recipe.get("class_path", "")), recipe.get("init_args") or {}
    ours = path.startswith("unregress.")
    return str(settings.get("datamodule") or "") if ours and isinstance(settings, dict) else path


def _retrained(name: str, model: AuditedModel, forgotten: str) -> tuple[str, str]:
    """Sentence and step about a model of which nothing is known but that it was retrained without the records."""
    more = "the comparison with other retrained models could not tell more"
    if not (function := own_function(model)):
        sentence = f"By its record, {name} was trained from scratch without {forgotten}, so it never saw them; {more}."
        return sentence, _deploy(model)
    sentence = (
        f"By its record, {name} was trained from scratch with {function}, which was given the data without "
        f"{forgotten}; whether it reads other data is not known, and {more}."
    )
    step = _deploy(model)
    return (
        sentence,
        f"Make sure that {function} reads no samples but those it is given. Then {step[0].lower()}{step[1:]}",
    )


def _by_chance(model: AuditedModel) -> str:
    """The step after a retrained model has failed."""
    return _BY_FUNCTION.format(function=function) if (function := own_function(model)) else _BY_CHANCE


def _deploy(model: AuditedModel) -> str:
    if model.file is None:
        return (
            "Save the model to a file and audit that file: this one was measured from memory, so that the verdict "
            "names no file that could be deployed."
        )
    if model.file.holds == "predictions":
        return (
            f"Deploy the model that made the predictions in {model.file.name}, after making sure that it is that very "
            "model: only its predictions were seen."
        )
    if not model.file.sha256:
        return "Audit its file again: no digest is recorded, so that it is not known which file was measured."
    return f"Deploy the file {model.file.name}, and check its SHA-256 before it is put to use."


def _failed(verdict: Verdict, report: AuditReport, *, chance: str) -> tuple[str, str]:
    outcome: CriterionOutcome = "within" if verdict.decisive is None else verdict.decisive.outcome
    sentence = _FAILED[outcome].format(model=verdict.model, records=records(report), unlike=UNLIKE)
    return sentence, chance or (_MILDER if outcome in ("overshoots", "damaged") else _STRONGER)


def _undecided(verdict: Verdict, report: AuditReport) -> tuple[str, str]:
    start = f"Whether {verdict.model} has forgotten is not known"
    if verdict.obstacle is None:
        return f"{start}.", "Do not deploy it yet. The reason below says what is missing."
    step = _STEPS[verdict.obstacle]
    golds, needed = len(report.golds), verdict.golds_needed
    if needed is not None and needed > golds:
        further = plural(needed - golds, "more model" if golds else "model")
        step = f"Retrain {further} without the records ({golds} so far, {needed} are needed), and audit again."
    return f"{start}: {_UNKNOWN[verdict.obstacle]}.", f"Do not deploy it yet. {step}"
