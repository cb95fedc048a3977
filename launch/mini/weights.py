"""Random weights, tensor by tensor, from the seed and the tensor's name alone.

Every value is a table look-up by raw bits of a PCG64 stream. NumPy promises those bits for ever
(its samplers it does not), and no sum is taken in any order, so the same seed gives the same bytes
whatever the order, the number of threads or the library's version.

Matrices keep the size of what they are given (deviation 1 / sqrt(inputs)), so that attention, the
router and the experts all have a say in the logits, which spread by about LOGIT_DEVIATION.
"""

import hashlib
import math
from collections.abc import Mapping
from functools import lru_cache
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from sglang_kimi.checkpoint import GROUP_SIZE, NIBBLES_PER_WORD, TensorSpec

LOGIT_DEVIATION: Final = 3.0
NORM_DEVIATION: Final = 0.1
BIAS_DEVIATION: Final = 0.05
CODE_DEVIATION: Final = 2.8  # of q = -8..7: the widest normal whose tails both ends still hold
SCALE_SPREAD: Final = 0.5  # scales vary by up to half of their middle


def random_tensor(name: str, tensors: Mapping[str, TensorSpec], seed: int) -> bytes:
    """Return the stored bytes of one tensor of a checkpoint's table, little-endian."""
    spec = tensors[name]
    if name.endswith(".weight_shape"):
        packed = tensors[name.removesuffix("shape") + "packed"]
        num_rows, num_words = packed.shape
        return np.array([num_rows, num_words * NIBBLES_PER_WORD], dtype="<i4").tobytes()
    if spec.dtype == "I32":
        return _random_codes(name, spec.num_elements, seed)
    if name.endswith(".weight_scale"):
        return _random_scales(name, spec, seed)
    mean, deviation = _mean_and_deviation(name, spec)
    bits = _random_bits(name, spec.num_elements, seed)
    if spec.dtype == "F32":
        values = mean + deviation * normal_quantiles(16)[bits]
        return values.astype("<f4").tobytes()
    return _normal_bf16(mean, deviation)[bits].tobytes()


def _mean_and_deviation(name: str, spec: TensorSpec) -> tuple[float, float]:
    """Return the distribution of a 16-bit or 32-bit tensor by what it is."""
    if name.endswith("bias"):
        return 0.0, BIAS_DEVIATION
    if len(spec.shape) == 1:
        return 1.0, NORM_DEVIATION
    if name.endswith(("embed_tokens.weight", "pos_emb.weight")):
        return 0.0, 1.0
    spread = LOGIT_DEVIATION if name.endswith("lm_head.weight") else 1.0
    return 0.0, spread / math.sqrt(math.prod(spec.shape[1:]))


def _random_codes(name: str, num_words: int, seed: int) -> bytes:
    """Return packed words whose 4-bit codes are normal around 8."""
    bits = _random_bits(name, num_words * NIBBLES_PER_WORD // 2, seed)
    return _code_pairs()[bits].tobytes()


def _random_scales(name: str, spec: TensorSpec, seed: int) -> bytes:
    num_inputs = spec.shape[-1] * GROUP_SIZE
    middle = 1.0 / (CODE_DEVIATION * math.sqrt(num_inputs))
    levels = np.linspace(-SCALE_SPREAD, SCALE_SPREAD, 1 << 16)
    table = to_bf16((middle * (1.0 + levels)).astype(np.float32))
    return table[_random_bits(name, spec.num_elements, seed)].tobytes()


def _random_bits(name: str, num_values: int, seed: int) -> NDArray[np.uint16]:
    """Return so many 16-bit numbers from the stream that belongs to this name."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    stream = np.random.PCG64(int.from_bytes(digest, "big"))
    words = stream.random_raw(-(-num_values // 4)).astype("<u8", copy=False)
    return words.view("<u2")[:num_values]


@lru_cache(maxsize=2)
def normal_quantiles(num_bits: int) -> NDArray[np.float64]:
    """Return the 2^num_bits equally likely values that stand for a normal distribution."""
    normal = NormalDist()
    count = 1 << num_bits
    return np.array([normal.inv_cdf((i + 0.5) / count) for i in range(count)])


@lru_cache(maxsize=64)
def _normal_bf16(mean: float, deviation: float) -> NDArray[np.uint16]:
    return to_bf16((mean + deviation * normal_quantiles(16)).astype(np.float32))


@lru_cache(maxsize=1)
def _code_pairs() -> NDArray[np.uint8]:
    """Return the byte of two codes for 16 random bits, eight for each code."""
    q = np.clip(np.rint(CODE_DEVIATION * normal_quantiles(8)), -8, 7)
    codes = (q + 8).astype(np.uint8)
    bits = np.arange(1 << 16)
    pairs: NDArray[np.uint8] = codes[bits & 0xFF] | codes[bits >> 8] << 4
    return pairs


def to_bf16(values: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Round finite float32 values to bf16 bits, half to even."""
    bits = values.astype("<f4").view("<u4")
    rounded: NDArray[np.uint16] = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype("<u2")
    return rounded
