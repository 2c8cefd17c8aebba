"""The audit hook of conftest.py does see an unpickling that this project's code asks for."""

from __future__ import annotations

import pickle
from collections import OrderedDict

import conftest


def test_the_hook_sees_what_our_code_unpickles():
    raw = pickle.dumps(OrderedDict(a=1))
    code = compile("import pickle\nresult = pickle.loads(raw)", f"{conftest.SOURCE}/core/made_up.py", "exec")
    exec(code, {"raw": raw})
    assert [u.split()[0] for u in conftest.UNPICKLED[-1:]] == ["collections.OrderedDict"]
    conftest.UNPICKLED.pop()


def test_the_hook_ignores_what_others_unpickle():
    before = len(conftest.UNPICKLED)
    pickle.loads(pickle.dumps(OrderedDict(a=1)))
    assert len(conftest.UNPICKLED) == before
