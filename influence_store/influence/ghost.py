"""What is each sample's own gradient, if a whole batch goes through one backward pass?

A linear layer that read a_t and whose output has the loss gradient b_t has the weight gradient
Σ_t b_t a_tᵀ, of squared length Σ_{t,t'} (a_t·a_t')(b_t·b_t'): exact, and never formed where the
right side is the cheaper one (Goodfellow, arXiv 1510.01799; over tokens: arXiv 2110.05679 §4).
Samples do not see each other, so one backward pass of the summed losses holds every sample's b_t,
and b_t = 0 where there is only padding.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from influence_store.extras import require

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from influence_store.protocols import Doubles


@dataclass
class LinearTraces:
    """What the linear `layers` read and put out during one forward pass over B samples.

    `norms` and `gradients` may be asked once per pass, and only if it is `separable`.
    """

    layers: tuple[Any, ...]
    calls: list[tuple[Any, Any, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, module: Any, trainable: Mapping[str, Any]) -> LinearTraces | None:
        """The layers that hold the trainable parameters; None if one is not of a linear layer."""
        linear = require("torch", extra="train").nn.Linear
        wanted = {id(p) for p in trainable.values()}
        holders = [m for m in module.modules() if _own(m) & wanted]
        exact = all(isinstance(m, linear) and _own(m) <= wanted for m in holders)
        return cls(tuple(holders)) if exact else None

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Keep inputs and outputs of the forward pass inside."""
        self.calls.clear()
        handles = [layer.register_forward_hook(self._keep) for layer in self.layers]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def separable(self, n: int) -> bool:
        """Whether all layers read one row per sample (experts, for one, do not)."""
        return all(a.shape[0] == n and a.dim() in (2, 3) for _, a, _ in self.calls)

    def norms(self, losses: Any) -> Doubles:
        """L2 norm of the gradient of each of the `losses` (B,) of the recorded pass."""
        torch = require("torch", extra="train")
        squares = torch.zeros(len(losses), dtype=torch.float64, device=losses.device)
        for layer, a, b in self._slopes(losses):
            squares += _square(a, b)
            if layer.bias is not None:
                squares += b.sum(dim=1).double().square().sum(dim=1)
        norms: Doubles = squares.sqrt().cpu().numpy()
        return norms

    def gradients(self, losses: Any) -> dict[int, Any]:
        """Per id of a parameter the gradients (B, *its shape) of each of the `losses` (B,)."""
        found = {}
        for layer, a, b in self._slopes(losses):
            found[id(layer.weight)] = b.mT @ a
            if layer.bias is not None:
                found[id(layer.bias)] = b.sum(dim=1)
        return found

    def _keep(self, layer: Any, inputs: tuple[Any, ...], out: Any) -> None:
        self.calls.append((layer, inputs[0].detach(), out))

    def _slopes(self, losses: Any) -> Iterator[tuple[Any, Any, Any]]:
        """Per layer all it read, (B, T, in), and the slopes of what it put out, (B, T, out)."""
        torch = require("torch", extra="train")
        calls = list(self.calls)
        self.calls.clear()
        slopes = torch.autograd.grad(losses.sum(), [out for _, _, out in calls])
        for layer in self.layers:
            # A layer may be called more than once; its gradient is the sum over all calls.
            pairs = [
                (_by_token(a), _by_token(b))
                for (called, a, _), b in zip(calls, slopes, strict=True)
                if called is layer
            ]
            a, b = (torch.cat(side, dim=1) for side in zip(*pairs, strict=True))
            yield layer, a, b


def _own(module: Any) -> set[int]:
    return {id(p) for p in module.parameters(recurse=False)}


def _by_token(rows: Any) -> Any:
    """(B, d) or (B, T, d) as (B, T, d)."""
    return rows if rows.dim() == 3 else rows[:, None]


def _square(a: Any, b: Any) -> Any:
    """‖Σ_t b_t a_tᵀ‖² per sample (B,), whichever way is cheaper."""
    tokens, wide, high = a.shape[1], a.shape[2], b.shape[2]
    if tokens * (wide + high) < wide * high:
        return ((a @ a.mT).double() * (b @ b.mT).double()).sum(dim=(1, 2))
    return (b.mT @ a).double().square().sum(dim=(1, 2))
