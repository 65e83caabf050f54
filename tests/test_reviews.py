"""The data of the real model: packages, WordPiece, a pretrained BERT, and rated sentences."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.reviews import (
    PIECES,
    SIZES,
    bert_files,
    film_lines,
    tokens_of,
    write_files,
    write_ratings,
    write_wheel,
)

from minilora.data.bert import MINILM, read_bert
from minilora.data.packages import Package, locate
from minilora.data.reviews import (
    EDITORIALS,
    FILMS,
    PRODUCTS,
    RATINGS,
    TWEETS,
    Rated,
    Split,
    read_ratings,
    split_by_sentiment,
)
from minilora.data.wordpiece import tokenize, word_pieces, words
from minilora.models.encoder import init_encoder
from minilora.peft.safetensors import pack

REAL = Path(__file__).parent.parent / "real"
VOCABULARY = {piece: token for token, piece in enumerate(PIECES)}
needs_real = pytest.mark.skipif(
    not all((REAL / package.file).exists() for package in (MINILM, RATINGS)),
    reason="the two packages are not in real/",
)

# ---- Packages


def test_a_package_is_found_when_it_is_the_right_file(tmp_path):
    content = bytes(range(256)) * 9000  # more than one piece
    (tmp_path / "some.whl").write_bytes(content)
    package = Package("some.whl", hashlib.sha256(content).hexdigest(), "some==1.0")
    assert locate(package, tmp_path) == tmp_path / "some.whl"
    assert locate(package, str(tmp_path)) == tmp_path / "some.whl"
    (tmp_path / "some.whl").write_bytes(content[:-1])
    with pytest.raises(ValueError) as refused:
        locate(package, tmp_path)
    advice = f"this fetches it: pip download --no-deps -d {tmp_path} some==1.0"
    assert f"expected {package.sha256[:12]}…; {advice}" in str(refused.value)
    assert "-d 'a folder' some==1.0" in package.command("a folder")


def test_a_missing_package_says_how_to_fetch_it(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        with pytest.raises(ValueError, match=r"No such file.*pip download --no-deps -d .* gt-all"):
            locate(MINILM, folder)
    with pytest.raises(ValueError, match=r"^folder must be a path, got None"):
        locate(MINILM, None)


# ---- WordPiece


@pytest.mark.parametrize(
    "text, expected",
    [
        ("A good film!", "a good film !"),
        ("  a\tGOOD\nfilm ", "a good film"),
        ("unfathomable", "un ##fat ##hom ##able"),
        ("films", "film ##s"),
        ("filmsx", "[UNK]"),  # as a whole, not in part
        ("fátfilm", "[UNK]"),
        ("fát fi\u0301lm", "fat film"),
        ("don't", "[UNK] ' [UNK]"),
        ("a" * 100, "[UNK]"),
        ("\u00a0a\u2003good\u200bfilm", "a [UNK]"),  # a space; a character that has no width
        ("good\u0000\ufffd film", "good film"),
        ("漢a", "[UNK] a"),
        ("$a^good`film", "[UNK] a [UNK] good [UNK] film"),
        ("a“good”", "a [UNK] good [UNK]"),
        ("", ""),
        ("a \U000e0fff good", "a [UNK] good"),  # a code point that no Unicode version assigns
    ],
)
def test_a_text_becomes_the_longest_pieces(text, expected):
    found = [piece for word in words(text) for piece in word_pieces(word, VOCABULARY)]
    assert found == expected.split()


def test_letters_become_lower_case_one_by_one():
    assert words("ΟΣ İ") == ["οσ", "i"]


def test_the_longest_piece_wins():
    vocabulary = {"[UNK]": 0, "u": 1, "un": 2, "##n": 3, "##d": 4, "##do": 5, "##o": 6}
    assert word_pieces("undo", vocabulary) == ["un", "##do"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((["a"], VOCABULARY, 1), r"^length must be an integer from 2 up, got 1"),
        (("a", VOCABULARY, 9), r"^sentences must be a list of strings, got 'a'"),
        (([b"a"], VOCABULARY, 9), r"^sentences must be a list of strings, got \[b'a'\]"),
        (
            (["a"], None, 9),
            r"^vocabulary must be a dict with .*got NoneType",
        ),
        (
            (["a"], {"[CLS]": 0, "[PAD]": 1}, 9),
            r"^vocabulary must be a dict with .*got dict \['\[CLS\]",
        ),
    ],
    ids=repr,
)
def test_wrong_arguments_of_tokenize_are_refused_by_name(arguments, message):
    with pytest.raises(ValueError, match=message):
        tokenize(*arguments)


def test_words_of_more_than_a_hundred_letters_are_unknown():
    vocabulary = {"[UNK]": 0, "a": 1, "##a": 2}
    assert len(word_pieces("a" * 100, vocabulary)) == 100
    assert word_pieces("a" * 101, vocabulary) == ["[UNK]"]


def test_sentences_become_tokens_and_a_mask():
    tokens, mask = tokenize(["a film", "", "a good film, films"], VOCABULARY, 6)
    np.testing.assert_array_equal(tokens[0], tokens_of("[CLS] a film [SEP] [PAD] [PAD]"))
    np.testing.assert_array_equal(tokens[1], tokens_of("[CLS] [SEP]" + " [PAD]" * 4))
    np.testing.assert_array_equal(tokens[2], tokens_of("[CLS] a good film [UNK] [SEP]"))
    np.testing.assert_array_equal(mask.sum(axis=1), [4, 2, 6])
    assert mask.dtype == bool and tokens.dtype.kind == "i"
    assert np.all(mask == (tokens != 0))


@given(st.text(max_size=40), st.integers(2, 12))
def test_any_text_becomes_tokens(text, length):
    tokens, mask = tokenize([text], VOCABULARY, length)
    assert tokens.shape == mask.shape == (1, length)
    assert tokens[0, 0] == VOCABULARY["[CLS]"]
    assert tokens[0, mask.sum() - 1] == VOCABULARY["[SEP]"]
    assert tokens.min() >= 0 and tokens.max() < len(PIECES)


@needs_real
def test_all_sentences_have_the_tokens_of_the_reference():
    """The 10,605 of the films, skipped without the packages in real/ and without [peft]."""
    transformers = pytest.importorskip("transformers", reason="needs pip install -e '.[peft]'")
    bert = read_bert(REAL / MINILM.file)
    texts = read_ratings(REAL / RATINGS.file).texts
    tokens, mask = tokenize(texts, bert.vocabulary, 128)
    reference = transformers.BertTokenizer(vocab=bert.vocabulary)
    expected = reference(texts)["input_ids"]
    assert len(texts) == 10_605
    for own, used, theirs in zip(tokens, mask, expected):
        assert own[used].tolist() == theirs


# ---- A pretrained BERT


def test_a_bert_is_read_from_a_folder_and_from_a_wheel(rng, tmp_path):
    files = bert_files(rng)
    folder = write_files(tmp_path / "bert", files)
    wheel = write_wheel(tmp_path / "tiny-1.0-py3-none-any.whl", files)
    expected = init_encoder(np.random.default_rng(0), **SIZES)
    for path in (folder, wheel, str(folder)):
        bert = read_bert(path)
        assert (bert.heads, bert.context, bert.vocabulary) == (2, 12, VOCABULARY)
        assert bert.weights.keys() == expected.keys()
        for name, array in bert.weights.items():
            np.testing.assert_array_equal(array, expected[name])
            assert array.dtype == np.float32


def test_older_names_and_other_heads_are_understood(rng, tmp_path):
    """bert-base-uncased has a prefix, gamma and beta, and heads for its pretraining."""
    files = bert_files(rng)
    expected = init_encoder(np.random.default_rng(0), **SIZES)
    renamed = {}
    for name, array in expected.items():
        old = name.replace("LayerNorm.weight", "LayerNorm.gamma")
        renamed[f"bert.{old.replace('LayerNorm.bias', 'LayerNorm.beta')}"] = array
    renamed["bert.pooler.dense.weight"] = np.eye(8, dtype=np.float32)
    renamed["cls.predictions.bias"] = np.zeros(3, np.float32)
    renamed["qa_outputs.bias"] = np.zeros(2, np.float32)
    renamed["bert.embeddings.position_ids"] = np.arange(12)[None]
    files["model.safetensors"] = pack(renamed)
    assert read_bert(write_files(tmp_path / "bert", files)).weights.keys() == expected.keys()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"model_type": "roberta"}, "config.json has model_type = 'roberta', not 'bert'"),
        ({"hidden_act": "gelu_new"}, "hidden_act = 'gelu_new', not 'gelu' or 'gelu_python'"),
        ({"position_embedding_type": "relative_key"}, "= 'relative_key', not 'absolute'"),
        ({"layer_norm_eps": 1e-5}, "config.json has layer_norm_eps = 1e-05, not 1e-12"),
        ({"num_hidden_layers": 3}, "missing ['encoder.layer.2.attention"),
        ({"num_attention_heads": 3}, "heads must divide the width 8, got 3"),
        ({"intermediate_size": 15}, "(16, 8), config.json says (15, 8)"),
        ({"vocab_size": 18}, "(17, 8), config.json says (18, 8)"),
        ({"hidden_size": None}, "config.json: hidden_size must be an integer from 1 up, got None"),
        ({"is_decoder": True}, "config.json has is_decoder"),
        ({"type_vocab_size": 3}, "the shape (2, 8), config.json says (3, 8)"),
        ({"num_hidden_layers": 10**9}, "num_hidden_layers must be an integer from 1 to 37, got"),
    ],
    ids=repr,
)
def test_what_is_no_such_bert_is_refused(changes, message, rng, tmp_path):
    folder = write_files(tmp_path / "bert", bert_files(rng, **changes))
    with pytest.raises(ValueError) as refused:
        read_bert(folder)
    assert str(refused.value).startswith(f"{folder} is not a BERT that can be read here: ")
    assert message in str(refused.value)


@pytest.mark.parametrize("name", ["config.json", "vocab.txt", "model.safetensors"])
@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe", b"[]", b"version https://git-lfs"])
def test_a_missing_or_broken_file_is_refused(name, content, rng, tmp_path):
    files = bert_files(rng)
    if content is None:
        del files[name]
    else:
        files[name] = content
    with pytest.raises(ValueError, match=r"is not a BERT that can be read here: "):
        read_bert(write_files(tmp_path / "bert", files))
    with pytest.raises(ValueError, match=r"is not a BERT that can be read here: "):
        read_bert(write_wheel(tmp_path / "tiny.whl", files))


def test_older_configurations_without_the_usual_entries_are_read(rng, tmp_path):
    files = bert_files(rng)
    config = json.loads(files["config.json"])
    for entry in ("model_type", "hidden_act", "layer_norm_eps"):
        del config[entry]
    files["config.json"] = json.dumps(config).encode()
    assert read_bert(write_files(tmp_path / "bert", files)).heads == 2


def test_a_vocabulary_may_have_the_line_ends_of_windows(rng, tmp_path):
    files = bert_files(rng)
    files["vocab.txt"] = files["vocab.txt"].replace(b"\n", b"\r\n") + b"\r\n"
    for path in (write_files(tmp_path / "bert", files), write_wheel(tmp_path / "a.whl", files)):
        assert read_bert(path).vocabulary == VOCABULARY


def test_a_configuration_that_is_no_object_is_refused(rng, tmp_path):
    files = {**bert_files(rng), "config.json": b"[]"}
    with pytest.raises(ValueError, match=r"config.json must be an object, got \[\]"):
        read_bert(write_files(tmp_path / "bert", files))


def test_a_vocabulary_without_the_special_pieces_is_refused(rng, tmp_path):
    files = bert_files(rng)
    files["vocab.txt"] = files["vocab.txt"].replace(b"[CLS]", b"begin")
    with pytest.raises(ValueError, match=r"vocab.txt has no \['\[CLS\]'\]"):
        read_bert(write_files(tmp_path / "bert", files))


def test_a_vocabulary_with_a_piece_twice_is_refused(rng, tmp_path):
    files = bert_files(rng)
    files["vocab.txt"] = "\n".join([*PIECES[:-1], "a"]).encode()
    with pytest.raises(ValueError, match=r"vocab.txt has 16 different lines, config.json says 17"):
        read_bert(write_files(tmp_path / "bert", files))


@pytest.mark.parametrize("piece", ["Film", "##M", "fát"])
def test_a_vocabulary_of_another_kind_is_refused(piece, rng, tmp_path):
    files = bert_files(rng)
    files["vocab.txt"] = "\n".join([*PIECES[:-1], piece]).encode()
    with pytest.raises(ValueError, match=rf"vocab.txt must be of an uncased model, .*{piece}"):
        read_bert(write_files(tmp_path / "bert", files))


def test_there_may_be_one_segment(rng, tmp_path):
    files = bert_files(rng, type_vocab_size=1)
    weights = init_encoder(rng, **SIZES)
    weights["embeddings.token_type_embeddings.weight"] = np.ones((1, 8), np.float32)
    files["model.safetensors"] = pack(weights)
    bert = read_bert(write_files(tmp_path / "bert", files))
    assert bert.weights["embeddings.token_type_embeddings.weight"].shape == (1, 8)


def test_weights_that_are_not_finite_are_refused(rng, tmp_path):
    files = bert_files(rng)
    weights = init_encoder(rng, **SIZES)
    weights["embeddings.LayerNorm.bias"][2] = np.nan
    files["model.safetensors"] = pack(weights)
    with pytest.raises(ValueError, match=r"embeddings.LayerNorm.bias must be finite"):
        read_bert(write_files(tmp_path / "bert", files))


# ---- Ratings


def test_ratings_are_read_from_the_archive_in_the_archive(tmp_path):
    package = write_ratings(tmp_path, "7\t-1.25\tbad…\r\n8_2\t3\ta\u2028b\x85c", FILMS)
    rated = read_ratings(locate(package, tmp_path))
    assert isinstance(rated, Rated)
    assert rated.ids == ["7", "8_2"]
    assert rated.texts == ["bad…", "a\u2028b\x85c"]
    np.testing.assert_array_equal(rated.ratings, [-1.25, 3])
    with pytest.raises(ValueError, match=r"has no corpus 'tweets_GroundTruth.txt': "):
        read_ratings(tmp_path / package.file, TWEETS)


@pytest.mark.parametrize("text", ["", "1\t2", "1\tx\tbad", "1\t2\tbad\tworse", "\r\n"])
def test_a_corpus_in_another_form_is_refused(text, tmp_path):
    package = write_ratings(tmp_path, text, FILMS)
    with pytest.raises(ValueError, match=r"ratings.tar.gz has no corpus 'movieReview"):
        read_ratings(tmp_path / package.file)


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    package = write_ratings(tmp_path, film_lines(), FILMS)
    content = (tmp_path / package.file).read_bytes()
    for broken in (b"", b"text", content[:100], content[: len(content) // 2]):
        (tmp_path / "broken").write_bytes(broken)
        with pytest.raises(ValueError, match=r"has no corpus"):
            read_ratings(tmp_path / "broken")
    with pytest.raises(ValueError, match=r"has no corpus"):
        read_ratings(tmp_path / "none")


def test_the_split_is_by_sentiment_and_depends_on_each_sentence_alone(tmp_path):
    package = write_ratings(tmp_path, film_lines(400), FILMS)
    rated = read_ratings(tmp_path / package.file)
    split = split_by_sentiment(rated.texts, rated.ratings)
    assert isinstance(split, Split)
    kept = {text for text, rating in zip(rated.texts, rated.ratings) if abs(rating) >= 0.5}
    assert sorted(text for part in split for text in part.texts) == sorted(kept)
    for part in split:
        assert part.labels.dtype.kind == "i"
        for text, label in zip(part.texts, part.labels):
            assert label == ("good" in text)
    train, validation, test = (len(part.texts) for part in split)
    assert 0.5 < train / len(kept) < 0.7
    assert 0.05 < validation / len(kept) < 0.15
    assert 0.2 < test / len(kept) < 0.4
    fewer = split_by_sentiment(rated.texts[::-3], rated.ratings[::-3])
    for part, smaller in zip(split, fewer):
        assert set(smaller.texts) <= set(part.texts)


def test_the_first_sentences_of_a_part_are_a_sample_of_it(tmp_path):
    """The corpus itself has the good films first."""
    package = write_ratings(tmp_path, film_lines(2000), FILMS)
    rated = read_ratings(tmp_path / package.file)
    for part in split_by_sentiment(rated.texts, rated.ratings):
        labels = part.labels[:60]
        assert 0.3 < labels.mean() < 0.7


def test_equal_sentences_are_in_one_part():
    split = split_by_sentiment(["same"] * 50 + ["other"] * 50, np.linspace(1, 2, 100))
    found = [text for part in split for text in set(part.texts)]
    assert sorted(found) == ["other", "same"]


@pytest.mark.parametrize("least", [0, -1, "1", np.nan])
def test_a_split_takes_a_positive_least_rating(least):
    with pytest.raises(ValueError, match=r"^least must be a positive number"):
        split_by_sentiment(["a"], [1.0], least)


def test_a_split_takes_one_rating_a_text():
    with pytest.raises(ValueError, match=r"^ratings must be 2, one a text, got \(1,\)"):
        split_by_sentiment(["a", "b"], [1.0])


@needs_real
@pytest.mark.parametrize(
    "corpus, count", [(FILMS, 10_605), (PRODUCTS, 3708), (TWEETS, 4200), (EDITORIALS, 5190)]
)
def test_there_are_four_corpora(corpus, count):
    assert [len(part) for part in read_ratings(REAL / RATINGS.file, corpus)] == [count] * 3


@needs_real
def test_the_real_films_are_as_described():
    rated = read_ratings(REAL / RATINGS.file)
    assert len(rated.texts) == 10_605
    assert rated.ratings.min() >= -4 and rated.ratings.max() <= 4
    split = split_by_sentiment(rated.texts, rated.ratings)
    assert [len(part.texts) for part in split] == [6027, 1001, 3044]
    for part in split:
        assert 0.48 < part.labels.mean() < 0.52
