"""Which ledger a server has: in memory, in the operator's file, or in one for its workers alone."""

import atexit
import logging
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from sglang_kimi import environment
from sglang_kimi.codec.disk_ledger import DiskLedger
from sglang_kimi.codec.ledger import Ledger, TurnLedger
from sglang_kimi.codec.ledger_file import LedgerFile, LedgerFileError
from sglang_kimi.codec.prompt_exchange import PromptExchange

logger = logging.getLogger(__name__)


class Kept(NamedTuple):
    """What a process keeps: its ledger, and what it exchanges prompts with a second server by."""

    ledger: Ledger
    exchange: PromptExchange | None


def prepare(server_args: Any) -> None:
    """Settle it for all processes of a server, in the one that starts the others.

    They read the environment, so what the server's arguments ask for is written there. SystemExit,
    which stops the start, if the operator's file cannot be used.
    """
    if environment.ledger_bytes() == 0:
        return
    path = environment.ledger_path()
    if path is not None:
        _check(path)
    elif server_args.disaggregation_mode != "null":
        os.environ[environment.LEDGER_BYTES] = "0"
        logger.warning(
            "Kimi ledger: off. Prefill and decode servers must build the same prompts, and with a "
            "ledger of its own each would not. Give both one file on one host in %s.",
            environment.LEDGER_PATH,
        )
    elif server_args.tokenizer_worker_num > 1:
        os.environ[environment.LEDGER_PATH] = str(_temporary_path())


def open_kept() -> Kept | None:
    """Return what the environment asks for; None where nothing is to be remembered.

    Raises ValueError, which names variable or file, if it cannot be had.
    """
    max_bytes, path = environment.ledger_bytes(), environment.ledger_path()
    if max_bytes == 0:
        return None
    if path is None:
        return Kept(TurnLedger(max_bytes), None)
    file = LedgerFile(path)
    max_age_s = environment.ledger_max_age_s()
    return Kept(DiskLedger(file, max_bytes=max_bytes, max_age_s=max_age_s), PromptExchange(file))


def _check(path: Path) -> None:
    try:
        file = LedgerFile(path)
        file.check()
    except LedgerFileError as error:
        raise SystemExit(f"sglang-kimi: {environment.LEDGER_PATH}: {error}") from error
    file.close()
    logger.info("Kimi ledger: in the file %s", path)


def _temporary_path() -> Path:
    """Return a path in a folder of this server's own, removed at its end."""
    folder = tempfile.mkdtemp(prefix="sglang-kimi-")  # mode 0700
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    logger.info("Kimi ledger: shared by the tokenizer workers until the server ends, in %s", folder)
    return Path(folder) / "ledger.sqlite"
