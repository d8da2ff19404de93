"""The command `unregress method`: judge a method by audits of its models of several seeds."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import Literal

from unregress.cli.commands.agreement import AUDIT
from unregress.cli.console import say
from unregress.errors import SettingError, VerdictError
from unregress.errors.wording import printable
from unregress.evidence import AuditReport
from unregress.evidence.method_verdict import method_verdict
from unregress.evidence.shared_golds import Place


def method(
    audits: list[Path],
    *,
    model: str = "",
    measures: list[str] = ["mae@train-forget"],  # noqa: B006 never changed
    level: float = 0.05,
    require: Literal["pass"] | None = None,
) -> None:
    """Judge a method by audits of its models of several seeds.

    Models that each pass by golds of their own can still all lie to one side of them.  An exact permutation test asks
    whether they are further golds, all together; audits that share golds count as one comparison.

    Args:
        audits: folders of audits, or audit.json files: one request and one method, of a seed each.
        model: the unlearned model's name in the audits; not needed if each has one.
        measures: what is compared, as METRIC@PART, named before looking at it.  Several are corrected for their number.
        level: probability with which a method that equals retraining fails.
        require: `pass` to end with exit code 3 unless the method passes.

    Raises:
        SettingError: fewer than two audits, or a measurement that is not METRIC@PART.
        StaleError: audits that cannot be read, or do not belong together.
        VerdictError: the method did not pass, and was required to.
    """
    reports = [AuditReport.from_json(path / AUDIT if path.is_dir() else path) for path in audits]
    found = method_verdict(reports, model or None, level=level, measures=[_place(each) for each in measures])
    lines = [
        f"{each.metric} on {each.split}: p = {each.p:.3g} (originals: {each.p_original:.3g}); models "
        f"{', '.join(f'{value:.4g}' for value in each.models)}; retrained {', '.join(f'{v:.4g}' for v in each.golds)}"
        for each in found.comparisons
    ]
    say(*map(printable, [f"{found.outcome}  {found.model}: {found.reason}", *lines]))
    if require == "pass" and found.outcome != "PASS":
        raise VerdictError(f"The method did not pass: {found.reason.rstrip('.')}", expected="PASS")


def listed(words: Sequence[str]) -> list[str]:
    """The words of the command with its audits as one list, as the parser takes them.

    >>> listed(["method", "runs/a", "runs/b", "--model", "mine"])
    ['method', "['runs/a', 'runs/b']", '--model', 'mine']
    """
    if words[:1] != ["method"]:
        return list(words)
    audits = list(takewhile(lambda word: not word.startswith(("-", "[")), words[1:]))
    return ["method", *([str(audits)] if audits else []), *words[1 + len(audits) :]]


def _place(text: str) -> Place:
    metric, at, split = text.partition("@")
    if not (metric and at and split):
        raise SettingError(f"`measures` holds {text!r}", expected="METRIC@PART, as mae@train-forget")
    return metric, split
