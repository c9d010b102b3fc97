"""What would ten million, a hundred million, a billion samples take? From measured slopes.

    python benchmarks/cost_model.py              writes the tables of docs/scale.md
    python benchmarks/cost_model.py --simulate   first measures again what no store here can show

Reads benchmarks/scale.json, which is the file that `benchmarks/scale.py` leaves, and
benchmarks/simulated.json. CPU seconds of a verb are fitted as a + b·n over all measured sizes, both
≥ 0, relative errors squared; beyond the sizes that is an extrapolation and is called one.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from scipy.optimize import nnls

HERE = Path(__file__).parent
MEASURED, SIMULATED = HERE / "scale.json", HERE / "simulated.json"
PAGE = HERE.parent / "docs" / "scale.md"
DECADES = (10**6, 10**7, 10**8, 10**9)
#: Verbs whose work is proportional to the rows, in the order of the job.
LINEAR = ("ingest", "embed", "fill", "export", "verify", "verify --deep")
ASKED = ("query: count", "query: best 100", "query: best 100 with texts", "query: mean by file")
RAW = {
    "texts + vectors, raw LanceDB append": "raw lancedb",
    "texts + vectors, Parquet with zstd": "raw parquet",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--simulate", action="store_true")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(SIMULATIONS[asked.one[0]](int(asked.one[1]))))
        return
    if asked.simulate:
        SIMULATED.write_text(json.dumps(simulated(), indent=1) + "\n")
    PAGE.write_text(written(PAGE.read_text()))


def written(page):
    """The page with every table between its markers made anew."""
    measured = {int(size): steps for size, steps in json.loads(MEASURED.read_text()).items()}
    tables = {
        "measured": measured_table(measured),
        "beside": beside_table(measured),
        "growth": growth_table(measured),
        "decades": decades_table(measured),
        "simulated": simulated_table(json.loads(SIMULATED.read_text())),
    }
    for name, lines in tables.items():
        begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
        before, _, rest = page.partition(begin)
        _, found, after = rest.partition(end)
        if not found:
            raise SystemExit(f"{PAGE} has no {begin} … {end}")
        page = before + "\n".join([begin, "", *lines, "", end]) + after
    return page


def table(head, rows):
    return [
        f"| {' | '.join(head)} |",
        f"|{'|'.join(['---', *['--:'] * (len(head) - 1)])}|",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]


# -- measured ---------------------------------------------------------------------------------


def fit(measured, step, key="cpu"):
    """(a, b) ≥ 0 of a + b·n with the smallest squared relative error; None with under 3 sizes."""
    points = [(n, steps[step][key]) for n, steps in measured.items() if step in steps]
    if len(points) < 3:
        return None
    n, t = np.array(points, float).T
    a, b = nnls(np.stack([1 / t, n / t], axis=1), np.ones(len(t)))[0]
    return float(a), float(b)


def measured_table(measured):
    sizes = sorted(measured)
    head = ["verb", *(f"{n:,}: s · CPU s · MB" for n in sizes), "CPU s per 1,000 more rows"]
    rows = []
    for step in (*LINEAR, *ASKED, "select", "select again"):
        cells = [cell(measured[n].get(step)) for n in sizes]
        # A selection takes other ways at other sizes: no line runs through them.
        slope = None if step.startswith("select") else fit(measured, step)
        rows.append([step, *cells, "–" if slope is None else f"{1000 * slope[1]:.4f}"])
    return table(head, rows)


def cell(told):
    if told is None:
        return "–"
    return f"{told['wall']:,.1f} · {told['cpu']:,.1f} · {told['peak_mb']:,.0f}"


def beside_table(measured):
    """Bytes a row, and CPU seconds a million rows, beside what the parts alone take."""
    n = max(measured)
    mine = measured[n]
    texts, vectors = mine["ingest"]["bytes"], mine["embed"]["bytes"] - mine["ingest"]["bytes"]
    column = mine["fill"]["bytes"] - mine["embed"]["bytes"]
    rows = [
        ["the JSON lines themselves", each(mine["rows"]["bytes"], n), "", ""],
        ["ingest: texts, source records, ids", each(texts, n), *costs(mine["ingest"])],
        ["embed: 384 float32", each(vectors, n), *costs(mine["embed"])],
        ["fill: one influence column", each(column, n), *costs(mine["fill"])],
    ]
    for name, step in RAW.items():
        rows.append([name, each(mine[step]["bytes"], n), *costs(mine[step])])
    return table([f"{n:,} rows", "bytes a row", "CPU s", "peak MB"], rows)


def each(count, n):
    return f"{count / n:,.0f}"


def costs(told):
    return [f"{told['cpu']:,.0f}", f"{told['peak_mb']:,.0f}"]


def growth_table(measured):
    """1,000 new rows in stores of every size."""
    rows = [
        [
            f"{n:,}",
            f"{steps['version']['wall']:.1f}",
            f"{steps['version']['cpu']:.1f}",
            f"{1000 * steps['version']['cpu'] / 1000:.1f}",
            f"{steps['version']['peak_mb']:,.0f}",
        ]
        for n, steps in sorted(measured.items())
        if "version" in steps
    ]
    return table(["rows in the store", "s", "CPU s", "CPU ms a new row", "peak MB"], rows)


# -- beyond -----------------------------------------------------------------------------------


def decades_table(measured):
    """CPU hours of this machine's cores and bytes; exact only at the sizes that were measured."""
    rows = []
    for step in (*LINEAR, "query: best 100"):
        slope = fit(measured, step)
        if slope is not None:
            rows.append([step, *(hours(slope[0] + slope[1] * n) for n in DECADES)])
    n = max(measured)
    held = measured[n]["fill"]["bytes"] / n
    rows.append(["store, one column", *(size(held * k) for k in DECADES)])
    return table(["CPU time of one core", *(f"{n:,}" for n in DECADES)], rows)


