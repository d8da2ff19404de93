"""Addresses and licences of the datasets, and how they are downloaded into their folders."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from unregress.datasets.download.archive import extract
from unregress.datasets.download.fetch import download
from unregress.errors import DataError, SettingError


@dataclass(frozen=True, kw_only=True)
class Remote:
    """A file that can be downloaded without a login."""

    url: str
    file: str
    """Its name in the dataset's folder."""
    licence: str
    home: str
    """The page that describes it."""
    holds: tuple[str, ...] = ()
    """For an archive: the files or folders to unpack; if all of them exist, it is not downloaded."""
    extras: tuple[str, ...] = ()
    """Optional further files to unpack, if the archive has them."""
    inside: str = ""
    """The folder within the archive that holds them."""
    checksum: str = ""
    """`sha256:...` or `md5:...`; empty where the publishers state none."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """How to obtain a dataset: files to download, or instructions for the user."""

    remotes: tuple[Remote, ...] = ()
    steps: str = ""
    """Instructions if nothing can be downloaded, used as an error's remedy; `{folder}` is the dataset's folder."""
    note: str = ""
    """Advice that is printed at the end; `{folder}` as in `steps`."""


ETT = "https://raw.githubusercontent.com/zhouhaoyi/ETDataset/main/ETT-small"
FACES = "https://data.vision.ee.ethz.ch/cvl/rrothe/imdb-wiki"
RESEARCH = "for academic research only, not for commercial use"

SOURCES: dict[str, Source] = {
    "agedb": Source(
        steps="AgeDB is available on request: ask for it at https://ibug.doc.ic.ac.uk/resources/agedb/, unpack its "
        "photographs into {folder}/AgeDB, and put the index agedb.csv of the Deep Imbalanced Regression benchmark, "
        "agedb-dir/data/agedb.csv of https://github.com/YyzHarry/imbalanced-regression, into {folder}"
    ),
    "utkface": Source(
        steps="UTKFace is available, for non-commercial research, at https://susanqq.github.io/UTKFace/: unpack its "
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
"""Sources by the name of the dataset's folder."""


def fetch(name: str, root: Path, say: Callable[[str], None] = print) -> None:
    """Download a dataset into its folder `root / name`, and unpack it there.

    Files that exist are not downloaded again; interrupted downloads are resumed.

    Args:
        name: a key of `SOURCES`.
        root: folder that holds each dataset in a folder of its name.
        say: called with each line about what is downloaded, from where and under which licence.

    Raises:
        SettingError: there is no such dataset.
        DataError: the dataset is available on request only (the error says how), or it could not be downloaded,
            unpacked or written.
    """
    if name not in SOURCES:
        raise SettingError(f"The dataset {name!r} is unknown", expected=f"one of {', '.join(SOURCES)}")
    source, folder = SOURCES[name], root / name
    if source.steps:
        raise DataError(f"{name} cannot be downloaded automatically", remedy=source.steps.format(folder=folder))
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
