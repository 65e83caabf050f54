"""The entries of a model's config.json, each checked when it is read.

A file may leave entries out, as old ones do. They then have the `usual` value, the one that Hugging
Face's transformers takes.
"""

import json
from pathlib import Path

from minilora.checks import check_count

LARGEST = 2**20  # of all sizes; as a vocabulary, a million
_MOST_BYTES = 10**7  # a config.json has a few thousand


class Entries:
    """The entries of a config. Every method raises ValueError for a missing or impossible value.

    usual: entry -> its value when it is missing. aliases: entry -> the name that it has here, such
    as GPT-2's n_embd for hidden_size; both names are read.
    """

    def __init__(self, config, usual, aliases):
        self._given = {**usual, **config}
        self._usual = usual
        self._aliases = aliases

    def value(self, name):
        """The value, of any type."""
        own = self._aliases.get(name, name)
        found = [each for each in dict.fromkeys((own, name)) if each in self._given]
        if not found:
            raise ValueError(f"{own} is missing")
        values = [self._given[each] for each in found]
        if len(found) == 2 and values[0] != values[1]:
            raise ValueError(f"{own} is {values[0]!r:.80}, but {name} is {values[1]!r:.80}")
        return values[0]

    def size(self, name, least=1, most=LARGEST):
        """An integer from least to most."""
        value = self.value(name)
        check_count(self._aliases.get(name, name), value, most, least)
        return value

    def size_or(self, otherwise, name):
        """An integer; `otherwise` for null, or nothing at all, if that is usual."""
        usually_null = self._usual.get(self._aliases.get(name, name), 0) is None
        return otherwise if usually_null and self.value(name) is None else self.size(name)

    def flag(self, name):
        """True or False."""
        value = self.value(name)
        if not isinstance(value, bool):
            raise ValueError(f"{name} must be true or false, got {value!r:.80}")
        return value

    def words(self, name):
        """A set of words, from "c2p|p2c", ["c2p", "p2c"] or null."""
        value = self.value(name)
        words = value.lower().split("|") if isinstance(value, str) else value
        words = [] if words is None else words
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            raise ValueError(f"{name} must be a list of words, got {value!r:.80}")
        return {word.strip() for word in words}


def read_config(file):
    """The value in a JSON file. Raises ValueError when it is missing, too large or not JSON."""
    file = Path(file)
    if not file.is_file():
        below = file.with_name("adapter_config.json").is_file()
        advice = "; the folder holds an adapter: count the model that it is for" if below else ""
        raise ValueError(f"there is no such file{advice}")
    if file.stat().st_size > _MOST_BYTES:
        raise ValueError(f"{file.stat().st_size:,} bytes are too many for a config.json")
    try:
        return json.loads(file.read_text("utf-8"))
    except OSError as error:
        raise ValueError(f"cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is not JSON: {error}") from error
