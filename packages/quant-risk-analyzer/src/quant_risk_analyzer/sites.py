"""Where a model multiplies by a weight: linear modules, transposed ones, and the parts of fused ones.

A site is what one grade belongs to. GPT-2 stores (in, out) and q, k, v in one matrix; others fuse q, k, v or
gate and up by rows. Whatever the storage, a site shows (out, in): the same layer gets the same grade.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from mfi_command import BadInput
from quant_risk_analyzer.roles import role_of

if TYPE_CHECKING:
    import torch
    from torch import nn

FUSED_QKV = ("c_attn", "qkv_proj", "Wqkv", "query_key_value", "qkv")
BY_HEAD = ("query_key_value",)  # rows go head by head: q, k, v of the first, then of the second


@dataclass(frozen=True)
class Site:
    """One weight (out, in) of a model.

    Attributes
    ----------
    name
        Path of the module; a part of a fused module adds its role: "h.0.attn.c_attn.q".
    modules
        All modules that hold this tensor: more than one where weights are tied.
    rows
        Of the module's outputs, which are this site's: a slice, or int64 numbers.
    transposed
        The module stores (in, out).
    role
        q, k, v, o, gate, up, down, lm_head, or the last part of the name.
    """

    name: str
    modules: tuple[nn.Module, ...]
    rows: Any
    transposed: bool
    role: str

    @property
    def module_name(self) -> str:
        """Path of the module as it is stored."""
        whole = self.rows == slice(None) if isinstance(self.rows, slice) else False
        return self.name if whole else self.name.rpartition(".")[0]

    @property
    def weight(self) -> torch.Tensor:
        """The weight (out, in), detached; a view where the rows are a slice."""
        return self._whole()[self.rows]

    @property
    def shape(self) -> tuple[int, int]:
        """(out, in)."""
        out, into = self.weight.shape
        return int(out), int(into)

    def part(self, output: torch.Tensor) -> torch.Tensor:
        """This site's part of the module's output, (..., out)."""
        return output[..., self.rows]

    @contextmanager
    def holding(self, value: torch.Tensor) -> Iterator[None]:
        """Inside, the model computes with `value` (out, in) in place of the weight."""
        parameter: Any = self.modules[0].weight
        full = parameter.data
        changed = self._whole().clone()
        changed[self.rows] = value.to(changed)
        changed = changed.T if self.transposed else changed
        try:
            for module in self.modules:
                module.weight.data = changed
            yield
        finally:
            for module in self.modules:
                module.weight.data = full

    def _whole(self) -> torch.Tensor:
        weight: Any = self.modules[0].weight
        found: torch.Tensor = weight.detach()
        return found.T if self.transposed else found


def site_of(name: str, module: nn.Module) -> Site:
    """A module that is one site of its own."""
    return Site(name, (module,), slice(None), _is_conv1d(module), role_of(name))


def linear_sites(model: Any) -> dict[str, Site]:
    """Every weight of the model that a quantizer would change, in the order of the model, by name.

    Tied weights are one site; embeddings and a head tied to them are none.
    """
    named = dict(model.linear_layers())
    modules = _with_conv1d(model, named)
    configuration = _configuration(model)
    holders: dict[tuple[int, Any], list[tuple[str, nn.Module]]] = {}
    for name, module in modules.items():
        weight: Any = module.weight
        holders.setdefault((weight.data_ptr(), tuple(weight.shape)), []).append((name, module))
    found: dict[str, Site] = {}
    for shared in holders.values():
        name, first = shared[0]
        transposed = _is_conv1d(first)
        for role, rows in _parts(name, first, transposed, configuration):
            whole = role is None
            label = name if whole else f"{name}.{role}"
            found[label] = Site(
                label, tuple(module for _, module in shared), rows, transposed, role_of(label)
            )
    return found


def unrated(model: Any) -> dict[str, int]:
    """Weights of two and more axes that are no site, no embedding and no tied head: elements by name.

    Experts in one tensor of three axes are among them: no module runs for one expert alone.
    """
    if not hasattr(model, "named_modules"):
        return {}
    known = {id(module.weight) for site in linear_sites(model).values() for module in site.modules}
    root = getattr(model, "_root", "")
    tables = {
        id(module.weight)
        for module in model.modules()
        if "Embedding" in type(module).__name__ and getattr(module, "weight", None) is not None
    }
    return {
        name.removeprefix(root): parameter.numel()
        for name, parameter in model.named_parameters()
        if parameter.ndim > 1 and id(parameter) not in known | tables
    }


def _with_conv1d(model: Any, named: Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """The linear layers and transformers' Conv1D modules, which are no `nn.Linear`, in the model's order."""
    if not hasattr(model, "named_modules"):
        return dict(named)
    names = {id(module): name for name, module in named.items()}
    root = getattr(model, "_root", "")
    return {
        names.get(id(module), path.removeprefix(root)): module
        for path, module in model.named_modules()
        if id(module) in names or _is_conv1d(module)
    }


def _is_conv1d(module: Any) -> bool:
    return type(module).__name__ == "Conv1D" and hasattr(module, "nf")


def _configuration(model: Any) -> dict[str, Any]:
    config = getattr(model, "config", None)
    if config is None:
        return {}
    return dict(config) if isinstance(config, Mapping) else dict(config.to_dict())


def _parts(
    name: str, module: Any, transposed: bool, config: Mapping[str, Any]
) -> list[tuple[str | None, Any]]:
    """Roles and rows of a fused module; [(None, all)] where it is not one, or where its rows are unknown."""
    weight = module.weight
    out, last = int(weight.shape[1 if transposed else 0]), name.rpartition(".")[2]
    if last == "gate_up_proj" and out % 2 == 0:
        return [("gate", slice(0, out // 2)), ("up", slice(out // 2, out))]
    if last not in FUSED_QKV:
        return [(None, slice(None))]
    heads = config.get("num_attention_heads") or config.get("n_head") or config.get("n_heads")
    if last in BY_HEAD:
        return _parts_by_head(out, heads, config)
    sizes = _qkv_sizes(out, heads, config.get("num_key_value_heads") or heads)
    if sizes is None:
        return [(None, slice(None))]
    query, key = sizes
    return [("q", slice(0, query)), ("k", slice(query, query + key)), ("v", slice(query + key, out))]


def _qkv_sizes(out: int, heads: Any, kv_heads: Any) -> tuple[int, int] | None:
    if not heads:
        return (out // 3, out // 3) if out % 3 == 0 else None
    width, rest = divmod(out, heads + 2 * kv_heads)
    return None if rest else (heads * width, kv_heads * width)


def _parts_by_head(out: int, heads: Any, config: Mapping[str, Any]) -> list[tuple[str | None, Any]]:
    import torch

    # Falcon groups several queries with one key and one value: its rows are not cut here.
    grouped = (
        config.get("num_kv_heads") or config.get("multi_query") or config.get("new_decoder_architecture")
    )
    if grouped or not heads or out % (3 * heads):
        return [(None, slice(None))]
    rows = torch.arange(out).reshape(heads, 3, -1)
    return [(role, rows[:, at].reshape(-1)) for at, role in enumerate("qkv")]


def chosen_sites(model: Any, pattern: str | Collection[str] | None = None) -> dict[str, Site]:
    """Sites whose name matches the glob, or those named; BadInput when there is none of them."""
    sites = linear_sites(model)
    if not isinstance(pattern, str | None):
        missing = [name for name in pattern if name not in sites]
        if missing or not pattern:
            raise BadInput(
                f"no linear layer {missing[0]!r} in this model" if missing else "no layer is named"
            )
        return {name: sites[name] for name in pattern}
    found = {name: site for name, site in sites.items() if pattern is None or fnmatchcase(name, pattern)}
    if not found:
        known = f"; the first of {len(sites)} is {next(iter(sites))}" if sites else "; the model has none"
        raise BadInput(f"no linear layer matches {pattern or '*'!r}{known}")
    return found
