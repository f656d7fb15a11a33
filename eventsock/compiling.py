"""What is said to mypyc in the source: which classes may have subclasses that it does not compile, and what it must not check.

Knows mypyc's words, and that without it they mean nothing. It must not know what is compiled: that is a list in `setup.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypeVar, Union

__all__ = ["Given", "mypyc_attr"]

T = TypeVar("T")

if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr as mypyc_attr
else:

    def mypyc_attr(**_):
        """A decorator that does nothing: mypyc looks for its name, and at run time nobody does."""
        return lambda made: made


COMPILING = False  # mypyc takes it for true: see `setup.py`
# What users hand in and we check. Compiled code would do that first, in words that name no argument, and would take True for 1.0.
if COMPILING:  # noqa: SIM108 - mypy takes one branch alone
    Given = Union[T, Any]  # noqa: UP007
else:
    Given = Annotated[T, "checked by us"]
