"""What `import eventsock.basic` costs against `import socket`, each in a fresh interpreter, taking turns; the bar is 1.3.

Usage: python3 benchmarks/import_basic.py [ROUNDS]      (default: 40; exit status 1 if the bar is missed)

Knows only the two import statements. The third line shows what a script pays that also uses one name: the rooms behind it are loaded
then, and not before.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

_CHECKOUT = str(Path(__file__).resolve().parent.parent)
_BAR = 1.3
_STATEMENTS = ["import socket", "import eventsock.basic", "from eventsock.basic import connect_to_ipv4_host"]


def _milliseconds(statement: str) -> float:
    """How long `statement` takes in an interpreter that has imported nothing for it yet."""
    timed = f"from time import perf_counter as t; a = t(); {statement}; print((t() - a) * 1e3)"
    program = f"import sys; sys.path.insert(0, {_CHECKOUT!r}); {timed}"
    # Without site: what a virtual environment loads at its start differs, and may be just what is measured.
    return float(subprocess.run([sys.executable, "-S", "-E", "-c", program], capture_output=True, text=True, check=True).stdout)


def main() -> int:
    """Prints medians and ratios."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    for statement in _STATEMENTS:
        _milliseconds(statement)  # compiles what is not compiled yet
    taken: dict[str, list[float]] = {statement: [] for statement in _STATEMENTS}
    for _ in range(rounds):
        for statement in _STATEMENTS:
            taken[statement].append(_milliseconds(statement))
    medians = {statement: statistics.median(times) for statement, times in taken.items()}
    for statement, median in medians.items():
        print(f"{median:7.2f} ms  {median / medians['import socket']:5.2f} x  {statement}")
    ratio = medians["import eventsock.basic"] / medians["import socket"]
    print(f"import eventsock.basic costs {ratio:.2f} x import socket; the bar is {_BAR}")
    return 0 if ratio <= _BAR else 1


if __name__ == "__main__":
    sys.exit(main())
