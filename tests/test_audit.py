"""The audit hook of unpickling.py does see an unpickling that this project's code asks for."""

from __future__ import annotations

import pickle
from collections import OrderedDict

from tests.unpickling import SOURCE, UNPICKLED


def test_the_hook_sees_what_our_code_unpickles():
    raw = pickle.dumps(OrderedDict(a=1))
    code = compile("import pickle\nresult = pickle.loads(raw)", f"{SOURCE}/core/made_up.py", "exec")
    exec(code, {"raw": raw})
    assert [u.split()[0] for u in UNPICKLED[-1:]] == ["collections.OrderedDict"]
    UNPICKLED.pop()


def test_the_hook_ignores_what_others_unpickle():
    before = len(UNPICKLED)
    pickle.loads(pickle.dumps(OrderedDict(a=1)))
    assert len(UNPICKLED) == before
