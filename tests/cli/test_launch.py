"""Which of several processes a command's exit code and message come from; tests/distributed starts real ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from unregress.cli.exit_codes import PEER_FAILED
from unregress.cli.launch import _outcome, require_room
from unregress.errors import SettingError


@pytest.mark.parametrize(
    ("codes", "code", "shown"),
    [
        ([0, 0], 0, ""),
        ([2, 2], 2, ""),  # rank 0 writes to the terminal itself
        ([PEER_FAILED, 1], 1, "In process 1 of 2:\nwords of 1\n"),
        ([PEER_FAILED, PEER_FAILED], PEER_FAILED, ""),
        ([-15, 3], 3, "In process 1 of 2:\nwords of 1\n"),
        ([143, -9], 137, "In process 1 of 2:\nwords of 1\nerror: process 1 was ended by signal 9\n"),
        ([-15, -15], 143, "error: process 0 was ended by signal 15\n"),
    ],
)
def test_the_first_cause_decides_the_exit_code(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], codes: list[int], code: int, shown: str
) -> None:
    logs = [tmp_path / str(rank) for rank in range(2)]
    for rank, file in enumerate(logs):
        file.write_text(f"words of {rank}\n")
    assert _outcome(codes, logs) == code
    assert capsys.readouterr().err == shown


def test_no_more_processes_than_the_machine_can_run() -> None:
    require_room(8)
    with pytest.raises(SettingError) as refused:
        require_room(100_000)
    assert refused.value.found == "100000 devices are asked for, one process each"
