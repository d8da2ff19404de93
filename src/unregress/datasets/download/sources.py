"""Where the datasets come from, under which licence, and how they get into their folders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from unregress.datasets.download.archive import extract
from unregress.datasets.download.fetch import download
from unregress.errors import DataError, SettingError


@dataclass(frozen=True, kw_only=True)
class Remote:
    """A file that its publishers give out without a login."""

    url: str
    file: str
    """Its name here."""
    licence: str
    home: str
    """The page that describes it."""
    holds: tuple[str, ...] = ()
    """If it is an archive, what of it is wanted: files or folders, by which it is told whether it was unpacked."""
    extras: tuple[str, ...] = ()
    """Files wanted besides, if the archive has them."""
    inside: str = ""
    """The folder within the archive in which these are."""
    checksum: str = ""
    """`sha256:...` or `md5:...`; empty where the publishers state none."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """How a dataset is got: files that are fetched, or steps for a person."""

    remotes: tuple[Remote, ...] = ()
    steps: str = ""
    """If nothing is fetched, what to do, as for an error's remedy; `{folder}` stands for the dataset's folder."""
    note: str = ""
    """What to say in the end; `{folder}` as in steps."""


ETT = "https://raw.githubusercontent.com/zhouhaoyi/ETDataset/main/ETT-small"
FACES = "https://data.vision.ee.ethz.ch/cvl/rrothe/imdb-wiki"
RESEARCH = "for academic research only, not for commercial use"

SOURCES: dict[str, Source] = {
    "agedb": Source(
        steps="AgeDB is given out by its owners: ask for it at https://ibug.doc.ic.ac.uk/resources/agedb/, unpack its "
        "photographs into {folder}/AgeDB, and put the index agedb.csv of the Deep Imbalanced Regression benchmark, "
        "agedb-dir/data/agedb.csv of https://github.com/YyzHarry/imbalanced-regression, into {folder}"
    ),
    "utkface": Source(
        steps="UTKFace is given out, for non-commercial research, at https://susanqq.github.io/UTKFace/: unpack its "
        "aligned and cropped faces into {folder}, and write an index {folder}/utkface.csv with the columns age, path "
        "(relative to the folder) and split (train, val or test); the age is what a file's name begins with"
    ),
    "imdb-wiki": Source(
        remotes=tuple(
            Remote(
                url=f"{FACES}/static/{part}.tar",
                file=f"{part}.tar",
                licence=RESEARCH,
                home=f"{FACES}/",
                holds=(part,),
            )
            for part in ("imdb_crop", "wiki_crop")
        )
    ),
    "stsb": Source(
        remotes=(
            Remote(
                url="http://ixa2.si.ehu.es/stswiki/images/4/48/Stsbenchmark.tar.gz",
                file="Stsbenchmark.tar.gz",
                licence="by the sentences' sources, CC BY-SA 4.0 for most: see LICENSE.txt in the archive",
                home="http://ixa2.si.ehu.eus/stswiki/index.php/STSbenchmark",
                holds=("sts-train.csv", "sts-dev.csv", "sts-test.csv"),
                extras=("LICENSE.txt", "readme.txt"),
                inside="stsbenchmark",
            ),
        ),
        note="The paper takes GloVe's vectors for the words; without them, they are learned.  To have them, put "
        "glove.6B.300d.txt of https://nlp.stanford.edu/data/glove.6B.zip (862 MB) into {folder}",
    ),
    "glove": Source(
        remotes=(
            Remote(
                url="https://nlp.stanford.edu/data/glove.6B.zip",
                file="glove.6B.zip",
                licence="Public Domain Dedication and License (PDDL) 1.0",
                home="https://nlp.stanford.edu/projects/glove/",
                holds=("glove.6B.300d.txt",),
            ),
        )
    ),
    "electricity": Source(
        remotes=(
            Remote(
                url="https://archive.ics.uci.edu/static/public/321/electricityloaddiagrams20112014.zip",
                file="electricityloaddiagrams20112014.zip",
                licence="CC BY 4.0",
                home="https://archive.ics.uci.edu/dataset/321/electricityloaddiagrams20112014",
                holds=("LD2011_2014.txt",),
            ),
        )
    ),
    "ett": Source(
        remotes=tuple(
            Remote(
                url=f"{ETT}/{file}", file=file, licence="CC BY-ND 4.0", home="https://github.com/zhouhaoyi/ETDataset"
            )
            for file in ("ETTh1.csv", "ETTh2.csv")
        )
    ),
}
"""By the name of the dataset's folder."""


def fetch(name: str, root: Path, say: Callable[[str], None] = print) -> None:
    """Fetch a dataset into its folder `root / name`, and unpack it there.

    What is there already is not fetched again; what was interrupted is gone on with.

    Args:
        name: a key of `SOURCES`.
        root: folder of several datasets by their names.
        say: where it is said, a line at a time, what is fetched from where and under which licence.

    Raises:
        SettingError: there is no such dataset.
        DataError: it is not given out without a person asking for it (the error says how), or it could not be fetched,
            unpacked or written.
    """
    if name not in SOURCES:
        raise SettingError(f"The dataset {name!r} is unknown", expected=f"one of {', '.join(SOURCES)}")
    source, folder = SOURCES[name], root / name
    if source.steps:
        raise DataError(f"{name} cannot be fetched without you", remedy=source.steps.format(folder=folder))
    for remote in source.remotes:
        names = remote.holds or (remote.file,)
        if all((folder / each).exists() for each in names):
            say(f"{', '.join(names)}: in {folder} already")
            continue
        say(f"Fetching {remote.file} from {remote.url}")
        say(f"Licence: {remote.licence}; see {remote.home}")
        archive = download(remote.url, folder / remote.file, checksum=remote.checksum, say=say)
        if remote.holds:
            say(f"Unpacking {remote.file}")
            extract(archive, folder, inside=remote.inside, only=remote.holds, extras=remote.extras)
            archive.unlink()
    if source.note:
        say(source.note.format(folder=folder))