def hours(seconds):
    if seconds < 120:
        return f"{seconds:,.0f} s"
    return f"{seconds / 60:,.0f} min" if seconds < 7200 else f"{seconds / 3600:,.0f} h"


def size(count):
    units = ((1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"))
    unit, name = next((one for one in units if count >= one[0]), units[-1])
    return f"{count / unit:,.1f} {name}"


# -- simulated --------------------------------------------------------------------------------


def bitmap(n):
    """A version of n samples from which one in a hundred left at random: its bytes and seconds."""
    from pyroaring import BitMap

    gone = BitMap(np.random.default_rng(0).choice(n, n // 100, replace=False).astype(np.uint32))
    began = time.perf_counter()
    version = BitMap(range(n)) - gone
    version.run_optimize()
    made = time.perf_counter() - began
    began = time.perf_counter()
    raw = version.serialize()
    again = BitMap.deserialize(raw)
    other = again - BitMap(range(n // 2))
    assert len(other) <= len(again)
    return {"bytes": len(raw), "make_s": made, "read_s": time.perf_counter() - began, **peak()}


def identities(n):
    """1,000 new rows looked up among n content ids of 32 bytes, as `ingest` does it."""
    import polars as pl

    raw = np.random.default_rng(0).bytes(32 * n)
    view = [raw[32 * k : 32 * k + 32] for k in range(n)]
    known = pl.DataFrame({"sample_id": view, "sid": np.arange(n)})
    del view
    incoming = pl.DataFrame({"sample_id": known["sample_id"].gather(range(0, n, n // 1000))})
    began = time.perf_counter()
    found = incoming.join(known, on="sample_id", how="left")["sid"].null_count()
    assert found == 0
    return {
        "bytes": int(known.estimated_size()),
        "read_s": time.perf_counter() - began,
        **peak(),
    }


def peak():
    return {"peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)}


SIMULATIONS = {"bitmap": bitmap, "identities": identities}
SIMULATED_SIZES = {"bitmap": (10**6, 10**7, 10**8), "identities": (10**5, 10**6, 10**7)}


def simulated():
    """Each size in a process of its own, for its peak."""
    told = {}
    for name, sizes in SIMULATED_SIZES.items():
        for n in sizes:
            done = subprocess.run(
                [sys.executable, __file__, "--one", name, str(n)],
                capture_output=True,
                text=True,
                check=True,
            )
            told.setdefault(name, {})[str(n)] = json.loads(done.stdout)
    return told


def simulated_table(told):
    names = {
        "bitmap": "a version's bitmap, 1 % gone at random",
        "identities": "content ids read, 1,000 looked up",
    }
    rows = []
    for name, sizes in told.items():
        points = {int(n): {"x": one} for n, one in sizes.items()}
        for n, one in sizes.items():
            mb = f"{one['bytes'] / 2**20:,.2f}"
            rows.append([names[name], f"{int(n):,}", mb, f"{one['read_s']:.2f}"])
        byte = fit(points, "x", "bytes")
        second = fit(points, "x", "read_s")
        far = 10**9
        rows.append(
            [
                f"{names[name]}, extrapolated",
                f"{far:,}",
                f"{(byte[0] + byte[1] * far) / 2**20:,.0f}",
                f"{second[0] + second[1] * far:,.0f}",
            ]
        )
    return table(["what", "samples", "MiB", "s"], rows)


if __name__ == "__main__":
    main()
