"""What the gate file may say, and what is answered where it says something else."""

import pytest

from latency_predictor.gate import read_gate
from mfi_command import BadInput


def test_values_and_defaults(write_gate):
    path = write_gate('[[model]]\nmodel = "opt-30b"\ndevice = "H100"\nmax_ms = 10\nmax_decode_ms = 2.5\n')
    (entry,) = read_gate(path)
    assert (entry.name, entry.model, entry.device) == ("opt-30b", "opt-30b", "H100")
    assert (entry.batch, entry.prompt, entry.output) == (1, 512, 128)
    assert entry.budgets == {"max_ms": 10.0, "max_decode_ms": 2.5}


def test_path_is_taken_from_the_folder_of_the_file(write_gate, entry, monkeypatch, tmp_path_factory):
    path = write_gate(entry("max_ms = 1"))
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert read_gate(path)[0].model == str(path.parent / "config.json")


BROKEN = {
    "": "names no model",
    "[[model": "not TOML",
    "model = 3": "names no model",
    'gate = 1\n[[model]]\nmodel="m"\ndevice="d"\nmax_ms=1': "unknown key 'gate'",
    '[[model]]\nmodel="m"\ndevice="d"': "no budget",
    '[[model]]\nmodel="m"\nmax_ms=1': "device is missing",
    '[[model]]\ndevice="d"\nmax_ms=1': "model is missing",
    '[[model]]\nmodel="m"\ndevice="d"\nmax_ms=nan': "max_ms must be a positive number",
    '[[model]]\nmodel="m"\ndevice="d"\nmax_ms=inf': "max_ms must be a positive number",
    '[[model]]\nmodel="m"\ndevice="d"\nmax_ms=0': "max_ms must be a positive number",
    '[[model]]\nmodel="m"\ndevice="d"\nmax_ms=true': "max_ms must be a positive number",
    '[[model]]\nmodel="m"\ndevice="d"\nmax_ms=1\nbatch=0': "batch must be a whole number",
    '[[model]]\nmodel="m"\ndevice="d"\nmax_ms=1\nbatch=1.5': "batch must be a whole number",
    '[[model]]\nmodel="m"\ndevice="d"\nmax_ms=1\nbatch=true': "batch must be a whole number",
    '[[model]]\nmodel="m"\ndevice="d"\nmax_mss=1': "unknown key 'max_mss'",
    '[[model]]\nmodel="no/config.json"\ndevice="d"\nmax_ms=1': "there is no",
    '[[model]]\nmodel="m"\ndevice=""\nmax_ms=1': "device must be a text",
    '[[model]]\nmodel="m"\ndevice="d"\nmax_ms=1\n' * 2: "two models are called",
}


@pytest.mark.parametrize(("text", "message"), BROKEN.items())
def test_what_cannot_be_used_is_refused(write_gate, text, message):
    with pytest.raises(BadInput, match=message) as refused:
        read_gate(write_gate(text))
    assert "\n" not in str(refused.value)


def test_missing_file(tmp_path):
    with pytest.raises(BadInput, match="no gate file"):
        read_gate(tmp_path / "gate.toml")


def test_bytes_that_are_no_text(tmp_path):
    (tmp_path / "gate.toml").write_bytes(b"\xff\xfe[[model]]")
    with pytest.raises(BadInput, match="not TOML"):
        read_gate(tmp_path / "gate.toml")
