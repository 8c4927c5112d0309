"""What a torch function computes and moves, seen operator by operator while it runs: on meta tensors, which
have shapes and no values, so neither weights nor a device are needed.

An operator on its own reads its inputs and writes its results: summed, that is what an unfused run moves. A
module on its own reads what it did not make itself and writes what others use: what a fused kernel of it
would move at the least.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from mfi_command import BadInput, require
from roofline.aten import GATHERS, NOT_LAUNCHED, SCATTERS, base_name, kind_of, product_flop, vector_flop
from roofline.operators import Operator


@dataclass
class _Step:
    """One operator as it ran: tensors are named by their storage, sizes in bytes."""

    name: str
    call: int
    module: str
    flop: int
    product_flop: int
    kind: str
    bytes: int
    reads: dict[int, int]
    writes: dict[int, int]
    weights: int
    shapes: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Traced:
    """Every operator of one run.

    Attributes
    ----------
    operators
        Equal ones merged, `count` saying how often they ran; of a layer's number only a `*` is left in the
        name.
    modules
        The same, one entry a module's own code: `bytes` is what a kernel of all of it would move at the
        least, `unfused_bytes` what its operators move one by one.
    product_flop
        FLOP of matrix products, convolutions and attention: what `torch.utils.flop_counter` counts.
    assumed
        How often the code asked for a value, which meta tensors do not have; it was taken as true.
    """

    operators: tuple[Operator, ...]
    modules: tuple[Operator, ...]
    product_flop: int
    assumed: int

    @property
    def flop(self) -> int:
        """FLOP of all operators."""
        return sum(operator.flop for operator in self.operators)

    @property
    def unfused_bytes(self) -> int:
        """Bytes of all operators, each on its own."""
        return sum(operator.bytes for operator in self.operators)

    @property
    def fused_bytes(self) -> int:
        """Bytes where each module's own code is one kernel."""
        return sum(operator.bytes for operator in self.modules)


