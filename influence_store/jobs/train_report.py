"""What does `train` tell about the estimator it stored?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class TrainReport:
    """The stored estimator, its card, and what the same labels said with the other features."""

    name: str
    fingerprint: str
    network: str
    features: tuple[str, ...]
    method: str
    output: str
    verdict: str
    card: Mapping[str, Any]
    table: tuple[str, ...]
    also: str
    onnx_bytes: int

    def facts(self) -> dict[str, Any]:
        """As stored with the run and printed by `--json`."""
        return {key: value for key, value in vars(self).items() if key != "table"}

    def lines(self) -> list[str]:
        """For people: the accuracy card."""
        told = [
            f"estimator {self.name} of {self.method} ({self.output}), "
            f"{self.onnx_bytes / 1024:,.0f} KiB ONNX, fingerprint {self.fingerprint[:12]}",
            *[f"  {line}" for line in self.table],
        ]
        return [*told, f"  {self.also}"] if self.also else told
