"""The rank table: reading it, its errors, and text to ids and back."""

import copy
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from sglang_kimi.codec.vocabulary import Vocabulary, VocabularyError

from .conftest import Write, ranks_text

BYTES = [bytes([byte]) for byte in range(256)]


def test_ids_after_the_ranks_are_control_tokens_with_reserved_names_in_between(
    small: Vocabulary,
) -> None:
    assert (small.num_ranks, small.size) == (258, 258 + 256)
    assert small.control_text(257) is None
    assert small.control_text(258) == "[BOS]"
    assert small.control_text(258 + 6) == "<|reserved_token_264|>"
    assert small.control_id("<|reserved_token_264|>") == 264
    assert (small.bos_id, small.eos_id, small.pad_id, small.unk_id) == (258, 259, 513, 512)


def test_special_flags_are_those_of_the_configuration(small: Vocabulary) -> None:
    assert small.control_id("<|im_end|>") in small.special_ids
    assert small.control_id("<think>") not in small.special_ids
    assert small.control_id("<|tool_call_end|>") not in small.special_ids


def test_the_release_has_its_published_ids(real: Vocabulary) -> None:
    assert (real.num_ranks, real.size) == (163584, 163840)
    assert (real.bos_id, real.eos_id, real.pad_id, real.unk_id) == (163584, 163585, 163839, 163838)
    assert real.control_id("<|im_end|>") == 163586
    assert real.control_id("</think>") == 163607
    assert real.control_text(163600) == "<|reserved_token_163600|>"


def test_encode_and_decode_agree_with_every_golden_prompt(
    real: Vocabulary, goldens: list[dict[str, Any]]
) -> None:
    for golden in goldens:
        assert real.encode(golden["prompt_text"]) == golden["prompt_ids"], golden["name"]
        assert real.decode(golden["prompt_ids"]) == golden["prompt_text"], golden["name"]


def test_encode_matches_control_texts_and_encode_text_does_not(small: Vocabulary) -> None:
    text = "a<think>b"
    assert small.encode(text) == [97, small.control_id("<think>"), 98]
    assert small.encode_text(text) == list(text.encode())
    assert small.encode("<|reserved_token_264|>") == [264]


@settings(deadline=None)
@given(text=st.text())
@example("<|im_end|>[EOS]<|reserved_token_264|>")
@example("\r\n \u3000漢字 e\u0301 🤖")
def test_text_comes_back_and_never_gives_a_control_token(small: Vocabulary, text: str) -> None:
    ids = small.encode_text(text)
    assert small.decode(ids) == text
    assert all(token_id < small.num_ranks for token_id in ids)


@settings(deadline=None)
@given(text=st.text())
def test_text_comes_back_from_the_release_too(real: Vocabulary, text: str) -> None:
    ids = real.encode_text(text)
    assert real.decode(ids) == text
    assert all(token_id < real.num_ranks for token_id in ids)


def test_a_lone_surrogate_is_the_replacement_character_and_a_pair_is_joined(
    small: Vocabulary,
) -> None:
    assert small.decode(small.encode_text("a\ud800b")) == "a\ufffdb"
    assert small.decode(small.encode("\ud83e\udd16")) == "🤖"


def test_token_bytes_are_raw_and_may_be_part_of_a_character(small: Vocabulary) -> None:
    assert small.token_bytes(0xF0) == b"\xf0"
    assert small.token_bytes(257) == b"abc"
    assert small.token_bytes(258) == b"[BOS]"
    assert small.decode([0xF0]) == "\ufffd"
    assert (small.rank(b"abc"), small.rank(b"zz")) == (257, None)


@pytest.mark.parametrize("token_id", [-1, 514])
def test_an_id_out_of_range_is_named(small: Vocabulary, token_id: int) -> None:
    with pytest.raises(ValueError, match=rf"want 0\.\.513, got {token_id}"):
        small.decode([token_id])


def test_the_same_folder_is_loaded_once_until_it_changes(write_tokenizer: Write) -> None:
    folder = write_tokenizer()
    first = Vocabulary.load(folder)
    assert Vocabulary.load(str(folder)) is first
    (folder / "tiktoken.model").write_text(ranks_text([*BYTES, b"ab", b"abc", b"de"]))
    with pytest.raises(VocabularyError, match="want ids 259"):
        Vocabulary.load(folder)


def test_copies_and_pickles_share_the_loaded_table(small: Vocabulary) -> None:
    assert copy.deepcopy(small) is small
    assert pickle.loads(pickle.dumps(small)) is small


@pytest.mark.parametrize(
    ("ranks", "message"),
    [
        ("YQ== 0\nnonsense\n", r"line 2: want 'base64 rank', got b'nonsense'"),
        ("YQ== 0\n!!! 1\n", r"line 2: want 'base64 rank'"),
        ("YQ== zero\n", r"line 1: want 'base64 rank'"),
        ("YQ== 0\nYg== 2\n", r"line 2: want rank 1, got 2"),
        ("YQ== 0\n", r"want all 256 single bytes, 255 absent, first 0x00"),
        (ranks_text([*BYTES, b"a"]), r"1 tokens stand there twice"),
    ],
)
def test_a_broken_rank_table_is_refused_with_its_line(
    write_tokenizer: Write, ranks: str, message: str
) -> None:
    with pytest.raises(VocabularyError, match=message):
        Vocabulary.load(write_tokenizer(ranks=ranks))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"added_tokens_decoder": None}, "added_tokens_decoder: want an object, got None"),
        ({"added_tokens_decoder": {"7": {"content": "x"}}}, r"want ids 258\.\.513.*got '7'"),
        ({"added_tokens_decoder": {"x": {"content": "x"}}}, "got 'x'"),
        ({"added_tokens_decoder": {"258": "x"}}, r"\[258\]: want an object with a 'content'"),
        (
            {"added_tokens_decoder": {"258": {"content": "x"}, "259": {"content": "x"}}},
            "two ids the same content",
        ),
        ({"eos_token": "<eos>"}, "eos_token: want the content of an entry.*got '<eos>'"),
    ],
)
def test_a_broken_configuration_is_refused_with_its_key(
    write_tokenizer: Write, config: dict[str, Any], message: str
) -> None:
    with pytest.raises(VocabularyError, match=message):
        Vocabulary.load(write_tokenizer(config=config))


@pytest.mark.parametrize("name", ["tiktoken.model", "tokenizer_config.json"])
def test_a_missing_file_is_named_with_what_the_folder_should_hold(
    write_tokenizer: Write, name: str
) -> None:
    folder = write_tokenizer()
    (folder / name).unlink()
    with pytest.raises(VocabularyError, match=rf"{name}: cannot be read .*want a folder with"):
        Vocabulary.load(folder)


def test_configuration_that_is_not_json_is_refused(write_tokenizer: Write) -> None:
    folder = write_tokenizer()
    (folder / "tokenizer_config.json").write_text("{")
    with pytest.raises(VocabularyError, match="not JSON"):
        Vocabulary.load(folder)


def test_the_codec_imports_neither_torch_nor_sglang_nor_transformers() -> None:
    code = "import sys, sglang_kimi.codec.prompt; print(*sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(ran.stdout.split())
    assert "tiktoken" in loaded
    assert not loaded & {"torch", "sglang", "transformers", "xgrammar"}


def test_the_folder_may_be_reached_by_a_link(write_tokenizer: Write, tmp_path: Path) -> None:
    folder = write_tokenizer()
    (tmp_path / "link").symlink_to(folder)
    assert Vocabulary.load(tmp_path / "link") is Vocabulary.load(folder)