def trace(function: Callable[..., Any], *arguments: Any, **options: Any) -> Traced:
    """Run `function(*arguments, **options)` once and count.

    Parameters
    ----------
    function
        A torch module or any function of tensors. Give meta tensors (`torch.empty(..., device="meta")`,
        modules built under `torch.device("meta")`) to count without computing.

    Returns
    -------
    Traced

    Raises
    ------
    BadInput
        torch is missing, or the code cannot run on meta tensors: a shape in it depends on values.

    Notes
    -----
    FLOP of products from their definition; element-wise operators by the convention of `roofline.operators`.
    Bytes: a broadcast input counts what it holds, a gather what it picks, a view nothing. An expert's
    weights in a grouped product count as far as randomly spread rows are expected to meet them. Grouping by
    module follows `torch.nn.Module` calls. Cost: the run itself, some 20 microseconds an operator on meta
    tensors.

    Examples
    --------
    >>> import torch
    >>> from roofline import trace
    >>> found = trace(torch.nn.Linear(64, 32, device="meta"), torch.empty(5, 64, device="meta"))
    >>> found.product_flop == 2 * 5 * 64 * 32
    True
    """
    torch = require("torch", extra="torch", distribution="roofline")
    recorder = _Recorder(torch)
    # Modes of Python's dispatch are classes, and torch is not imported until somebody has some.
    base: Any = require(
        "torch.utils._python_dispatch", extra="torch", distribution="roofline"
    ).TorchDispatchMode

    def every_operator(_: Any, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
        return recorder.dispatch(function, arguments, options or {})

    mode = type("Recording", (base,), {"__torch_dispatch__": every_operator})()
    try:
        with (
            recorder.modules(),
            torch.no_grad() if not _wants_gradients(torch, arguments) else _nothing(),
            mode,
        ):
            result = function(*arguments, **options)
    except (RuntimeError, NotImplementedError) as error:
        words = " ".join(str(error).split())[:200]
        raise BadInput(f"{_name(function)} does not run on these tensors: {words}") from error
    recorder.keep(result)
    return recorder.traced()


@contextmanager
def _nothing() -> Iterator[None]:
    yield


def _wants_gradients(torch: Any, arguments: Any) -> bool:
    return any(isinstance(one, torch.Tensor) and one.requires_grad for one in arguments)


def _name(function: Any) -> str:
    return str(getattr(function, "__name__", type(function).__name__))


@dataclass
class _Recorder:
    torch: Any
    steps: list[_Step] = field(default_factory=list)
    assumed: int = 0
    _calls: list[tuple[int, str]] = field(default_factory=list)
    _count: int = 0
    _kept: set[int] = field(default_factory=set)
    _parameters: dict[int, int] = field(default_factory=dict)
    _alive: list[Any] = field(default_factory=list)

    @contextmanager
    def modules(self) -> Iterator[None]:
        """Know at every operator which module's code is running."""
        names: dict[int, str] = {}
        hooks = self.torch.nn.modules.module

        def enter(module: Any, _: Any) -> None:
            if not self._calls:
                names.update({id(child): name for name, child in module.named_modules()})
                self._parameters |= {_storage(one): one.numel() for one in module.parameters()}
            self._count += 1
            label = names.get(id(module), "") or type(module).__name__
            self._calls.append((self._count, re.sub(r"(^|\.)\d+(?=\.|$)", r"\1*", label)))

        def leave(module: Any, _: Any, __: Any) -> None:
            self._calls.pop()

        handles = [
            hooks.register_module_forward_pre_hook(enter),
            hooks.register_module_forward_hook(leave, always_call=True),
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def dispatch(self, function: Any, arguments: Any, options: Any) -> Any:
        """Run one operator and note it; torch calls this for every one."""
        name = base_name(function._schema.name)
        if name == "_local_scalar_dense" and arguments[0].device.type == "meta":
            # Masks are the one thing that models ask for a value: "is every position used?"
            if arguments[0].dtype == self.torch.bool:
                self.assumed += 1
                return True
            raise BadInput("the code needs the value of a number, which tensors on meta do not have")
        result = function(*arguments, **options)
        if name not in NOT_LAUNCHED and not function.is_view:
            self._record(name, arguments, options, result)
        return result

    def _tensors(self, nested: Any) -> list[Any]:
        flat = self.torch.utils._pytree.tree_leaves(nested)
        return [one for one in flat if isinstance(one, self.torch.Tensor)]

    def _record(self, name: str, arguments: Any, options: Any, result: Any) -> None:
        inputs, outputs = self._tensors((arguments, options)), self._tensors(result)
        if not outputs:
            return
        self._alive += [*inputs, *outputs]  # a storage's address names it only as long as it lives
        shapes = [tuple(a.shape) if isinstance(a, self.torch.Tensor) else a for a in arguments]
        first = tuple(outputs[0].shape)
        products = product_flop(name, shapes, first)
        flop = (
            products
            if products is not None
            else vector_flop(name, [_held(t) for t in inputs], _held(outputs[0]))
        )
        reads, writes = _traffic(name, inputs, outputs)
        call, module = self._calls[-1] if self._calls else (0, "")
        self.steps.append(
            _Step(
                name=name,
                call=call,
                module=module,
                flop=flop,
                product_flop=products or 0,
                kind=kind_of(name),
                bytes=sum(size for _, size in reads) + sum(size for _, size in writes),
                reads=_by_storage(reads),
                writes=_by_storage(writes),
                weights=sum(self._parameters.get(storage, 0) for storage in _by_storage(reads)),
                shapes=tuple(tuple(t.shape) for t in inputs),
            )
        )

    def keep(self, result: Any) -> None:
        """The results of the whole run are written, whoever uses them."""
        self._kept = {_storage(one) for one in self._tensors(result)}

    def traced(self) -> Traced:
        """Merge what was recorded."""
        merged: Counter[tuple[Any, ...]] = Counter()
        for step in self.steps:
            label = f"{step.module} {step.name}".strip()
            merged[(label, step.kind, step.flop, step.bytes, step.weights, step.shapes)] += 1
        operators = [
            Operator(label, kind, count, flop * count, moved * count, weights * count, _flat(shapes))
            for (label, kind, flop, moved, weights, shapes), count in merged.items()
        ]
        return Traced(
            operators=tuple(operators),
            modules=tuple(_fused(self.steps, self._kept)),
            product_flop=sum(step.product_flop for step in self.steps),
            assumed=self.assumed,
        )


def _held(tensor: Any) -> int:
    """Elements that a tensor holds: a dimension of stride 0 repeats what is there once."""
    pairs = zip(tensor.shape, tensor.stride(), strict=True)
    return math.prod(size if stride or size == 0 else 1 for size, stride in pairs)


def _traffic(name: str, inputs: list[Any], outputs: list[Any]) -> tuple[list[Any], list[Any]]:
    """(storage, bytes) of what one operator reads and writes."""
    written = [(_storage(t), _held(t) * t.element_size()) for t in outputs]
    read = [(_storage(t), _held(t) * t.element_size()) for t in inputs]
    if name in GATHERS:  # indices, and as much of the table as the result holds
        return [(read[0][0], min(written[0][1], read[0][1])), *read[1:]], written
    if name in SCATTERS:  # the target is written in part: as much as the values are
        values = read[-1][1]
        return read[1:], [(written[0][0], values)]
    if name in ("copy", "fill", "zero", "normal", "uniform", "bernoulli"):  # the target is not read
        return [r for r, t in zip(read, inputs, strict=True) if t is not inputs[0]], written
    if name == "_grouped_mm" and inputs[1].dim() == 3:
        experts, rows = inputs[1].shape[0], inputs[0].shape[0]
        touched = experts * (1 - (1 - 1 / experts) ** rows)
        read[1] = (read[1][0], round(read[1][1] * touched / experts))
    return read, written


def _storage(tensor: Any) -> int:
    return int(tensor.untyped_storage()._cdata)


def _by_storage(pairs: list[tuple[int, int]]) -> dict[int, int]:
    """Of several views of one storage the largest counts: a kernel reads it once."""
    sizes: dict[int, int] = {}
    for storage, size in pairs:
        sizes[storage] = max(size, sizes.get(storage, 0))
    return sizes


def _flat(shapes: tuple[tuple[int, ...], ...]) -> tuple[int, ...]:
    return tuple(size for shape in shapes for size in shape)


def _fused(steps: list[_Step], kept: set[int]) -> Iterator[Operator]:
    """One operator a module's own code: it reads what it did not make, writes what is used elsewhere."""
    users: dict[int, set[int]] = {}
    for step in steps:
        for storage in step.reads:
            users.setdefault(storage, set()).add(step.call)
    groups: dict[int, list[_Step]] = {}
    for step in steps:
        groups.setdefault(step.call, []).append(step)
    merged: Counter[tuple[Any, ...]] = Counter()
    for call, members in groups.items():
        made: set[int] = set()
        reads: dict[int, int] = {}
        writes: dict[int, int] = {}
        for step in members:
            for storage, size in step.reads.items():
                if storage not in made:
                    reads[storage] = max(size, reads.get(storage, 0))
            for storage, size in step.writes.items():
                made.add(storage)
                if storage in kept or users.get(storage, set()) - {call}:
                    writes[storage] = max(size, writes.get(storage, 0))
        kinds = [step.kind for step in members if step.product_flop]
        kind = kinds[0] if kinds else members[-1].kind
        merged[
            (
                members[0].module or "function",
                "attention"
                if len(kinds) > 1 and kind == "matmul" and not sum(s.weights for s in members)
                else kind,
                sum(step.flop for step in members),
                sum(reads.values()) + sum(writes.values()),
                sum(step.bytes for step in members),
                sum(step.weights for step in members),
                len(members),
            )
        ] += 1
    for (label, kind, flop, moved, unfused, weights, size), count in merged.items():
        yield Operator(
            label, kind, count, flop * count, moved * count, weights * count, (size,), unfused * count
        )
