"""The tables of docs/reproduction.md, from what is under results/reproduction: what is read there was measured.

python benchmarks/reproduction_page.py            # writes them between the page's markers
python benchmarks/reproduction_page.py --check    # fails if they are not what results say
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from unregress.experiments.experiment import names

ROOT = Path(__file__).resolve().parents[1]
PAGE, RESULTS = ROOT / "docs" / "reproduction.md", ROOT / "results" / "reproduction"
START, END = "<!-- made by benchmarks/reproduction_page.py -->", "<!-- end -->"
SHOWN = (
    "Wasserstein distance to the retrained models, train-forget",
    "Paired difference to the retrained models,",
    "Membership inference: AUC,",
    "Membership inference, calibrated: AUC,",
    "Membership attack: share called members,",
    "Linear probe on the features,",
    "Anamnesis index,",
    "Verdict",
)
"""What the page shows of a table, beside the errors that the paper names."""


def sections() -> Iterator[str]:
    """Heading, command and table of each row that was run, as published and tuned, in the order of `--list`."""
    for name in names():
        for folder in (RESULTS / name, RESULTS / f"{name}-tuned"):
            if folder.is_dir():
                told = json.loads((folder / "result.json").read_text(encoding="utf-8"))
                tuned = ", tuned" if folder.name.endswith("-tuned") else f" ({told['experiment']['source']})"
                command = told["facts"]["Command"].removesuffix(" --runtime.accelerator cpu")
                lines = (folder / "table.md").read_text(encoding="utf-8").splitlines()
                table = "\n".join(_shown(lines))
                title = f"### {told['experiment']['title']}{tuned}"
                yield f"{title}\n\n{told['facts']['Data']}.\n\n`{command}`\n\n{table}\n"


def _shown(lines: list[str]) -> Iterator[str]:
    following = [*lines[1:], ""]
    for line, after in zip(lines, following, strict=True):
        named = line.removeprefix("| ")
        heading = not line.startswith("|") or named.startswith(("measure", "|---"))
        paper = " | paper |" in line
        if heading or paper or named.startswith(SHOWN) or after.startswith("| err_D"):
            yield line


def main() -> int:
    page = PAGE.read_text(encoding="utf-8")
    before, rest = page.split(START)
    after = rest.split(END, maxsplit=1)[1]
    made = f"{before}{START}\n\n" + "\n".join(sections()) + f"\n{END}{after}"
    if "--check" in sys.argv[1:]:
        if made == page:
            return 0
        print(f"{PAGE} is not what {RESULTS} says; run `python {Path(__file__).name}`", file=sys.stderr)
        return 1
    PAGE.write_text(made, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
