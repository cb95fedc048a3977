"""The tokenizer under the transformers that SGLang pins, and under xgrammar."""

import copy
import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from sglang_kimi import tokenizer as kimi_tokenizer
from sglang_kimi.codec.vocabulary import VocabularyError
from sglang_kimi.tokenizer import TikTokenTokenizer


@pytest.fixture(scope="module", autouse=True)
def registered() -> None:
    kimi_tokenizer.register()
    kimi_tokenizer.register()  # every process of a server does it; twice must do no harm


@pytest.fixture(scope="module")
def real(shared: Path) -> TikTokenTokenizer:
    loaded = AutoTokenizer.from_pretrained(shared / "kimi" / "tokenizer")
    assert isinstance(loaded, TikTokenTokenizer)
    return loaded


@pytest.fixture(scope="module")
def mini(mini_checkpoint: Path) -> TikTokenTokenizer:
    loaded = AutoTokenizer.from_pretrained(mini_checkpoint)
    assert isinstance(loaded, TikTokenTokenizer)
    return loaded


def golden_prompts(shared: Path) -> list[dict[str, Any]]:
    lines = (shared / "kimi" / "golden_prompts.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_every_way_to_encode_gives_the_golden_ids(real: TikTokenTokenizer, shared: Path) -> None:
    for golden in golden_prompts(shared):
        ids, text = golden["prompt_ids"], golden["prompt_text"]
        assert real.encode(text) == ids, golden["name"]
        assert real.encode(text, add_special_tokens=False) == ids
        assert real(text)["input_ids"] == ids
        assert real.convert_tokens_to_ids(real.tokenize(text)) == ids
        assert real.encode(text, truncation=True, max_length=5) == ids[:5]


def test_every_way_to_decode_gives_the_golden_text(real: TikTokenTokenizer, shared: Path) -> None:
    for golden in golden_prompts(shared):
        ids, text = golden["prompt_ids"], golden["prompt_text"]
        assert real.decode(ids) == text, golden["name"]
        assert real.batch_decode([ids, ids[:1]]) == [text, real.decode(ids[0])]
        assert real.convert_tokens_to_string(real.convert_ids_to_tokens(ids)) == text


def test_remote_code_is_not_taken_even_where_it_is_trusted(shared: Path) -> None:
    loaded = AutoTokenizer.from_pretrained(shared / "kimi" / "tokenizer", trust_remote_code=True)
    assert type(loaded) is TikTokenTokenizer


def test_sizes_and_special_ids(real: TikTokenTokenizer, mini: TikTokenTokenizer) -> None:
    assert (real.vocab_size, len(real), len(real.get_vocab())) == (163840,) * 3
    assert sorted(real.get_vocab().values()) == list(range(163840))
    assert (real.bos_token_id, real.eos_token_id) == (163584, 163585)
    assert (real.pad_token_id, real.unk_token_id) == (163839, 163838)
    assert (mini.vocab_size, len(mini), mini.eos_token) == (4096, 4096, "[EOS]")


def test_skipping_special_tokens_leaves_thinking_and_tool_markers(mini: TikTokenTokenizer) -> None:
    text = (
        "<|im_user|><think>a</think><|tool_calls_section_begin|>b<|tool_call_end|><|im_end|>[EOS]"
    )
    kept = "<think>a</think><|tool_calls_section_begin|>b<|tool_call_end|>"
    ids = mini.encode(text)
    assert mini.decode(ids) == text
    assert mini.decode(ids, skip_special_tokens=True) == kept
    assert mini.decode(ids, skip_special_tokens=True, spaces_between_special_tokens=False) == kept


def test_decoding_cleans_nothing_up_and_marks_half_characters(mini: TikTokenTokenizer) -> None:
    text = "a , b . don 't \n\n"
    assert mini.decode(mini.encode(text), clean_up_tokenization_spaces=True) == text
    ids = mini.encode("🤖")
    assert mini.decode(ids[:-1]).endswith("\ufffd")
    assert mini.decode([]) == ""


def test_splitting_special_tokens_leaves_them_text(mini: TikTokenTokenizer) -> None:
    ids = mini("<|im_end|>", split_special_tokens=True)["input_ids"]
    assert all(token_id < mini.vocabulary.num_ranks for token_id in ids)
    assert mini.decode(ids) == "<|im_end|>"


def test_batches_are_padded(mini: TikTokenTokenizer) -> None:
    batch = mini(["a", "a b"], padding=True)
    assert batch["attention_mask"] == [[1, 0], [1, 1]]
    assert batch["input_ids"][0][1] == mini.pad_token_id


def test_a_token_that_the_vocabulary_lacks_cannot_be_added(mini: TikTokenTokenizer) -> None:
    with pytest.raises(ValueError, match="token '<new>': cannot be added, Kimi's vocabulary is"):
        mini.add_tokens(["<new>"])
    assert mini.add_tokens(["<think>"]) == 0
    assert len(mini) == 4096


def test_the_chat_template_beside_it_is_loaded(
    mini: TikTokenTokenizer, mini_checkpoint: Path
) -> None:
    assert mini.chat_template == (mini_checkpoint / "chat_template.jinja").read_text()
    ids = mini.apply_chat_template([{"role": "user", "content": "u"}], tokenize=True)["input_ids"]
    assert mini.decode(ids).startswith("<|im_user|>user<|im_middle|>u<|im_end|>")


def test_saving_and_loading_changes_nothing(mini: TikTokenTokenizer, tmp_path: Path) -> None:
    mini.save_pretrained(tmp_path)
    again = TikTokenTokenizer.from_pretrained(tmp_path)
    assert again.get_vocab() == mini.get_vocab()
    assert again.chat_template == mini.chat_template
    assert again.all_special_ids == mini.all_special_ids
    assert again.save_pretrained(tmp_path)  # onto itself


def test_it_goes_to_other_processes_and_is_copied(mini: TikTokenTokenizer) -> None:
    for other in (pickle.loads(pickle.dumps(mini)), copy.deepcopy(mini)):
        assert other.encode("a<think>b") == mini.encode("a<think>b")
        assert other.vocabulary is mini.vocabulary


def test_a_broken_rank_table_stops_the_load_with_its_line(
    mini_checkpoint: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "broken"
    shutil.copytree(mini_checkpoint, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    ranks = folder / "tiktoken.model"
    ranks.write_text(ranks.read_text().replace("\n", "\nbroken\n", 1))
    with pytest.raises(VocabularyError, match="line 2: want 'base64 rank'"):
        AutoTokenizer.from_pretrained(folder)


@pytest.mark.parametrize("name", ["real", "mini"])
def test_xgrammar_reads_the_raw_bytes_of_every_id(
    name: str, request: pytest.FixtureRequest
) -> None:
    xgrammar = pytest.importorskip("xgrammar")
    loaded: TikTokenTokenizer = request.getfixturevalue(name)
    vocabulary = loaded.vocabulary
    stops = [vocabulary.eos_id, vocabulary.control_id("<|im_end|>")]
    info = xgrammar.TokenizerInfo.from_huggingface(
        loaded, vocab_size=vocabulary.size, stop_token_ids=stops
    )
    assert info.vocab_size == vocabulary.size
    assert info.stop_token_ids == stops
    assert not info.add_prefix_space
    expected = [vocabulary.token_bytes(token_id) for token_id in range(vocabulary.size)]
    assert info.decoded_vocab == expected
