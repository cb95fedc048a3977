"""However the model is split over ranks, it chooses the tokens that one rank chooses."""

import json

import pytest

from sglang_kimi.checkpoint import text_tensors

from .model_ranks import greedy_on_ranks

PROMPTS = [
    [(seed * 991 + i * (7 + seed)) % 3800 for i in range(9 + 20 * seed)] for seed in range(4)
]
NUM_TOKENS = 8
NUM_LAYERS, NUM_EXPERTS = 4, 16  # of the mini checkpoint
ALL_TO_ALL = ("--moe-a2a-backend", "customized")


@pytest.fixture(scope="module")
def ranks(mini_checkpoint):
    """Run the mini model on some ranks, each with the prompts of these numbers."""

    def run(prompt_numbers, *flags, **changes):
        model = ["--model-path", str(mini_checkpoint), "--device", "cpu", "--dtype", "float32"]
        prompts = [[PROMPTS[number] for number in numbers] for numbers in prompt_numbers]
        flags = [*model, "--max-total-tokens", "2048", *flags]
        return greedy_on_ranks(len(prompts), flags, prompts, NUM_TOKENS, **changes)

    return run


@pytest.fixture(scope="module")
def one_rank(ranks):
    """What one rank chooses for every prompt, and the bytes of experts it holds."""
    [answer] = ranks([[0, 1, 2, 3]], watched=True)
    return answer


def sizes(tp_size, ep_size=1, dp_size=1):
    flags = ["--tp-size", str(tp_size), "--ep-size", str(ep_size)]
    return flags + (["--enable-dp-attention", "--dp-size", str(dp_size)] if dp_size > 1 else [])


def check(answers, one_rank, prompt_numbers):
    for answer, numbers in zip(answers, prompt_numbers, strict=True):
        assert not answer["in_one_call"]  # ranks exchange tokens between a layer's parts
        assert answer["tokens"] == [one_rank["tokens"][number] for number in numbers]


def test_tensor_and_expert_parallel_ranks_choose_as_one_does_and_share_the_experts(ranks, one_rank):
    everything = [[0, 1, 2, 3]] * 4
    answers = ranks(everything, *sizes(tp_size=4, ep_size=2))
    check(answers, one_rank, everything)
    assert [4 * answer["expert_bytes"] for answer in answers] == [one_rank["expert_bytes"]] * 4


def test_layers_in_one_call_give_the_bits_that_watched_layers_give(one_rank):
    assert one_rank["in_one_call"]
    assert not one_rank["watched_in_one_call"]
    assert one_rank["seen"] == NUM_TOKENS
    assert one_rank["watched_tokens"] == one_rank["tokens"]
    assert one_rank["watched_logits"] == one_rank["logits"]


def test_one_rank_holds_the_experts_of_the_checkpoint(one_rank, mini_checkpoint):
    config = json.loads((mini_checkpoint / "config.json").read_text())
    experts = [
        spec.num_bytes
        for name, spec in text_tensors(config["text_config"]).items()
        if ".mlp.experts." in name and not name.endswith("weight_shape")
    ]
    assert one_rank["expert_bytes"] == sum(experts)


@pytest.mark.parametrize("dispatcher", [(), ALL_TO_ALL], ids=["all-reduce", "all-to-all"])
def test_a_rank_without_requests_takes_part_in_those_of_the_other(ranks, one_rank, dispatcher):
    split = [[], [0, 3]]
    check(ranks(split, *sizes(2, 2, 2), *dispatcher), one_rank, split)


def test_pairs_of_ranks_share_attention_and_send_tokens_to_all_experts(ranks, one_rank):
    split = [[0], [0], [1, 2], [1, 2]]
    check(ranks(split, *sizes(4, 4, 2), *ALL_TO_ALL), one_rank, split)


def test_a_given_placement_with_redundant_experts_changes_no_token(ranks, one_rank):
    slots = [*reversed(range(NUM_EXPERTS)), 3, 3, 0, 1]
    place = json.dumps({"physical_to_logical_map": [slots] * NUM_LAYERS})
    flags = ("--init-expert-location", place, "--ep-num-redundant-experts", "4")
    everything = [[0, 1, 2, 3]] * 2
    answers = ranks(everything, *sizes(2, 2), *flags)
    check(answers, one_rank, everything)
    held = sum(answer["expert_bytes"] for answer in answers)
    assert held * NUM_EXPERTS == one_rank["expert_bytes"] * len(slots)


def test_experts_that_sglang_moves_between_ranks_change_no_token(ranks, one_rank):
    split = [[0, 3], [1]]
    move_to = [*range(NUM_EXPERTS)][::-1]
    answers = ranks(split, *sizes(2, 2, 2), *ALL_TO_ALL, "--enable-eplb", move_to=move_to)
    check(answers, one_rank, split)
    assert [answer["moved_tokens"] for answer in answers] == [a["tokens"] for a in answers]
