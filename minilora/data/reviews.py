"""Sentences that twenty people rated from very negative to very positive: four corpora.

They come with vaderSentiment: Hutto & Gilbert, 2014, ICWSM 8(1), 216-225, under the MIT licence.
The films' 10,605 sentences are from the reviews that Pang & Lee collected, 2005, ACL.
"""

import hashlib
import tarfile
from typing import NamedTuple

import numpy as np

from minilora.checks import check_positive, check_texts
from minilora.data.packages import Package

RATINGS = Package(
    "vaderSentiment-3.3.2.tar.gz",
    "5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
    "vaderSentiment==3.3.2",
    options="--no-deps --no-binary vaderSentiment",
)
FILMS = "movieReviewSnippets_GroundTruth.txt"
PRODUCTS = "amazonReviewSnippets_GroundTruth.txt"
TWEETS = "tweets_GroundTruth.txt"
EDITORIALS = "nytEditorialSnippets_GroundTruth.txt"
_PARTS = ["test"] * 3 + ["validation"] + ["train"] * 6  # each stands for a tenth
_ARCHIVE = "vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz"
_FOLDER = "hutto_ICWSM_2014"


class Rated(NamedTuple):
    """The sentences of a corpus."""

    ids: list  # "309_8": sentence 8 of text 309; films and tweets number all sentences
    texts: list
    ratings: np.ndarray  # means of twenty, from −4 to 4


class Sentences(NamedTuple):
    """Sentences and their labels: 1 for a positive one, 0 for a negative one."""

    texts: list
    labels: np.ndarray


class Split(NamedTuple):
    """A corpus in three parts: 60, 10 and 30 %."""

    train: Sentences
    validation: Sentences  # to choose learning rates on
    test: Sentences


def read_ratings(path, corpus=FILMS):
    """All sentences of a corpus, as `Rated`.

    path: of the file of RATINGS. corpus: FILMS, PRODUCTS, TWEETS or EDITORIALS.

    Raises ValueError when the file does not hold it.
    """
    try:
        with (
            tarfile.open(path) as outer,
            tarfile.open(fileobj=outer.extractfile(_ARCHIVE)) as inner,
        ):
            content = inner.extractfile(f"{_FOLDER}/{corpus}").read()
        ids, ratings, texts = zip(*(line.split("\t") for line in content.decode().split("\r\n")))
        return Rated(list(ids), list(texts), np.array(ratings, float))
    except (OSError, EOFError, KeyError, TypeError, ValueError, tarfile.TarError) as error:
        raise ValueError(f"{path} has no corpus {corpus!r:.80}: {error}") from error


def split_by_sentiment(texts, ratings, least=0.5):
    """A `Split` of the sentences with |rating| ≥ least, each labelled by the sign of its rating.

    The SHA-256 of a sentence decides its part and its position there. So the split is the same
    everywhere, equal sentences are in one part, and the first n are a sample of all. The corpora
    themselves are in the order of the reviews.

    Raises ValueError when texts are not strings, there are more or fewer ratings than texts, or
    least is not positive.
    """
    check_texts("texts", texts)
    check_positive("least", least)
    if np.shape(ratings) != (len(texts),):
        raise ValueError(f"ratings must be {len(texts)}, one a text, got {np.shape(ratings)}")
    parts = {"train": [], "validation": [], "test": []}
    for text, rating in zip(texts, ratings):
        if abs(rating) >= least:
            place = int(hashlib.sha256(text.encode()).hexdigest(), 16)
            parts[_PARTS[place % 10]].append((place, text, int(rating > 0)))
    return Split(**{name: _sentences(sorted(rows)) for name, rows in parts.items()})


def _sentences(rows):
    """Sentences of rows (place, text, label)."""
    return Sentences([text for _, text, _ in rows], np.array([label for _, _, label in rows], int))
