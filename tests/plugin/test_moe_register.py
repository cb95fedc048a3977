"""Our all-to-all is offered under SGLang's own word, and refused where it would go wrong."""

import argparse
from types import SimpleNamespace

import pytest
from sglang.srt.layers.moe.utils import MoeA2ABackend
from sglang.srt.server_args import ServerArgs

from sglang_kimi.moe.register import ALL_TO_ALL, check_all_to_all, offer_all_to_all


@pytest.fixture(scope="module")
def parser():
    parser = argparse.ArgumentParser(exit_on_error=False)
    ServerArgs.add_cli_args(parser)
    return parser


def parse(parser, backend):
    return parser.parse_args(["--model-path", "x", "--moe-a2a-backend", backend]).moe_a2a_backend


def test_the_command_line_takes_the_name_that_the_backends_of_others_have(parser):
    offer_all_to_all(None, parser)
    assert MoeA2ABackend(parse(parser, ALL_TO_ALL)).is_customized()
    assert parse(parser, "deepep") == "deepep"


def test_other_names_are_refused_as_before(parser):
    offer_all_to_all(None, parser)
    with pytest.raises(argparse.ArgumentError, match="no-such"):
        parse(parser, "no-such")


def arguments(**changes):
    return SimpleNamespace(**{"moe_a2a_backend": ALL_TO_ALL, "tp_size": 4, "ep_size": 4} | changes)


def test_whole_experts_on_every_rank_are_accepted():
    check_all_to_all(arguments(), has_graphs=False)


def test_split_experts_are_refused_with_the_size_to_take():
    with pytest.raises(ValueError, match="--ep-size 4 as --tp-size, got 2"):
        check_all_to_all(arguments(ep_size=2), has_graphs=False)


def test_graphs_are_refused():
    with pytest.raises(ValueError, match="--disable-cuda-graph"):
        check_all_to_all(arguments(), has_graphs=True)


def test_other_backends_are_left_alone():
    check_all_to_all(arguments(moe_a2a_backend="none", ep_size=1), has_graphs=True)
