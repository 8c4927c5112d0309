"""Traces as they come: dates and seconds, line ends, order, and files that are none."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from mfi_command import BadInput
from mm1_planner import read_trace


def write(tmp_path: Path, text: str, name: str = "log.csv") -> Path:
    path = tmp_path / name
    path.write_bytes(text.encode())
    return path


def test_dates_with_seven_digits_crlf_and_no_last_newline(tmp_path: Path) -> None:
    text = "TIMESTAMP,Tokens\r\n2023-11-16 18:15:46.6805900,44\r\n2023-11-16 18:15:50.9951690,109"
    trace = read_trace(write(tmp_path, text))
    np.testing.assert_allclose(trace.arrivals_s, [0, 4.314579], rtol=1e-12)
    np.testing.assert_array_equal(trace.column("Tokens"), [44, 109])
    assert trace.rate_per_s == pytest.approx(1 / 4.314579)


def test_a_tenth_of_a_microsecond_survives(tmp_path: Path) -> None:
    text = "time\n2023-11-16 18:15:46.0000001\n2023-11-16T18:15:46.0000003Z\n"
    assert read_trace(write(tmp_path, text)).duration_s == pytest.approx(2e-7, rel=1e-9)


def test_rows_out_of_order_are_sorted_with_their_columns(tmp_path: Path) -> None:
    trace = read_trace(write(tmp_path, "n,timestamp\n1,5.5\n2,1.5\n3,1.5\n4,9\n\n"))
    np.testing.assert_array_equal(trace.arrivals_s, [0, 0, 4, 7.5])
    np.testing.assert_array_equal(trace.gaps_s, [0, 0, 4, 3.5])
    np.testing.assert_array_equal(trace.column("n"), [2, 3, 1, 4])
    assert not trace.was_sorted
    assert trace.requests == 4


def test_gzip_a_mark_and_a_named_column(tmp_path: Path) -> None:
    path = tmp_path / "log.csv.gz"
    path.write_bytes(gzip.compress("\ufeffwhen,x\n1,2\n3,4\n".encode()))
    np.testing.assert_array_equal(read_trace(path, time_column="when").arrivals_s, [0, 2])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("time\n", "0 requests"),
        ("time\n1\n", "1 requests"),
        ("time\n2\n2\n2\n", "one moment"),
        ("a,b\n1,2\n3,4\n", "--time-column"),
        ("time,x\n1,2\n3\n", "line 3"),
        ("time\n1\nnan\n", "'nan'"),
        ("time\n1\n1e999\n", "1e999"),
        ("time\n1\nsoon\n", "'soon'"),
        ("time\nsoon\nlater\n", "neither"),
        ("time,time\n1,2\n2,3\n", "twice"),
        ("time\n\x00\n", "CSV|finite|neither|requests"),
    ],
)
def test_files_that_are_no_trace(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(BadInput, match=reason) as caught:
        read_trace(write(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(b"\xff\xfe\x00\x80" * 9)
    with pytest.raises(BadInput, match="not a CSV file"):
        read_trace(path)
    with pytest.raises(BadInput, match="not a CSV file"):
        read_trace(write(tmp_path, "time\n1\n2\n", "fake.csv.gz"))


def test_a_wrong_column_lists_the_right_ones(tmp_path: Path) -> None:
    path = write(tmp_path, "time,Tokens,who\n1,5,me\n2,6,you\n")
    with pytest.raises(BadInput, match=r"'Tokns'.*Tokens, who"):
        read_trace(path).column("Tokns")
    with pytest.raises(BadInput, match=r"'me' in row 1"):
        read_trace(path).column("who")
    with pytest.raises(BadInput, match=r"'when'.*time, Tokens, who"):
        read_trace(path, time_column="when")


def test_a_missing_file_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no-such"):
        read_trace(tmp_path / "no-such.csv")


def test_json_lines_with_milliseconds_of_mooncake(tmp_path: Path) -> None:
    lines = [
        '{"timestamp": 1500, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1]}',
        '{"timestamp": 0, "input_length": 12, "output_length": 3, "hash_ids": [7]}',
        "",
    ]
    trace = read_trace(write(tmp_path, "\n".join(lines), "trace.jsonl"))
    np.testing.assert_array_equal(trace.arrivals_s, [0, 1.5])
    prompts, outputs = trace.lengths()
    assert (prompts.tolist(), outputs.tolist()) == ([12, 6758], [3, 500])


@pytest.mark.parametrize(
    "header",
    [
        "TIMESTAMP,ContextTokens,GeneratedTokens",
        "Timestamp,Request tokens,Response tokens",
        "time,prompt_tokens,output_tokens",
    ],
)
def test_lengths_by_the_names_that_traces_use(tmp_path: Path, header: str) -> None:
    trace = read_trace(write(tmp_path, f"{header}\n0,100,5\n2,30,0\n"))
    prompts, outputs = trace.lengths()
    # Nothing generated still takes an iteration.
    assert (prompts.tolist(), outputs.tolist()) == ([100, 30], [5, 1])


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("time,x\n0,1\n1,2\n", "no column of contexttokens"),
        ("time,prompt_tokens,output_tokens\n0,0,1\n1,2,3\n", "prompt_tokens"),
        ("time,prompt_tokens,output_tokens\n0,5,-1\n1,2,3\n", "output_tokens"),
        ("time,prompt_tokens,output_tokens\n0,5.5,1\n1,2,3\n", "prompt_tokens"),
        ("time,prompt_tokens,output_tokens\n0,5,many\n1,2,3\n", "many"),
    ],
)
def test_lengths_that_are_none(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        read_trace(write(tmp_path, text)).lengths()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        ("[1, 2]\n", "line 1"),
        ('{"time": 1}\n{"time": \n', "line 2"),
        ('{"time": 1, "x": 2}\n{"time": 2}\n', "lacks 'x'"),
        ('{"time": 1}\n{"time": null}\n', "null"),
    ],
)
def test_json_lines_that_are_none(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        read_trace(write(tmp_path, text, "trace.jsonl"))


def test_token_columns_named_by_the_user_come_before_those_recognised(tmp_path: Path) -> None:
    path = write(tmp_path, "time,ContextTokens,GeneratedTokens,cached,real\n0,100,5,7,1\n2,30,0,9,2\n")
    trace = read_trace(path, prompt_column="cached", output_column="real")
    assert [lengths.tolist() for lengths in trace.lengths()] == [[7, 9], [1, 2]]
    assert trace.column("ContextTokens").tolist() == [100, 30]
    with pytest.raises(BadInput, match=r"'cachd'.*ContextTokens"):
        read_trace(path, prompt_column="cachd")


def test_gzip_without_its_ending_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_bytes(gzip.compress(b"time\n1\n3\n"))
    np.testing.assert_array_equal(read_trace(path).arrivals_s, [0, 2])
