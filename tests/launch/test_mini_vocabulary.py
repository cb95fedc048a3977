"""The shipped vocabulary suits the protocol, and its trainer merges as byte-pair encoding does."""

from collections import Counter
from pathlib import Path

import pytest

from sglang_kimi.codec.vocabulary import Vocabulary
from sglang_kimi.launch.mini import writer
from sglang_kimi.launch.mini.train_vocabulary import count_pieces, rank_table, train
from sglang_kimi.launch.mini.writer import write_mini_checkpoint


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mini") / "checkpoint"
    write_mini_checkpoint(folder)
    return folder


def test_words_of_the_protocol_are_single_tokens(mini: Path) -> None:
    vocabulary = Vocabulary.load(mini)
    for word in ("system", "user", "assistant", "tool", "functions"):
        assert len(vocabulary.encode_text(word)) == 1, word
    assert len(vocabulary.encode_text("tool_declare")) == 2  # the format splits before `_`


def test_code_and_english_take_few_tokens_and_any_text_comes_back(mini: Path) -> None:
    vocabulary = Vocabulary.load(mini)
    source = Path(writer.__file__).read_text()
    assert len(source) / len(vocabulary.encode_text(source)) > 2.2
    for text in (source, "日本語 и кириллица \U0001f600\r\n\t", "\x00\x7f"):
        assert vocabulary.decode(vocabulary.encode_text(text)) == text


def test_training_merges_the_most_frequent_neighbours_first_and_never_across_pieces() -> None:
    counts = count_pieces(["low low low lower newest"], "")
    tokens = train(counts, 261)
    assert tokens[:256] == [bytes([value]) for value in range(256)]
    # " l" stands 3 times, "lo" 4 and "ow" 4; ties go to the smaller bytes.
    assert tokens[256:258] == [b"lo", b"low"]
    assert not any(b"w " in token for token in tokens)


def test_too_small_a_corpus_is_refused() -> None:
    with pytest.raises(ValueError, match="corpus: want pairs for 300 ranks, got 257"):
        train(Counter({b"ab": 5}), 300)


def test_the_rank_table_is_what_the_vocabulary_reads(mini: Path, tmp_path: Path) -> None:
    vocabulary = Vocabulary.load(mini)
    tokens = [vocabulary.token_bytes(token_id) for token_id in range(vocabulary.num_ranks)]
    assert rank_table(tokens) == (mini / "tiktoken.model").read_bytes()
