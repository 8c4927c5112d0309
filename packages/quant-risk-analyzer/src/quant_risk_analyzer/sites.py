"""Where a model multiplies by a weight: linear modules, transposed ones, and the parts of fused ones.

A site is what one grade belongs to. GPT-2 stores (in, out) and q, k, v in one matrix; others fuse q, k, v or
gate and up by rows, or keep all experts of a block in one tensor of three axes. Whatever the storage, a site
shows (out, in): the same layer gets the same grade.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from checkpoint_lens.shapes import Cut, expert_is_transposed, parts_of
from mfi_command import BadInput
from quant_risk_analyzer.roles import role_of

if TYPE_CHECKING:
    import torch
    from torch import nn


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
    parameter, expert
        The module's parameter that holds it, and its place there where that is a stack (experts, ., .).
    """

    name: str
    modules: tuple[nn.Module, ...]
    rows: Any
    transposed: bool
    role: str
    parameter: str = "weight"
    expert: int | None = None

    @property
    def module_name(self) -> str:
        """Path of the module as it is stored."""
        whole = self.rows == slice(None) if isinstance(self.rows, slice) else False
        return self.name if whole else self.name.rpartition(".")[0]

    @property
    def weight(self) -> torch.Tensor:
        """The weight (out, in), detached; a view where the rows are a slice."""
        return self.of(self._stored())

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
        if self.expert is not None:
            with self._changed(value):
                yield
            return
        parameter: Any = self.modules[0].weight
        full = parameter.data
        changed = self._by_rows(self._stored()).clone()
        changed[self.rows] = value.to(changed)
        changed = changed.T if self.transposed else changed
        try:
            for module in self.modules:
                module.weight.data = changed
            yield
        finally:
            for module in self.modules:
                module.weight.data = full

    @contextmanager
    def _changed(self, value: torch.Tensor) -> Iterator[None]:
        # In place: a copy of a stack for each of its experts would be as many models in memory.
        view = self.of(self._stored())
        full = view.clone()
        try:
            view.copy_(value)
            yield
        finally:
            view.copy_(full)

    def of(self, values: torch.Tensor) -> torch.Tensor:
        """This site's part (out, in) of values that are laid out as its parameter is."""
        return self._by_rows(values)[self.rows]

    def _stored(self) -> torch.Tensor:
        parameter: torch.Tensor = getattr(self.modules[0], self.parameter)
        return parameter.detach()

    def _by_rows(self, values: torch.Tensor) -> torch.Tensor:
        found = values if self.expert is None else values[self.expert]
        return found.T if self.transposed else found


def site_of(name: str, module: nn.Module) -> Site:
    """A module that is one site of its own."""
    return Site(name, (module,), slice(None), _is_conv1d(module), role_of(name))


def linear_sites(model: Any) -> dict[str, Site]:
    """Every weight of the model that a quantizer would change, in the order of the model, by name.

    Tied weights are one site; embeddings and a head tied to them are none.
    """
    configuration = _configuration(model)
    holders: dict[tuple[int, Any], list[tuple[str, nn.Module]]] = {}
    for name, module in _with_conv1d(model, dict(model.linear_layers())).items():
        weight: Any = module.weight
        holders.setdefault((weight.data_ptr(), tuple(weight.shape)), []).append((name, module))
    found = [site for shared in holders.values() for site in _shared_sites(shared, configuration)]
    found += _stacked_sites(model, configuration)
    place = {module: at for at, (_, module) in enumerate(_named_modules(model))}
    return {site.name: site for site in sorted(found, key=lambda site: place.get(site.modules[0], 0))}


def _shared_sites(shared: list[tuple[str, nn.Module]], config: Mapping[str, Any]) -> Iterator[Site]:
    """The sites of one matrix, which several modules may hold."""
    name, first = shared[0]
    weight: Any = first.weight
    transposed = _is_conv1d(first)
    out = int(weight.shape[1 if transposed else 0])
    for role, cut in parts_of(name.rpartition(".")[2], out, config):
        label = name if role is None else f"{name}.{role}"
        modules = tuple(module for _, module in shared)
        yield Site(label, modules, _rows(cut, out), transposed, role_of(label))


def _stacked_sites(model: Any, config: Mapping[str, Any]) -> Iterator[Site]:
    """The experts of stacks (experts, ., .), named as `checkpoint_lens.weight_matrices` names them."""
    for path, module in _named_modules(model):
        for last, stack in module.named_parameters(recurse=False):
            if stack.ndim != 3 or "expert" not in path:
                continue
            shape = tuple(stack.shape)
            known = getattr(module, "is_transposed", None)  # transformers' own word for it
            transposed = expert_is_transposed(last, shape, config) if known is None else bool(known)
            out = shape[2 if transposed else 1]
            parts = parts_of(last, out, config)
            for expert in range(shape[0]):
                for role, cut in parts:
                    label = f"{path}.{expert}.{last}" + (f".{role}" if role else "")
                    yield Site(label, (module,), _rows(cut, out), transposed, role_of(label), last, expert)


def unrated(model: Any) -> dict[str, int]:
    """Weights of two and more axes that are no site, no embedding and no tied head: elements by name."""
    if not hasattr(model, "named_modules"):
        return {}
    known = {
        id(getattr(module, site.parameter))
        for site in linear_sites(model).values()
        for module in site.modules
    }
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
    return {
        names.get(id(module), path): module
        for path, module in _named_modules(model)
        if id(module) in names or _is_conv1d(module)
    }


def _named_modules(model: Any) -> list[tuple[str, nn.Module]]:
    """Modules with the paths that they have inside the wrapper."""
    if not hasattr(model, "named_modules"):
        return []
    root = getattr(model, "_root", "")
    return [(path.removeprefix(root), module) for path, module in model.named_modules()]


def _is_conv1d(module: Any) -> bool:
    return type(module).__name__ == "Conv1D" and hasattr(module, "nf")


def _configuration(model: Any) -> dict[str, Any]:
    config = getattr(model, "config", None)
    if config is None:
        return {}
    return dict(config) if isinstance(config, Mapping) else dict(config.to_dict())


def _rows(cut: Cut | None, out: int) -> Any:
    """The rows of a cut as an index: a slice where they are evenly spaced."""
    if cut is None:
        return slice(None)
    if cut.heads is None:
        return slice(cut.start, cut.stop, None if cut.step == 1 else cut.step)
    import torch

    return torch.arange(out).reshape(cut.heads, 3, -1)[:, cut.start].reshape(-1)


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
