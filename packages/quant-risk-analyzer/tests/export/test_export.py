"""Recipes as their tools read them: by the tool itself where it is installed, else by the rule it follows."""

import csv
import io
import json
import re

import pytest
from typer.testing import CliRunner

from mfi_command import BadInput
from quant_risk_analyzer.cli import app
from quant_risk_analyzer.export import DIALECTS, export
from quant_risk_analyzer.export.patterns import regexes
from quant_risk_analyzer.export.plan import make_plan, read_plan

ROLES = (
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
)
NAMES = [f"model.layers.{block}.{role}" for block in range(12) for role in ROLES]
KEPT, WIDE = "model.layers.11.self_attn.o_proj", "model.layers.1.mlp.down_proj"


@pytest.fixture
def plan():
    assignment = dict.fromkeys(NAMES, "int4") | {KEPT: None, WIDE: "int8"}
    grades = {name: "C" if name == KEPT else "B" if name == WIDE else "A" for name in NAMES}
    return make_plan(
        assignment,
        granularity=128,
        grades=grades,
        risks=dict.fromkeys(NAMES, 0.5),
        reasons={KEPT: ("a | b",)},
    )


@pytest.fixture
def int8_plan():
    return make_plan(dict.fromkeys(NAMES, "int8") | {KEPT: None})


def test_patterns_match_these_names_and_no_others():
    chosen = [NAMES[0], WIDE, "lm_head", "h.3.attn.c_attn"]
    found = [re.compile(each) for each in regexes(chosen)]
    universe = [
        *NAMES,
        "lm_head",
        "h.3.attn.c_attn",
        "h.31.attn.c_attn",
        "xlm_head",
        "model_layers_1_mlp_down_proj",
    ]
    assert {name for name in universe if any(each.search(name) for each in found)} == set(chosen)


def test_partners_get_one_precision_and_parts_become_their_module():
    found = make_plan(
        {
            "b.0.q_proj": "int4",
            "b.0.k_proj": "int8",
            "b.0.v_proj": "int3",
            "b.0.gate_proj": "int4",
            "b.0.up_proj": None,
            "b.0.down_proj": "int3",
            "h.1.c_attn.q": "int4",
            "h.1.c_attn.k": "int6",
            "m.experts.0.w1": "int4",
            "m.experts.1.w1": "int8",
        }
    ).assignment
    assert found == {
        "b.0.q_proj": "int8",
        "b.0.k_proj": "int8",
        "b.0.v_proj": "int8",
        "b.0.gate_proj": None,
        "b.0.up_proj": None,
        "b.0.down_proj": "int3",
        "h.1.c_attn": "int6",
        "m.experts.0.w1": "int8",
        "m.experts.1.w1": "int8",
    }


def read_yaml(text):
    return pytest.importorskip("yaml", reason="pyyaml is absent").safe_load(text)


def matches(pattern, name):
    return bool(re.match(pattern.removeprefix("re:"), name)) if pattern.startswith("re:") else pattern == name


def check_groups(groups, ignore):
    for name in NAMES:
        hits = [key for key, group in groups.items() if any(matches(each, name) for each in group["targets"])]
        bits = [groups[key]["weights"]["num_bits"] for key in hits]
        assert bits == ([] if name == KEPT else [8] if name == WIDE else [4]), name
        assert any(matches(each, name) for each in ignore) == (name == KEPT)
    assert "lm_head" in ignore


def test_compressed_tensors(plan):
    found = json.loads(export(plan, "compressed-tensors"))
    check_groups(found["config_groups"], found["ignore"])
    assert found["format"] == "mixed-precision"


def test_compressed_tensors_is_read_by_the_library(plan):
    quantization = pytest.importorskip(
        "compressed_tensors.quantization", reason="compressed-tensors is absent"
    )
    for each in (plan, make_plan(dict.fromkeys(NAMES, "nvfp4")), make_plan(dict.fromkeys(NAMES, "fp8"))):
        quantization.QuantizationConfig.model_validate(json.loads(export(each, "compressed-tensors")))


def test_llm_compressor(plan):
    found = read_yaml(export(plan, "llm-compressor"))["quant_stage"]["quant_modifiers"]
    assert list(found) == ["GPTQModifier"]
    check_groups(found["GPTQModifier"]["config_groups"], found["GPTQModifier"]["ignore"])
    floats = read_yaml(export(make_plan(dict.fromkeys(NAMES, "fp8")), "llm-compressor"))
    assert list(floats["quant_stage"]["quant_modifiers"]) == ["QuantizationModifier"]


