"""Times on a GPU: medians with a cold L2 cache, and the bandwidth of a copy in the same run."""

import torch

FLUSH_BYTES = 256 * 1024 * 1024  # more than the L2 cache of any GPU so far
COPY_BYTES = 2 * 1024**3


def median_ms(call, rounds=30):
    """Return the median time of `call` in milliseconds, each with a cold L2 cache."""
    flush = torch.empty(FLUSH_BYTES, dtype=torch.uint8, device="cuda")
    for _ in range(3):
        call()
    times = []
    for _ in range(rounds):
        flush.zero_()
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        call()
        end.record()
        torch.cuda.synchronize()
        times.append(start.elapsed_time(end))
    return sorted(times)[rounds // 2]


def copy_gb_per_s():
    """Return what a device-to-device copy reads and writes in GB/s."""
    source = torch.empty(COPY_BYTES, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    return 2 * COPY_BYTES / median_ms(lambda: target.copy_(source), rounds=9) / 1e6


def show(what, num_bytes, milliseconds, limit):
    """Print one line: time, GB/s, share of the limit (GB/s)."""
    rate = num_bytes / milliseconds / 1e6
    print(f"\n{what}: {milliseconds * 1e3:.0f} us, {rate:.0f} GB/s, {rate / limit:.0%} of a copy's")
