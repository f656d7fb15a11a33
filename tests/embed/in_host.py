"""Runs the cases in one host: `python in_host.py HOST [CASE...]`. For each it prints a line of JSON: its name, and what went wrong or null.

A program and not a test: a window system, once loaded, never leaves the process as it was. Status 77: the host is not installed.
"""

from __future__ import annotations

import faulthandler
import gc
import json
import sys
import traceback
import warnings

from host_cases import CASES, count_calls
from host_drivers import HOSTS, Case, Host, NotInstalledError


def _go(kind: type[Host], case: Case) -> str | None:
    complaints: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ResourceWarning)
        try:
            kind().drive(case)
        except NotInstalledError:
            raise
        except BaseException:
            complaints.append(traceback.format_exc())
        gc.collect()
    complaints += [str(warning.message) for warning in caught if issubclass(warning.category, ResourceWarning)]
    return "\n".join(complaints) or None


def main() -> None:
    kind = HOSTS[sys.argv[1]]
    wanted = sys.argv[2:]
    count_calls()
    for case in CASES:
        name = getattr(case, "__name__", "?")
        if not wanted or name in wanted:
            faulthandler.dump_traceback_later(20, exit=True)
            try:
                print(json.dumps([name, _go(kind, case)]), flush=True)
            except NotInstalledError as error:
                print(error)
                sys.exit(77)
    faulthandler.cancel_dump_traceback_later()


if __name__ == "__main__":
    main()