def test_bitsandbytes_skips_what_transformers_would_skip(int8_plan):
    transformers = pytest.importorskip("transformers")
    from transformers.quantizers.quantizers_utils import should_convert_module

    found = json.loads(export(int8_plan, "bitsandbytes"))
    assert transformers.BitsAndBytesConfig.from_dict(dict(found)).load_in_8bit
    for dialect, key in (("bitsandbytes", "llm_int8_skip_modules"), ("torchao", "modules_to_not_convert")):
        skipped = json.loads(export(int8_plan, dialect))[key]
        assert [name for name in NAMES if not should_convert_module(name, skipped)] == [KEPT]
        assert not should_convert_module("lm_head", skipped)


@pytest.mark.parametrize("format", ["int8", "int4", "fp8"])
def test_torchao_configuration_is_read_by_the_library(format):
    pytest.importorskip("torchao", reason="torchao is absent")
    transformers = pytest.importorskip("transformers")
    found = json.loads(export(make_plan(dict.fromkeys(NAMES, format)), "torchao"))
    assert transformers.TorchAoConfig.from_dict(found).quant_type is not None


def test_gptqmodel_rules(plan):
    found = json.loads(export(plan, "gptqmodel"))

    def bits(name):  # GPTQModel's rule: the first that matches; "-:" leaves the module out
        for rule, change in found["dynamic"].items():
            if re.match(rule[2:], name):
                return None if rule.startswith("-:") else change["bits"]
        return found["bits"]

    assert all(bits(name) == (None if name == KEPT else 8 if name == WIDE else 4) for name in NAMES)


def test_auto_round(plan):
    found = json.loads(export(plan, "auto-round"))
    assert (found["bits"], found["group_size"]) == (4, 128)
    assert {name: each["bits"] for name, each in found["layer_config"].items()} == {KEPT: 16, WIDE: 8}


def modelopt_entries(text):
    found = read_yaml(text)
    assert found["metadata"]["recipe_type"] == "ptq"
    return found["quantize"]["quant_cfg"]


def test_modelopt(plan):
    first, *entries = modelopt_entries(export(plan, "modelopt"))
    assert first == {"quantizer_name": "*", "enable": False}
    bits = {
        each["quantizer_name"].removesuffix(".weight_quantizer"): each["cfg"]["num_bits"] for each in entries
    }
    assert bits == {name: 8 if name == WIDE else 4 for name in NAMES if name != KEPT}
    assert entries[0]["cfg"]["block_sizes"] == {-1: 128}


def test_modelopt_recipe_is_read_by_the_library(plan, tmp_path):
    loader = pytest.importorskip("modelopt.recipe.loader", reason="nvidia-modelopt is absent")
    for number, each in enumerate((plan, make_plan(dict.fromkeys(NAMES, "nvfp4")))):
        path = tmp_path / f"{number}.yaml"
        path.write_text(export(each, "modelopt"))
        assert len(loader.load_recipe(path).quantize.quant_cfg) > len(NAMES) - 2


def test_llama_cpp_types(plan):
    lines = export(plan, "gguf").splitlines()
    rules = [line.removeprefix("--tensor-type ").rsplit("=", 1) for line in lines]
    # llama-quantize cuts at the first "=", and lowers the expression but not the names.
    assert all(line.count("=") == 1 and line == line.lower() and len(line.split()) == 2 for line in lines)
    tensors = {f"blk.{block}.ffn_down.weight" for block in range(12)} | {"blk.11.attn_output.weight"}
    found = {name: [kind for rule, kind in rules if re.search(rule, name)] for name in tensors}
    assert found.pop("blk.1.ffn_down.weight") == ["q8_0"]
    assert found.pop("blk.11.attn_output.weight") == ["f16"]
    assert all(each == ["q4_k"] for each in found.values())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("model.decoder.layers.3.fc1", None),
        ("transformer.h.2.attn.c_attn", "blk.2.attn_qkv.weight"),
        ("bert.encoder.layer.1.attention.self.query", "blk.1.attn_q.weight"),
    ],
)
def test_gguf_names_of_other_architectures(name, expected):
    plan = make_plan({name: "int4"})
    if expected is None:
        with pytest.raises(BadInput, match="GGUF has no name"):
            export(plan, "gguf")
    else:
        assert re.escape(expected) in export(plan, "gguf")


