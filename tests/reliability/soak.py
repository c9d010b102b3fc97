"""The long version of every reliability test, with counts and what they bound.

    python tests/reliability/soak.py --backend sqlite --kills 1000
    python tests/reliability/soak.py --backend postgres --load-minutes 60
    python tests/reliability/soak.py --crash-points --power-cuts 3 --zombies 20 --corruptions 5000

Prints a table: n trials without a failure bound the rate by 3/n at 95 %. Exit 1 on any violation;
the stores and journals of a failed scene stay in --folder.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import crashes
import damage
import load
import power
import zombies
from backend import KINDS
from backends import Places
from history import Violation
from kills import Outcome, kill_at_random
from workers import Scene


def main() -> int:
    """Run what was asked for, one after another."""
    asked = _arguments()
    folder = Path(tempfile.mkdtemp(prefix="soak-", dir=asked.folder))
    made = KINDS[asked.backend]()
    places = Places(made, folder)
    broken = False
    try:
        for name, run, trials in _wanted(asked, places, folder):
            began = time.monotonic()
            outcome = run()
            broken |= bool(outcome.violations)
            _print(f"{name} on {asked.backend}", outcome, trials, time.monotonic() - began)
    finally:
        made.close()
    print(f"stores and journals: {folder}", file=sys.stderr)
    return int(broken)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--backend", choices=KINDS, default="sqlite")
    parser.add_argument("--folder", help="where stores lie; default: the system's temporary folder")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kills", type=int, default=0, help="random kill -9")
    parser.add_argument("--load-minutes", type=float, default=0, help="16 readers, 2 writers, gc")
    parser.add_argument("--pace", type=float, default=1, help="of the load: rests so much longer")
    parser.add_argument("--zombies", type=int, default=0, help="writers stopped past their lease")
    parser.add_argument("--corruptions", type=int, default=0, help="changed files")
    parser.add_argument("--power-cuts", type=int, default=0, help="ingests, cut after every sync")
    parser.add_argument("--crash-points", action="store_true", help="a kill at every system call")
    return parser.parse_args()


def _wanted(asked: argparse.Namespace, places: Places, folder: Path):
    """(name, how to run it, which count is the number of trials)."""

    def scene(name: str) -> Scene:
        return Scene(places.fresh(), folder / name, asked.seed).make()

    def kills() -> Outcome:
        return kill_at_random(places, folder, asked.kills, asked.seed, _progress)

    def loaded() -> Outcome:
        seconds = 60 * asked.load_minutes
        stores = max(1, round(seconds / 120))
        return load.load(
            places,
            folder / "load",
            seconds=seconds,
            stores=stores,
            seed=asked.seed,
            told=_progress,
            pace=asked.pace,
        )

    def zombie() -> Outcome:
        return _zombies(scene("zombies"), asked.zombies)

    def corrupted() -> Outcome:
        return _corruptions(scene("corruptions"), asked.corruptions, asked.seed)

    def cut() -> Outcome:
        return power.cut_everywhere(scene("power"), asked.power_cuts)

    def replayed() -> Outcome:
        return crashes.replayed(crashes.prepared(scene("replayed")), told=_progress)

    def crashed() -> Outcome:
        prepared = crashes.prepared(scene("crashes"))
        points = crashes.points(places, prepared)
        return crashes.crash_at(places, prepared, points, _progress)

    table = [
        ("random kills", asked.kills, kills, "kills"),
        ("load", asked.load_minutes, loaded, "reads"),
        ("zombies", asked.zombies, zombie, "sleepers"),
        ("corruption sweep", asked.corruptions, corrupted, "changes"),
        ("power cuts (model)", asked.power_cuts, cut, "cuts opened"),
        ("kills between system calls (replayed)", asked.crash_points, replayed, "points"),
        ("kills at system calls", asked.crash_points, crashed, "points"),
    ]
    return [(name, run, trials) for name, wanted, run, trials in table if wanted]


def _zombies(scene: Scene, count: int) -> Outcome:
    whole = Outcome()
    for number in range(count):
        step = zombies.STEPS[number % len(zombies.STEPS)]
        whole.add(zombies.awake(scene, step, number, collect=number % 3 == 2))
        _progress(whole)
    return zombies.settle(scene, whole)


def _corruptions(scene: Scene, count: int, seed: int) -> Outcome:
    damage.fill(scene)
    with scene.place.opened() as store:
        found = damage.sweep(scene.place, count, seed, damage.finders(store))
    outcome = Outcome(found.done.copy())
    outcome.counts["changes"] = found.done.total()
    for name, missed in found.missed.items():
        for one in missed:
            if damage.excused(name, one):
                outcome.counts[f"{name} need not see"] += 1
            else:
                outcome.violations.append(Violation("undetected", f"{name}: {one}"))
    return outcome


def _progress(outcome: Outcome) -> None:
    told = ", ".join(f"{name} {count:,}" for name, count in sorted(outcome.counts.items()))
    print(f"{len(outcome.violations)} violations; {told}", file=sys.stderr, flush=True)


def _print(name: str, outcome: Outcome, trials: str, seconds: float) -> None:
    print(f"\n{name}, {seconds:,.0f} s")
    for what, count in outcome.counts.most_common():
        if count:
            print(f"  {count:>9,}  {what}")
    n = outcome.counts[trials]
    bound = f", rate < {3 / n:.2%} at 95 %" if n and not outcome.violations else ""
    print(f"  {len(outcome.violations):>9,}  violations in {n:,} {trials}{bound}", flush=True)
    for violation in outcome.violations[:20]:
        print(f"             {violation}")


if __name__ == "__main__":
    sys.exit(main())
