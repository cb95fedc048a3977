"""Every SGLang internal we rely on still looks as it did in the pinned release."""

import dataclasses

import pytest

from sglang_kimi.seams import SEAMS, Seam, SeamError, resolve


@pytest.mark.parametrize("name", sorted(SEAMS))
def test_sglang_still_has_the_seam(name):
    resolve(SEAMS[name])


def test_a_target_that_is_gone_names_itself_and_our_module():
    gone = Seam("sglang.srt.plugins.no_such_thing", (), "sglang_kimi/x.py", "why")
    with pytest.raises(SeamError, match=r"SGLang changed .*no_such_thing.*see sglang_kimi/x\.py"):
        resolve(gone)


def test_a_target_with_other_parameters_names_both_lists():
    seam = dataclasses.replace(SEAMS["mlp"], parameters=("self", "no_such_parameter"))
    with pytest.raises(SeamError, match=r"no_such_parameter.*see sglang_kimi/models"):
        resolve(seam)