def test_sarif(plan):
    (run,) = json.loads(export(plan, "sarif"))["runs"]
    rules = {each["id"] for each in run["tool"]["driver"]["rules"]}
    found = {
        each["locations"][0]["logicalLocations"][0]["fullyQualifiedName"]: each for each in run["results"]
    }
    assert set(found) == {KEPT, WIDE}
    assert found[KEPT]["level"] == "error"
    assert all(each["ruleId"] in rules and each["message"]["text"] for each in run["results"])
    prints = {each["partialFingerprints"]["primaryLocationLineHash"] for each in run["results"]}
    assert len(prints) == len(run["results"])  # GitHub shows two results of one print as one
    places = [each["locations"][0]["physicalLocation"] for each in run["results"]]
    assert all(each["artifactLocation"]["uri"] and each["region"]["startLine"] == 1 for each in places)
    texts = ("shortDescription", "fullDescription", "help")
    assert all(rule[text]["text"] for rule in run["tool"]["driver"]["rules"] for text in texts)


def test_sarif_of_a_path_with_spaces_is_a_uri():
    found = json.loads(export(make_plan({"a": "int4"}, model="my model#1", grades={"a": "C"}), "sarif"))
    place = found["runs"][0]["results"][0]["locations"][0]["physicalLocation"]
    assert place["artifactLocation"]["uri"] == "my%20model%231"


def test_tables(plan):
    rows = list(csv.DictReader(io.StringIO(export(plan, "csv"))))
    assert {row["module"]: row["format"] for row in rows} == {
        name: format or "full precision" for name, format in plan.assignment.items()
    }
    assert len(export(plan, "markdown").splitlines()) == len(NAMES) + 2
    assert "a \\| b" in export(plan, "markdown")
    assert len(json.loads(export(plan, "json"))["modules"]) == len(NAMES)


@pytest.mark.parametrize(
    ("format", "dialect", "says"),
    [
        ("nf4", "compressed-tensors", "has no format nf4"),
        ("int5", "gptqmodel", "not int5"),
        ("fp8_e5m2", "auto-round", "no format fp8_e5m2"),
        ("q4_k", "modelopt", "no format q4_k"),
        ("fp8", "gguf", "no type for fp8_e4m3"),
        ("int3", "bitsandbytes", "one format for all modules"),
        ("fp4", "bitsandbytes", "int8, nf4"),
        ("int4", "llm-compresor", "did you mean llm-compressor"),
    ],
)
def test_what_a_tool_does_not_have_is_refused(format, dialect, says):
    with pytest.raises(BadInput, match=says):
        export(make_plan({NAMES[0]: format}), dialect)


def rated(tmp_path, **changes):
    formats = {
        "int4": {"rating": "C", "risk": 1.0, "reasons": ["r"]},
        "int8": {"rating": "A", "risk": 0.0},
    }
    found = {"layers": [{"name": NAMES[0], "formats": formats}], "inputs": {"model": "m"}}
    path = tmp_path / "risk.json"
    path.write_text(json.dumps(found | changes))
    return path


def test_plan_of_a_rating_and_of_an_allocation(tmp_path):
    path = rated(tmp_path)
    assert read_plan(path, format="int4").assignment == {NAMES[0]: None}
    assert read_plan(path, format="int8").assignment == {NAMES[0]: "int8"}
    allocated = rated(tmp_path, assignment={NAMES[0]: "int6"}, inputs={"granularity": "32"})
    assert (read_plan(allocated).assignment, read_plan(allocated).group_size) == ({NAMES[0]: "int6"}, 32)


@pytest.mark.parametrize("dialect", sorted(DIALECTS))
def test_command_prints_and_writes_every_dialect(tmp_path, dialect):
    path, target = rated(tmp_path), tmp_path / "recipe"
    written = CliRunner().invoke(
        app, ["export", str(path), "--to", dialect, "--format", "int8", "--file", str(target)]
    )
    assert written.exit_code == 0, written.stderr
    printed = CliRunner().invoke(app, ["export", str(path), "--to", dialect, "--format", "int8", "--json"])
    assert json.loads(printed.stdout)["text"] == target.read_text()


@pytest.mark.parametrize(
    ("content", "options", "says"),
    [
        ("not json", [], "is not JSON"),
        ("[]", [], "no answer of `rate`"),
        ('{"layers": []}', [], "no formats"),
        (None, [], "say which with --format"),
        (None, ["--format", "int2"], "does not rate int2"),
    ],
)
def test_bad_sources_are_one_line_and_nothing_is_written(tmp_path, content, options, says):
    path = rated(tmp_path)
    if content is not None:
        path.write_text(content)
    target = tmp_path / "recipe"
    result = CliRunner().invoke(app, ["export", str(path), "--to", "json", "--file", str(target), *options])
    assert result.exit_code == 2
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert not target.exists()
