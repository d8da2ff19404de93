# ruff: noqa: E501
"""Modules that cannot be imported, and methods and metrics of the user's own."""

from __future__ import annotations

from collections.abc import Iterator

from fuzz.project import PROJECT
from fuzz.trial import DIVERGED, DONE, REFUSED, Trial
from fuzz.user_code import GOOD, module, whole

_YES, _NO, _ANY = frozenset({DONE}), frozenset({REFUSED}), frozenset({DONE, REFUSED})


def trials() -> Iterator[Trial]:
    """Modules first."""
    train = ("train", "--task", "mine.task", "--data", "mine.data", "--recipe.epochs", "1", "--output", "out")
    for name, code in _modules().items():
        yield Trial(name=f"module: {name}", words=train, prepare=whole(code), codes=_NO)
    for name, code in _methods().items():
        words = ("forget", *PROJECT, "--request.random", "3", "--request.reason", "x", "--method", "mine.Mine",
                 "--checkpoint", "runs/original", "--output", "out")  # fmt: skip
        codes = _YES if name.startswith("good") else frozenset({DIVERGED, REFUSED})
        yield Trial(name=f"method: {name}", words=words, prepare=module(code), codes=codes)
    for name, code in _metrics().items():
        words = ("audit", *PROJECT, "--request.from_run", "runs/gold", "--models.original", "runs/original",
                 "--models.mine", "runs/mine", "--golds", "[runs/gold]", "--metrics", "[mine.Mine]", "--output", "out")  # fmt: skip
        # A tensor of one number is a number.
        codes = _YES if name.startswith("good") else _ANY if name == "gives a tensor" else _NO
        yield Trial(name=f"metric: {name}", words=words, prepare=module(code), codes=codes)


def _modules() -> dict[str, str]:
    return {
        "with a mistake": "def task(:\n",
        "with an indent": " x = 1\n",
        "with tabs and blanks": "if 1:\n\tx = 1\n        y = 2\n",
        "that is empty": "",
        "that is not Python": "<html>\n",
        "of null bytes": "\x00\x00",
        "in latin-1": "x = '\udce9'\n",
        "that raises": "raise ValueError('mistake')\n",
        "that exits": "import sys\nsys.exit(0)\n",
        "that exits with words": "raise SystemExit('bye')\n",
        "that exits at once and well": "raise SystemExit\n",
        "that lacks a package": "import no_such_package\n",
        "that lacks a name": "from torch import no_such_name\n",
        "that imports itself": "import mine\nmine.task\n",
        "that recurses": "def f():\n    f()\n\n\nf()\n",
        "of a deep expression": f"x = {'(' * 300}1{')' * 300}\n",
        "without types": GOOD.replace(" -> Splits", "").replace(" -> TensorTask", ""),
        "with types of text": GOOD.replace(" -> TensorTask", " -> 'Nothing'"),
        "of arguments": GOOD.replace("def data()", "def data(path)"),
        "of star arguments": GOOD.replace("def data()", "def data(*, path: 'No')"),
        "of classes": "class task:\n    pass\n\n\nclass data:\n    pass\n",
        "of numbers": "task = 7\ndata = 8\n",
        "of a generator": GOOD.replace("    return splits()\n", "    yield splits()\n"),
        "that closes the streams": GOOD + "\n\nsys.stdout.close()\nraise ValueError('x')\n",
    }


def _methods() -> dict[str, str]:
    def method(run: str, fields: str = "") -> str:
        lines = "".join(f"        {line}\n" for line in run.splitlines())
        return (
            "from dataclasses import dataclass\nfrom unregress.methods import Method, Unlearned\n"
            "from unregress.cost import Cost\n\n\n"
            f"@dataclass(frozen=True, kw_only=True)\nclass Mine(Method):\n{fields}    def run(self, student, case, runtime):\n{lines}"
        )

    made = "return Unlearned(model=student, history=(), cost=Cost(forward=0, backward=0, seconds=0.0))"
    fill = "with torch.no_grad():\n    for p in student.parameters():\n        p.fill_({})\n"
    return {
        "good": method(made),
        "raises": method("raise ValueError('mistake')"),
        "exits": method("sys.exit(0)"),
        "gives None": method("return None"),
        "gives a model": method("return student"),
        "gives NaN": method(fill.format("torch.nan") + made),
        "gives infinity": method(fill.format("torch.inf") + made),
        "gives another model": method(made.replace("student", "nn.Linear(3, 2)")),
        "gives no model": method(made.replace("student", "7")),
        "is no method": "class Mine:\n    pass\n",
        "is abstract": "from unregress.methods import Method\n\n\nclass Mine(Method):\n    pass\n",
        "is a function": "def Mine(student, case, runtime):\n    return student\n",
        "cannot be made": method(made, "    def __post_init__(self):\n        raise ValueError('mistake')\n\n"),
    }


def _metrics() -> dict[str, str]:
    def metric(body: str) -> str:
        return (
            "from dataclasses import dataclass\nfrom unregress.metrics import Metric\n"
            "from unregress.evidence import Measurement, MetricInfo\n\n\n"
            "@dataclass(frozen=True, kw_only=True)\nclass Mine(Metric):\n"
            "    about = (MetricInfo(metric='mine', title='Mine', meaning='m', ideal='i', unit='ratio', source='s'),)\n\n"
            f"    def measure(self, panel):\n        {body}\n"
        )

    found = (
        "yield from (Measurement(metric='mine', split='test-retain', model=s.name, value={}) for s in panel.subjects)"
    )
    return {
        "good": metric(found.format("1.0")),
        "raises": metric("raise ValueError('mistake')"),
        "exits": metric("sys.exit(0)"),
        "gives None": metric("return None"),
        "gives a list": metric("return [1.0]"),
        "gives NaN": metric(found.format("float('nan')")),
        "gives infinity": metric(found.format("float('inf')")),
        "gives text": metric(found.format("'1.0'")),
        "gives a tensor": metric(found.format("torch.tensor(1.0)")),
        "gives numpy": metric(found.format("np.ones(2)")),
        "is no metric": "class Mine:\n    pass\n",
    }
